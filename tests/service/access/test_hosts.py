"""The names that a server answers to, by themselves."""

import pytest

from ledgercore.service.access.hosts import HostNames, read_names

OURS = [
    "localhost",
    "LOCALHOST",
    "localhost:8000",
    "localhost:",
    "localhost.",
    "a.b.localhost:1",
    "127.0.0.1",
    "127.255.255.254:80",
    "[::1]",
    "[::1]:8000",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]:1",
    "localhost \t",
]
STRANGE = [
    "",
    ":8000",
    "localhost.example",
    "xlocalhost",
    "localhost..",
    ".localhost.example",
    "127.0.0.1.example",
    "127.1",
    "0x7f.0.0.1",
    "128.0.0.1",
    "0.0.0.0",
    "[::]",
    "[::2]",
    "[fe80::1]",
    "[::1",
    "::1]",
    "localhost:a",
    "localhost:80:80",
    "localhost, ledger.example",
    "user@localhost:80@ledger.example",
    "ledger.example",
]


@pytest.mark.parametrize("host", OURS)
def test_names_of_this_machine_are_always_known(host: str) -> None:
    for names in (HostNames(), HostNames(["ledger.example"])):
        assert names.accepts(host, is_open=True) and names.accepts(host, is_open=False)


@pytest.mark.parametrize("host", STRANGE)
def test_others_are_not_known_without_keys(host: str) -> None:
    assert not HostNames().accepts(host, is_open=True)
    assert HostNames().accepts(host, is_open=False)
    # Where names are allowed, they are the only ones, whoever has to bring a key.
    if host != "ledger.example":
        assert not HostNames(["ledger.example"]).accepts(host, is_open=False)


@pytest.mark.parametrize("host", ["ledger.example", "Ledger.Example:443", "ledger.example."])
def test_what_is_allowed_is_known(host: str) -> None:
    for is_open in (False, True):
        assert HostNames(read_names("other, LEDGER.example")).accepts(host, is_open)


def test_a_list_of_names() -> None:
    assert read_names("") == read_names(" , ") == []
    assert read_names("A.example., [::2]  db_1") == ["a.example", "[::2]", "db_1"]


@pytest.mark.parametrize(
    "text",
    ["http://a", "a:80", "a/b", "*", "*.example", "-a", "ü", "[::2", "a@b", "a..", "\0"],
)
def test_what_is_no_name_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is no name of a host"):
        read_names(f"a,{text}")
