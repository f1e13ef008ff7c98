"""Whether a server may let everybody in, and what refuses its start where it may not."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledgercore.service.access.key_file import FILE_NAME, KeyFileError, read_file, revoke_key
from ledgercore.service.access.key_mark import MARK_NAME, has_mark, leave_mark
from ledgercore.service.access.key_ring import Scope
from ledgercore.service.runtime.open_mode import check_access, open_ring
from ledgercore.service.settings import InvalidSetting, Settings
from tests.support.keyed import bearer, make_key, spell, spell_bulk, spell_transfer
from tests.support.local import PROTOCOLS, LocalServer, local_serving, serve_both_ways
from tests.support.servers import Server, run_command
from tests.support.waiting import wait_until

DEMO = ("--demo-accounts=3",)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "ledger"


def make_settings(data: Path, **others: Any) -> Settings:
    return Settings(data=str(data), **others)


def check_refused(settings: Settings, kind: type[Exception], *words: str) -> None:
    """Check that neither a command starts a server with these settings, nor anything else does."""
    for check, expected in ((check_access, kind), (open_ring, KeyFileError)):
        with pytest.raises(expected) as caught:
            check(settings)
        (line,) = str(caught.value).splitlines()
        for word in words:
            assert word in line


def serve(data: Path, *flags: str, **environment: str) -> tuple[int, str]:
    """Return how a server that does not start ends, and what it says of that."""
    done = run_command("serve", "--port=0", f"--data={data}", *flags, **environment)
    (line,) = done.stderr.splitlines()
    assert done.stdout == ""
    return done.returncode, line


# -- what refuses ---------------------------------------------------------------------------------


def test_a_ledger_that_never_had_keys_is_open(data: Path) -> None:
    data.mkdir()
    for check in (check_access, open_ring):
        assert check(make_settings(data)).is_empty
    assert list(data.iterdir()) == []


def test_a_named_file_that_is_missing_refuses(data: Path) -> None:
    for others in ({}, {"allow_open": 1}):
        settings = make_settings(data, keys_file=str(data / "none.json"), **others)
        check_refused(settings, InvalidSetting, "--keys-file", "none.json", "keys create")


def test_required_keys_that_are_missing_refuse(data: Path) -> None:
    settings = make_settings(data, require_keys=1)
    check_refused(settings, InvalidSetting, "--require-keys", FILE_NAME, "keys create")
    key = make_key(data, "shop")
    assert check_access(settings).authenticate(key.token) is not None


def test_keys_are_required_or_not_and_never_both(data: Path) -> None:
    with pytest.raises(InvalidSetting, match="--allow-open"):
        make_settings(data, require_keys=1, allow_open=1)


def test_a_link_to_nothing_refuses(data: Path) -> None:
    """A secret that is not mounted yet is no ledger without keys."""
    data.mkdir()
    (data / FILE_NAME).symlink_to(data / "mounted" / "keys.json")
    for others in ({}, {"allow_open": 1}):
        check_refused(make_settings(data, **others), KeyFileError, "a link to what is not there")


@pytest.mark.parametrize("left", [MARK_NAME, FILE_NAME + ".lock"])
def test_a_ledger_that_had_keys_refuses(data: Path, left: str) -> None:
    make_key(data, "shop")
    for file in (FILE_NAME, *{MARK_NAME, FILE_NAME + ".lock"} - {left}):
        (data / file).unlink()
    check_refused(make_settings(data), KeyFileError, str(data), FILE_NAME, "--allow-open")
    assert open_ring(make_settings(data, allow_open=1)).is_empty
    # It was said for that start, and not for ever.
    check_refused(make_settings(data), KeyFileError)


def test_a_ledger_whose_last_key_was_revoked_is_closed(data: Path) -> None:
    key = make_key(data, "shop")
    revoke_key(data / FILE_NAME, key.credential.id)
    for others in ({}, {"allow_open": 1}):
        ring = open_ring(make_settings(data, **others))
        assert not ring.is_empty and ring.credentials() == []


# -- behind a proxy -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def open_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalServer]]:
    """Serve everybody in both ways."""
    with serve_both_ways(tmp_path_factory.mktemp("open"), demo_accounts=3) as servers:
        yield servers


FORWARDED = {
    "Forwarded": "for=203.0.113.9",
    "X-Forwarded-For": "203.0.113.9",
    "x-forwarded-proto": "https",
    "X-FORWARDED-ANYTHING": "x",
    "X-Real-IP": "203.0.113.9",
    "Via": "1.1 proxy",
    "CF-Connecting-IP": "203.0.113.9",
    "X-Forwarded-Host": "",
}


@pytest.mark.parametrize("way", ["native", "ordinary"])
@pytest.mark.parametrize("name", FORWARDED)
def test_what_comes_through_a_proxy_is_refused_without_keys(
    open_servers: dict[str, LocalServer], way: str, name: str
) -> None:
    server = open_servers[way]
    line = f"{name}: {FORWARDED[name]}"
    key = f"{way}-{name}"
    for request in (
        spell_transfer(key, line),
        spell_transfer(key, line, bearer("nonsense")),
        spell_bulk(key, lines=(line,)),
        *(
            spell(method, path, line)
            for method, path in (
                ("POST", "/accounts"),
                ("GET", "/accounts/acct-0"),
                ("GET", "/accounts"),
                ("GET", "/metrics"),
                ("GET", "/metrics/stream"),
                ("GET", "/audit"),
                ("POST", "/admin/keys"),
                ("GET", "/debug/pprof/"),
                # These hold nothing, and would ask for what is refused.
                ("GET", "/"),
                ("GET", "/live/live.js"),
                ("GET", "/docs"),
                ("GET", "/openapi.json"),
                ("GET", "/none"),
            )
        ),
    ):
        answer = server.ask(request)
        assert answer.status == 401, request
        assert answer.headers["www-authenticate"].startswith("bearer ")
    assert server.lifecycle.engine.find_key(key, "").state == "unseen"
    for probe in ("/healthz", "/readyz"):
        assert server.ask(spell("GET", probe, line)).status == 200
    # The same without it.
    assert server.ask(spell_transfer(key)).status == 201


def test_the_refusal_names_the_header(open_servers: dict[str, LocalServer]) -> None:
    answer = open_servers["native"].ask(spell_transfer("k", "X-Forwarded-For: 203.0.113.9"))
    assert answer.problem == "unauthorized"
    assert b"x-forwarded-for" in answer.body and b"without API keys" in answer.body


def test_with_keys_a_proxy_is_welcome(data: Path) -> None:
    key = make_key(data, "shop")
    lines = [f"{name}: {value}" for name, value in FORWARDED.items()]
    with local_serving(), LocalServer(data, PROTOCOLS["native"], demo_accounts=3) as server:
        assert server.ask(spell_transfer("k-1", *lines)).status == 401
        assert server.ask(spell_transfer("k-1", *lines, bearer(key.token))).status == 201


# -- what is remembered ---------------------------------------------------------------------------


def test_keys_that_are_kept_elsewhere_are_remembered(data: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "etc", "shop")
    elsewhere = str(tmp_path / "etc" / FILE_NAME)
    check_access(make_settings(data, keys_file=elsewhere))
    assert not data.exists()
    data.mkdir()
    open_ring(make_settings(data, keys_file=elsewhere))
    check_refused(make_settings(data), KeyFileError, "--allow-open")


def test_keys_that_were_put_there_by_hand_are_remembered(data: Path, tmp_path: Path) -> None:
    make_key(tmp_path / "made", "shop")
    data.mkdir()
    shutil.copy(tmp_path / "made" / FILE_NAME, data)
    open_ring(make_settings(data))
    assert has_mark(data)


def test_keys_that_come_while_it_serves_are_remembered(data: Path, tmp_path: Path) -> None:
    key = make_key(tmp_path / "made", "shop")
    with local_serving(), LocalServer(data, PROTOCOLS["native"], demo_accounts=3) as server:
        assert server.ask(spell_transfer("k-1")).status == 201
        assert not has_mark(data)
        shutil.copy(tmp_path / "made" / FILE_NAME, data)
        wait_until(lambda: server.ask(spell_transfer("k-1")).status == 401, "the keys to count")
        assert has_mark(data)
        assert server.ask(spell_transfer("k-2", bearer(key.token))).status == 201


def test_a_mark_that_cannot_be_left_is_left_later(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_key(tmp_path / "made", "shop")
    data.mkdir()
    ring = open_ring(make_settings(data))
    shutil.copy(tmp_path / "made" / FILE_NAME, data)
    with monkeypatch.context() as patched:
        patched.setattr("os.fsync", fail)
        ring.refresh(True)
    assert not ring.is_empty
    (data / MARK_NAME).unlink()
    ring.refresh(True)
    assert has_mark(data)
    with monkeypatch.context() as patched:
        (data / MARK_NAME).unlink()
        patched.setattr("os.fsync", fail)
        with pytest.raises(KeyFileError, match="Input/output error"):
            open_ring(make_settings(data))


def fail(descriptor: int) -> None:
    raise OSError(5, "Input/output error")


# -- files from before there were checksums -------------------------------------------------------


def spell_old(path: Path) -> None:
    members = json.loads(path.read_bytes())
    path.write_text(json.dumps({"version": 1, "keys": members["keys"]}))


def test_an_old_file_gets_its_checksum_at_the_start(data: Path) -> None:
    key = make_key(data, "shop")
    spell_old(data / FILE_NAME)
    check_access(make_settings(data))
    assert b"sha256" not in (data / FILE_NAME).read_bytes()
    assert open_ring(make_settings(data)).authenticate(key.token) is not None
    file = read_file(data / FILE_NAME)
    assert file is not None and file.version == 2 and file.credentials == (key.credential,)


def test_an_old_file_of_somebody_else_stays_as_it_is(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    key = make_key(tmp_path / "secret", "shop")
    mounted = tmp_path / "secret" / FILE_NAME
    spell_old(mounted)
    link = tmp_path / "keys.json"
    link.symlink_to(mounted)
    before = mounted.read_bytes()
    ring = open_ring(make_settings(data, keys_file=str(link)))
    assert ring.authenticate(key.token) is not None
    assert link.is_symlink() and mounted.read_bytes() == before
    assert "has no checksum" in caplog.text


# -- as an operator sees it -----------------------------------------------------------------------


def test_a_restored_copy_without_its_keys_does_not_start(data: Path, tmp_path: Path) -> None:
    key = make_key(data, "shop", Scope.ADMIN)
    with Server(data, *DEMO) as server:
        assert httpx.get(f"{server.url}/accounts/acct-0").status_code == 401
        assert server.stop() == 0
    copy = tmp_path / "copy"
    shutil.copytree(data, copy, ignore=shutil.ignore_patterns("api-keys*"))
    code, line = serve(copy)
    assert code == 1 and line.startswith(f"Error: {copy}: ") and "--allow-open" in line
    with Server(copy, "--allow-open") as server:
        assert httpx.get(f"{server.url}/accounts/acct-0").status_code == 200
        assert server.stop() == 0
    shutil.copy(data / FILE_NAME, copy)
    with Server(copy, environment={"LEDGERCORE_REQUIRE_KEYS": "1"}) as server:
        url = f"{server.url}/accounts/acct-0"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"x-api-key": key.token}).status_code == 200
        assert server.stop() == 0


@pytest.mark.parametrize(
    ("flags", "environment", "start"),
    [
        (("--keys-file=/none/keys.json",), {}, "Error: --keys-file: /none/keys.json: "),
        (
            (),
            {"LEDGERCORE_KEYS_FILE": "/none/keys.json"},
            "Error: LEDGERCORE_KEYS_FILE: /none/keys.json: ",
        ),
        (("--require-keys",), {}, "Error: --require-keys: "),
        ((), {"LEDGERCORE_REQUIRE_KEYS": "1"}, "Error: LEDGERCORE_REQUIRE_KEYS: "),
        (("--require-keys", "--durability=memory"), {}, "Error: --require-keys: "),
        (("--require-keys", "--allow-open"), {}, "Error: --allow-open: "),
    ],
)
def test_what_the_flags_refuse_touches_no_ledger(
    data: Path, flags: tuple[str, ...], environment: dict[str, str], start: str
) -> None:
    code, line = serve(data, *flags, **environment)
    assert code == 2 and line.startswith(start)
    assert not data.exists()


def test_a_flag_that_is_off_in_the_environment_is_off(data: Path) -> None:
    environment = {"LEDGERCORE_REQUIRE_KEYS": "0", "LEDGERCORE_ALLOW_OPEN": "0"}
    with Server(data, *DEMO, environment=environment) as server:
        assert httpx.get(f"{server.url}/accounts/acct-0").status_code == 200
        assert server.stop() == 0
    leave_mark(data)
    code, line = serve(data, **environment)
    assert code == 1 and "--allow-open" in line


@pytest.mark.parametrize("break_keys", [lambda path: path.unlink(), lambda path: None])
def test_another_command_than_ours_is_held_to_the_same(
    data: Path, break_keys: Callable[[Path], None]
) -> None:
    """Sanic's own knows nothing of our flags, and opens the port before we are asked."""
    make_key(data, "shop")
    break_keys(data / FILE_NAME)
    is_broken = not (data / FILE_NAME).exists()
    with local_serving(), LocalServer(data, PROTOCOLS["native"], demo_accounts=3) as server:
        failure = server.lifecycle.failure
        assert (failure is not None and "--allow-open" in failure) == is_broken
        status = server.ask(spell_transfer("k-1")).status
        assert status == (503 if is_broken else 401)
