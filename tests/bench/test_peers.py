"""The peers keep the same books as a dict does, and leave nothing running and nothing behind."""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from bench.__main__ import main
from bench.machine import ROOT, pick_cores
from bench.peers import comparison, postgres
from bench.peers.comparison import Reference, check_money, make_hard_calls
from bench.peers.over_http import read_go_version
from bench.peers.peer import (
    FUNDS,
    PEERS,
    Peer,
    PeerFailed,
    PeerMissing,
    Settings,
    open_peer,
    run_clients,
)
from bench.processes import Process, ProcessFailed, make_environment
from bench.workloads import Call, Workload
from tests.support.waiting import DEADLINE_S, wait_until

CORE, LOAD_CORE = pick_cores()
ACCOUNTS = 20
WORKLOAD = Workload(ACCOUNTS, seed=7)
NAMES = WORKLOAD.names()
TINY = ("--rounds=1", "--transfers=60", "--clients=4", f"--accounts={ACCOUNTS}", "--seconds=5")
OURS = ("service", "engine", "batches", "sqlite")

# It is not the service of the sketch, and no measure of it: it keeps the same contract, so that
# the flag can be tested on a machine without Go. A place that says FORGETS makes it a liar.
STAND_IN = f"""#!{sys.executable}
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

flags = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert set(flags) == {{"-addr", "-wal", "-accounts", "-procs"}}, flags
balances = {{f"acct-{{number}}": 1_000_000 for number in range(int(flags["-accounts"]))}}
outcomes, lock = {{}}, threading.Lock()
wal = open(flags["-wal"], "w")

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536

    def do_GET(self):
        self.answer(404)

    def do_POST(self):
        call = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        key, amount = self.headers["Idempotency-Key"], call["amount"]
        with lock:
            if key not in outcomes or FORGETS:
                outcomes[key] = 201 if balances[call["from"]] >= amount else 422
                if outcomes[key] == 201:
                    balances[call["from"]] -= amount
                    balances[call["to"]] += amount
                wal.write(key)
                wal.flush()
        self.answer(outcomes[key])

    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *words):
        pass

host, port = flags["-addr"].split(":")
ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


def make_dict_peer(ledger: Reference, *, tells: bool) -> Peer:
    """Return a peer in plain Python, whose reference may be wrong, and that may tell nothing."""
    return Peer(
        "a dict",
        "none",
        "1",
        1,
        ledger.ask,
        partial(run_clients, [ledger.ask], CORE, is_embedded=True),
        lambda: ledger.balances if tells else None,
    )


class Forgetful(Reference):
    """Does what it is told as often as it is told."""

    def ask(self, call: Call) -> bool:
        self.outcomes.clear()
        return super().ask(call)


class Generous(Reference):
    """Lets an account go a little below zero."""

    def ask(self, call: Call) -> bool:
        source = call[0]
        self.balances[source] += FUNDS // 2
        is_applied = super().ask(call)
        self.balances[source] -= FUNDS // 2
        return is_applied


class Leaking(Reference):
    """Keeps one unit of every transfer to itself."""

    def ask(self, call: Call) -> bool:
        is_new = call[3] not in self.outcomes
        is_applied = super().ask(call)
        self.balances[call[1]] -= is_new and is_applied
        return is_applied


def list_children() -> set[int]:
    """Return the processes that this one has started and not yet buried."""
    tasks = Path("/proc/self/task").glob("*/children")
    return {int(pid) for task in tasks for pid in task.read_text().split()}


def list_users(directory: str) -> list[str]:
    """Return the command lines that name a directory, of all processes of the machine."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if directory in line:
            found.append(line)
    return found


