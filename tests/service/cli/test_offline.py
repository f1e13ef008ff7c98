"""The admin commands, on real directories."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import ledgercore
from ledgercore.service.cli.serve import main
from tests.support.servers import Server

Admin = Callable[..., Result]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Return a directory with three accounts, two transfers and a refusal."""
    directory = tmp_path / "ledger"
    with ledgercore.open(directory) as engine:
        engine.open_account("world", asset="USD/2", floor=None)
        engine.open_account("alice", asset="USD/2")
        engine.open_account("bob", asset="USD/2", ceiling=500, frozen=False)
        engine.transfer("world", "alice", 1000, key="k-1")
        engine.transfer("alice", "bob", 400, key="k-2")
        engine.transfer("alice", "bob", 601, key="k-3")
    return directory


@pytest.fixture
def admin() -> Admin:
    def run(*arguments: object, **options: Any) -> Result:
        return CliRunner().invoke(main, ["admin", *map(str, arguments)], **options)

    return run


def damage(directory: Path) -> Path:
    """Flip a bit in the last frame of the journal, which was sealed when it was closed."""
    journal = max(directory.rglob("*"), key=lambda path: path.stat().st_size)
    content = bytearray(journal.read_bytes())
    content[len(content.rstrip(b"\0")) - 1] ^= 0x40
    journal.write_bytes(content)
    return journal


def check_refused(result: Result, *words: str) -> None:
    assert result.exit_code == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith("Error: ")
    for word in words:
        assert word in line


# -- the journal ----------------------------------------------------------------------------------


def test_verify(admin: Admin, data: Path) -> None:
    result = admin("verify", data)
    assert result.exit_code == 0, result.output
    counted = dict(line.rsplit(None, 1) for line in result.stdout.splitlines()[:-1])
    assert (counted["accounts"], counted["transfers"], counted["refusals"]) == ("3", "2", "1")
    assert counted["keys"] == "3"
    assert counted["sum of USD/2:"] == "0"
    assert result.stdout.endswith("ok\n")
    assert result.stderr == ""


def test_verify_of_a_damaged_journal(admin: Admin, data: Path) -> None:
    journal = damage(data)
    check_refused(admin("verify", data), journal.name)


def test_verify_tells_violations(admin: Admin, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def verify(path: str, progress: object = None) -> ledgercore.Verification:
        return ledgercore.Verification(
            accounts=1,
            transfers=1,
            refusals=0,
            keys=1,
            lsn=2,
            records=2,
            seconds=0.1,
            torn_bytes=0,
            sums={"USD/2": 5},
            violations=("alice: -5 is below the floor 0", "the sum of USD/2 is 5"),
        )

    monkeypatch.setattr(ledgercore, "verify", verify)
    result = admin("verify", data)
    assert result.exit_code == 1
    assert "alice: -5 is below the floor 0\nthe sum of USD/2 is 5" in result.stderr
    assert "ok" not in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "DIR"),
        ("inspect", "DIR"),
        ("repair", "DIR", "--yes"),
        ("compact", "DIR"),
        ("accounts", "list", "DIR"),
        ("accounts", "show", "DIR", "alice"),
        ("accounts", "change", "DIR", "alice", "--frozen"),
    ],
    ids=" ".join,
)
def test_directory_that_is_not_there(
    admin: Admin, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    missing = tmp_path / "missing"
    check_refused(admin(*(str(missing) if word == "DIR" else word for word in arguments)))
    assert not missing.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ("verify", "DIR"),
        ("repair", "DIR", "--yes"),
        ("compact", "DIR"),
        ("accounts", "list", "DIR"),
        ("accounts", "open", "DIR", "carol", "--asset=USD/2"),
    ],
    ids=" ".join,
)
def test_directory_that_a_server_holds(
    admin: Admin, data: Path, arguments: tuple[str, ...]
) -> None:
    with Server(data) as server:
        assert server.url
        check_refused(admin(*(str(data) if word == "DIR" else word for word in arguments)))


def test_inspect(admin: Admin, data: Path) -> None:
    result = admin("inspect", data)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("ledger ")
    assert "\nseal: " in result.stdout
    assert "\nsegments: 1\n  file=" in result.stdout
    assert "\nsnapshots: " in result.stdout


def test_repair_with_nothing_to_do(admin: Admin, data: Path) -> None:
    result = admin("repair", data, "--yes")
    assert (result.exit_code, result.stdout) == (0, "nothing to repair\n")


def test_repair_asks(admin: Admin, data: Path) -> None:
    journal = damage(data)
    before = journal.read_bytes()
    result = admin("repair", data, input="n\n")
    assert result.exit_code == 1
    assert journal.read_bytes() == before


def test_repair_keeps_the_damaged_file(admin: Admin, data: Path) -> None:
    journal = damage(data)
    before = journal.read_bytes()
    result = admin("repair", data, input="y\n")
    assert result.exit_code == 0, result.output
    assert "truncated" in result.stdout
    assert any(path.is_file() and path.read_bytes() == before for path in data.rglob("*"))
    assert admin("verify", data).exit_code == 0


def test_compact_with_nothing_to_do(admin: Admin, data: Path) -> None:
    result = admin("compact", data)
    assert result.exit_code == 0, result.output
    assert admin("verify", data).exit_code == 0


# -- accounts -------------------------------------------------------------------------------------


def test_list_accounts(admin: Admin, data: Path) -> None:
    result = admin("accounts", "list", data)
    assert result.stdout.splitlines() == [
        "world  USD/2  balance=-1000  floor=none  ceiling=none",
        "alice  USD/2  balance=600  floor=0  ceiling=none",
        "bob  USD/2  balance=400  floor=0  ceiling=500",
    ]


def test_show_account(admin: Admin, data: Path) -> None:
    result = admin("accounts", "show", data, "bob")
    assert result.stdout == "bob  USD/2  balance=400  floor=0  ceiling=500\n"
    check_refused(admin("accounts", "show", data, "nobody"), "nobody")


def test_open_account(admin: Admin, data: Path) -> None:
    arguments = ("accounts", "open", data, "carol", "--asset=EUR/2", "--floor=none", "--frozen")
    result = admin(*arguments)
    assert result.stdout == "carol  EUR/2  balance=0  floor=none  ceiling=none  frozen\n"
    assert admin(*arguments).exit_code == 0
    check_refused(admin("accounts", "open", data, "carol", "--asset=USD/2"), "carol")
    with ledgercore.open(data) as engine:
        assert engine.account("carol").frozen


def test_open_account_in_a_new_directory(admin: Admin, tmp_path: Path) -> None:
    result = admin("accounts", "open", tmp_path / "new", "alice", "--asset=USD/2")
    assert result.stdout == "alice  USD/2  balance=0  floor=0  ceiling=none\n"


def test_change_account(admin: Admin, data: Path) -> None:
    result = admin("accounts", "change", data, "bob", "--ceiling=none", "--frozen")
    assert result.stdout == "bob  USD/2  balance=400  floor=0  ceiling=none  frozen\n"
    result = admin("accounts", "change", data, "bob", "--not-frozen")
    assert result.stdout == "bob  USD/2  balance=400  floor=0  ceiling=none\n"
    check_refused(admin("accounts", "change", data, "bob", "--floor=401"), "400")


@pytest.mark.parametrize("arguments", [(), ("--floor=much",), ("--ceiling=1.5",)])
def test_change_account_wrongly(admin: Admin, data: Path, arguments: tuple[str, ...]) -> None:
    result = admin("accounts", "change", data, "bob", *arguments)
    assert result.exit_code == 2