@pytest.fixture
def left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Yield what becomes a list of all temporary directories, and see that none of them is left.

    Nor may a process be left: one that we started, or any that works in such a directory.
    """
    made: list[str] = []
    mkdtemp = tempfile.mkdtemp

    def keep(*arguments: Any, **named: Any) -> str:
        made.append(mkdtemp(*arguments, **named))
        return made[-1]

    children = list_children()
    monkeypatch.setattr(tempfile, "mkdtemp", keep)
    yield made
    assert made
    assert [name for name in made if Path(name).exists()] == []
    assert list_children() <= children

    # A process of PostgreSQL may see only a moment later that its parent has gone.
    def is_left_alone(name: str) -> bool:
        return not list_users(name)

    for name in made:
        wait_until(partial(is_left_alone, name), f"{name} to be left alone")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(ACCOUNTS, 4, 1000, CORE, LOAD_CORE, tmp_path)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    path = tmp_path / "stand-in"
    path.write_text(STAND_IN.replace("FORGETS", "False"))
    path.chmod(0o755)
    return path


def run_peers(output: Path, *flags: str) -> Result:
    return CliRunner().invoke(main, ["peers", *TINY, f"--output={output}", *flags])


# -- the books ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in PEERS if name != "go"])
def test_a_peer_ends_with_the_balances_of_a_dict(
    name: str, settings: Settings, left_behind: list[str]
) -> None:
    left_behind.append(tempfile.mkdtemp())
    scratch = Path(left_behind[-1])
    reference = Reference(NAMES)
    hard_calls = make_hard_calls(NAMES, 150, seed=3)
    try:
        with open_peer(name, replace(settings, scratch=scratch)) as peer:
            calls = WORKLOAD.calls(100)
            timed = peer.run(calls, 10)
            assert sorted(timed.calls) == sorted(calls)
            reference.add_applied(timed.calls)
            assert check_money(peer, reference, hard_calls) == 150
            assert peer.read_balances() == reference.balances
            # A key that was used under load moves nothing either.
            assert peer.ask(calls[0])
            assert peer.read_balances() == reference.balances
            assert peer.version[0].isdigit()
    except PeerMissing as error:
        assert name not in OURS
        pytest.skip(f"{name} is not on this machine: {error}")
    finally:
        shutil.rmtree(scratch)


def test_hard_calls_are_hard() -> None:
    calls = make_hard_calls(NAMES, 300, seed=1)
    reference = Reference(NAMES)
    answers = {call[3]: reference.ask(call) for call in calls}
    assert calls == make_hard_calls(NAMES, 300, seed=1)
    assert 300 - len(answers) > 50
    assert 50 < sum(answers.values()) < len(answers) - 50
    assert min(reference.balances.values()) >= 0
    assert sum(reference.balances.values()) == ACCOUNTS * FUNDS


@pytest.mark.parametrize("tells", [True, False])
@pytest.mark.parametrize("wrong", [Forgetful, Generous, Leaking])
def test_wrong_books_are_found(wrong: type[Reference], tells: bool) -> None:
    hard_calls = make_hard_calls(NAMES, 300, seed=1)
    right = make_dict_peer(Reference(NAMES), tells=tells)
    assert check_money(right, Reference(NAMES), hard_calls) >= 300
    with pytest.raises(PeerFailed):
        check_money(make_dict_peer(wrong(NAMES), tells=tells), Reference(NAMES), hard_calls)


def test_every_balance_is_probed_where_none_is_told() -> None:
    ledger = Reference(NAMES)
    ledger.balances["acct-3"] -= 1
    with pytest.raises(PeerFailed, match="acct-3"):
        check_money(make_dict_peer(ledger, tells=False), Reference(NAMES), [])


# -- the clients ----------------------------------------------------------------------------------


def test_clients_share_the_calls_and_stop_in_time() -> None:
    asked: list[Call] = []

    def ask(call: Call) -> bool:
        asked.append(call)
        return True

    calls = WORKLOAD.calls(50)
    timed = run_clients([ask] * 3, CORE, calls, 10.0, is_embedded=False)
    assert sorted(timed.calls) == sorted(asked) == sorted(calls)
    assert len(timed.latencies_s) == 50
    assert run_clients([ask] * 3, CORE, calls, 0.0, is_embedded=True).calls == []
    with pytest.raises(PeerFailed, match="refused"):
        run_clients([ask, lambda call: False], CORE, calls, 10.0, is_embedded=True)


# -- the command ----------------------------------------------------------------------------------


def test_the_command_compares_all_that_is_found(
    tmp_path: Path, stand_in: Path, left_behind: list[str]
) -> None:
    result = run_peers(tmp_path / "out", "--json", f"--go={stand_in}")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "out" / "peers.json").read_text())
    names = [peer["name"] for peer in report["peers"]]
    assert sorted([*names, *report["missing"]]) == sorted(PEERS)
    assert {*OURS, "go"} <= set(names)
    table = (tmp_path / "out" / "peers.md").read_text()
    for peer in report["peers"]:
        assert len(peer["rates"]) == 1
        assert peer["rate"] > 0
        assert peer["applied"] == 120
        assert peer["checked"] >= comparison.HARD_CALLS
        assert (peer["p50_ms"] is None) == (peer["name"] == "batches")
        assert peer["title"] in table
        assert peer["durability"] in table


def test_a_peer_that_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres, "DEBIAN_DIRECTORY", tmp_path)
    # None is how Python marks a module that cannot be imported.
    monkeypatch.setitem(sys.modules, "bench.peers.redis", None)
    result = run_peers(tmp_path, "--peer=sqlite", "--peer=redis", "--peer=go", "--peer=postgres")
    assert result.exit_code == 0, result.output
    assert "SQLite, one transaction each" in result.stdout
    assert "postgres: not found; install PostgreSQL" in result.stdout
    assert "redis: not found; needs the Python library" in result.stdout
    assert "go: not found; name its binary with --go" in result.stdout


def test_redis_that_is_missing_is_told(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(settings.scratch))
    with pytest.raises(PeerMissing, match="redis-server"), open_peer("redis", settings):
        pass


@pytest.mark.usefixtures("left_behind")
def test_a_peer_that_lies_fails_the_command(tmp_path: Path, stand_in: Path) -> None:
    stand_in.write_text(STAND_IN.replace("FORGETS", "True"))
    result = run_peers(tmp_path, "--peer=go", f"--go={stand_in}")
    assert result.exit_code == 1
    assert "the sketch in Go" in result.stderr
    assert "and was not" in result.stderr


@pytest.mark.usefixtures("left_behind")
def test_what_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> int:
        assert list_children()
        raise PeerFailed("on purpose")

    monkeypatch.setattr(comparison, "check_money", fail)
    result = run_peers(tmp_path)
    assert result.exit_code == 1
    assert "on purpose" in result.stderr


def test_sigterm_leaves_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "peers", *TINY, "--rounds=1000"]
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {**make_environment(), "TMPDIR": str(temporary)}
    with subprocess.Popen(
        [*command, "--peer=service", "--peer=sqlite", f"--output={tmp_path}"],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "warming up" in process.stderr.readline()
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        pids = wait_until(lambda: children.read_text().split(), "the service to be started")
        line = Path(f"/proc/{pids[0]}/cmdline").read_text()
        data = Path(next(flag for flag in line.split("\0") if "--data=" in flag)[len("--data=") :])
        assert data.exists()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE_S) == 128 + signal.SIGTERM
    assert [pid for pid in pids if Path(f"/proc/{pid}").exists()] == []
    assert [*temporary.iterdir()] == []
    assert not data.parent.exists()


def test_a_run_is_bounded(tmp_path: Path) -> None:
    result = run_peers(tmp_path, "--transfers=1000000", "--rounds=20")
    assert result.exit_code == 2
    assert "21,000,000 transfers in all rounds" in result.stderr


# -- processes ------------------------------------------------------------------------------------


def test_a_server_that_ends_at_once_says_why(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def connect() -> None:
        raise ConnectionRefusedError("nobody there")

    command = [sys.executable, "-c", "raise SystemExit('no such ledger')"]
    with (
        Process(CORE, command, log) as process,
        pytest.raises(ProcessFailed, match="no such ledger"),
    ):
        process.wait_for(connect, ConnectionRefusedError)
    with pytest.raises(ProcessFailed, match="cannot be run"):
        Process(CORE, [str(tmp_path / "none")], log)


def test_the_version_of_go_is_read_from_the_program(tmp_path: Path) -> None:
    binary = tmp_path / "binary"
    head = b"\xff Go buildinf:" + bytes([8, 2]) + bytes(16)
    binary.write_bytes(b"ELF" + head + bytes([8]) + b"go1.22.5" + b"\x03mod")
    assert read_go_version(binary) == "go1.22.5"
    binary.write_bytes(b"ELF")
    assert read_go_version(binary) == "unknown"
