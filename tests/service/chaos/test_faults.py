"""What the faults of chaos do: to a scripted engine, and to the connections of a real server."""

import errno
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from ledgercore.service.chaos.faults import FaultInjector
from ledgercore.service.chaos.plan import Plan
from tests.support.local import PROTOCOLS, LocalServer, RawConnection, local_serving
from tests.support.waiting import wait_until

ALWAYS = {"probability": 1.0}
NEVER_MS = [60_000, 60_000]


def make_plan(**faults: dict[str, Any]) -> Plan:
    return msgspec.convert(faults, Plan)


class Timer:
    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Over:
    """A future that somebody may wait for."""

    def set_result(self, result: None) -> None: ...


class ScriptedLoop:
    """The calls that are to come, and after how long."""

    def __init__(self) -> None:
        self.timers: list[tuple[float, Timer]] = []

    def create_future(self) -> Over:
        return Over()

    def call_later(self, delay_s: float, call: Callable[..., object], *arguments: Any) -> Timer:
        timer = Timer(lambda: call(*arguments))
        self.timers.append((delay_s, timer))
        return timer

    def run(self) -> list[float]:
        """Make all calls that were not cancelled; returns after how long each was to come."""
        timers, self.timers = self.timers, []
        due = [(delay_s, timer) for delay_s, timer in timers if not timer.is_cancelled]
        for _, timer in due:
            timer.call()
        return [delay_s for delay_s, _ in due]


class ScriptedEngine:
    """Notes what is done to it; it is its own `fault_injection`."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.fault_injection = self

    def stall(self, segment: int, stalled: bool = True) -> None:
        self.calls.append(("stall" if stalled else "go on", segment))

    def inject_sync_fault(self, *, delay_ms: int = 0, error: int = 0) -> None:
        self.calls.append(("sync", delay_ms, error))

    def leave_to_workers(self, is_left: bool = True) -> None:
        self.calls.append(("workers", is_left))

    def replace_worker(self, segment: int) -> None:
        if self.error is not None:
            raise self.error
        self.calls.append(("kill", segment))


class ScriptedConnection:
    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.is_cut = False

    def finish(self, reply: bytes) -> int:
        self.written.append(reply)
        return 0

    def cut(self) -> None:
        self.is_cut = True


class Stage:
    """A fault_injector of a scripted engine."""

    def __init__(self, **faults: dict[str, Any]) -> None:
        engine, loop = cast("tuple[Any, Any]", (ScriptedEngine(), ScriptedLoop()))
        self.engine, self.loop = engine, loop
        self.fault_injector = FaultInjector(engine, loop, make_plan(**faults))

    def strike(self, *segments: int) -> list[tuple[Any, ...]]:
        """Let batches for these segments pass, and return what was done to the engine."""
        self.engine.calls.clear()
        for segment in segments:
            self.fault_injector.strike(segment)
        return list(self.engine.calls)

    def end(self) -> list[tuple[Any, ...]]:
        self.engine.calls.clear()
        self.fault_injector.end()
        return list(self.engine.calls)


QUIET = [("sync", 0, 0), ("workers", False)]
"""What the end of a plan sets right in any case."""


# -- the engine ---------------------------------------------------------------------------------


def test_faults_of_a_sync_are_injected_by_one_call() -> None:
    slow = {"probability": 1, "ms": [20, 20]}
    assert Stage(slow_sync=slow).strike(0) == [("sync", 20, 0)]
    assert Stage(fail_sync=ALWAYS).strike(0) == [("sync", 0, errno.EIO)]
    assert Stage(slow_sync=slow, fail_sync=ALWAYS).strike(0) == [("sync", 20, errno.EIO)]


def test_workers_are_killed_at_work() -> None:
    stage = Stage(kill_worker=ALWAYS)
    assert stage.engine.calls == [("workers", True)]
    assert stage.strike(0, 1) == [("kill", 0), ("kill", 1)]
    assert stage.end() == QUIET


def test_a_worker_that_cannot_be_replaced_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(kill_worker=ALWAYS)
    stage.engine.error = RuntimeError("can't start new thread")
    with caplog.at_level(logging.WARNING, "ledgercore"):
        assert stage.strike(1) == []
    assert caplog.messages == ["segment 1: its worker goes on: can't start new thread"]


def test_a_stall_ends_after_its_time() -> None:
    stage = Stage(stall_segment={"probability": 1, "ms": [250, 250]})
    assert stage.strike(0, 0, 1) == [("stall", 0), ("stall", 1)]
    assert stage.loop.run() == [0.25, 0.25]
    assert stage.engine.calls[2:] == [("go on", 0), ("go on", 1)]
    assert stage.strike(0) == [("stall", 0)]


def test_only_the_segment_that_is_named_is_stalled() -> None:
    stage = Stage(stall_segment={"probability": 1, "ms": NEVER_MS, "segment": 1})
    assert stage.strike(0, 2) == [] and stage.fault_injector.struck == {}
    assert stage.strike(1) == [("stall", 1)]


def test_the_end_undoes_all_and_strikes_no_more() -> None:
    stage = Stage(
        stall_segment={"probability": 1, "ms": NEVER_MS},
        slow_sync={"probability": 1, "ms": [1, 1]},
        latency={"probability": 1, "ms": NEVER_MS},
        drop_before=ALWAYS,
    )
    connection: Any = ScriptedConnection()
    assert stage.fault_injector.takes(connection, b"answer") and connection.written == []
    stage.strike(0)
    assert stage.end() == [("go on", 0), *QUIET]
    assert connection.written == [b"answer"]
    assert stage.loop.run() == []
    assert stage.strike(0, 1) == []
    assert not stage.fault_injector.drops_before() and not stage.fault_injector.takes(
        connection, b"next"
    )


# -- the native way, scripted -------------------------------------------------------------------


def test_an_answer_is_held_back() -> None:
    stage, connection = Stage(latency={"probability": 1, "ms": [5, 5]}), ScriptedConnection()
    assert stage.fault_injector.takes(connection, b"answer") and connection.written == []
    assert stage.loop.run() == [0.005]
    assert connection.written == [b"answer"] and stage.fault_injector.struck == {"latency": 1}


def test_a_connection_is_cut_instead_of_an_answer() -> None:
    stage = Stage(latency={"probability": 1, "ms": [5, 5]}, drop_after=ALWAYS)
    connection = ScriptedConnection()
    assert stage.fault_injector.takes(connection, b"answer")
    assert connection.is_cut and stage.loop.timers == []
    assert stage.fault_injector.struck == {"drop_after": 1}


# -- both ways, over sockets --------------------------------------------------------------------


@pytest.fixture(scope="module", params=["native", "ordinary"])
def server(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[LocalServer]:
    data: Path = tmp_path_factory.mktemp("faults") / "ledger"
    with (
        local_serving(),
        LocalServer(data, PROTOCOLS[request.param], demo_accounts=2, allow_chaos=1) as server,
    ):
        yield server


@pytest.fixture
def connection(server: LocalServer) -> Iterator[RawConnection]:
    with server.connect() as connection:
        yield connection
    change(server)


def change(server: LocalServer, **faults: dict[str, Any]) -> None:
    async def switch() -> None:
        server.lifecycle.chaos.change(make_plan(**faults))

    server.run(switch())


def struck(server: LocalServer, name: str) -> int:
    found: int = server.get("/admin/chaos")["struck"][name]
    return found


def write_transfer(key: str, path: str = "/transfer") -> bytes:
    members = '"from":"acct-0","to":"acct-1","amount":1'
    body = f'{{{members},"idempotency_key":"{key}"}}'
    body = f"[{body}]" if path == "/transfers" else body
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode()


def state_of(server: LocalServer, key: str) -> Any:
    return server.get(f"/idempotency-keys/{key}")["state"]


@pytest.mark.parametrize("path", ["/transfer", "/transfers"])
@pytest.mark.parametrize(("fault", "state"), [("drop_before", "unseen"), ("drop_after", "applied")])
def test_a_dropped_connection_tells_nothing(
    server: LocalServer, connection: RawConnection, fault: str, state: str, path: str
) -> None:
    key = f"{fault}-{path[1:]}-{id(server)}"
    change(server, **{fault: ALWAYS})
    connection.send(write_transfer(key, path))
    assert connection.read_answer() is None
    assert state_of(server, key) == state and struck(server, fault) == 1
    change(server)
    with server.connect() as again:
        again.send(write_transfer(key, path))
        (answer,) = again.read_answers(1)
    assert answer.status in (200, 201)
    assert state_of(server, key) == "applied"


def test_what_was_sent_behind_a_dropped_request_is_not_submitted(
    server: LocalServer, connection: RawConnection
) -> None:
    change(server, drop_before=ALWAYS)
    connection.send(b"".join(write_transfer(f"behind-{number}") for number in range(3)))
    assert connection.read_answer() is None
    assert struck(server, "drop_before") == 1
    assert {state_of(server, f"behind-{number}") for number in range(3)} == {"unseen"}


def test_late_answers_keep_their_order(server: LocalServer, connection: RawConnection) -> None:
    before = server.lsn
    change(server, latency={"probability": 1, "ms": [100, 150]})
    keys = [f"late-{number}-{id(server)}" for number in range(3)]
    connection.send(write_transfer(keys[0]))
    wait_until(lambda: struck(server, "latency") == 1, "the first answer to be held back")
    connection.send(*(write_transfer(key) for key in keys[1:]))
    answers = connection.read_answers(len(keys))
    assert [answer.status for answer in answers] == [201] * len(keys)
    assert server.lsn == before + len(keys) and struck(server, "latency") > 1
    change(server)
    for key, answer in zip(keys, answers, strict=True):
        assert server.ask(write_transfer(key)).body == answer.body


@pytest.mark.parametrize("path", ["/transfer", "/transfers"])
def test_the_end_of_chaos_lets_late_answers_go(
    server: LocalServer, connection: RawConnection, path: str
) -> None:
    change(server, latency={"probability": 1, "ms": NEVER_MS})
    connection.send(write_transfer(f"held-{path[1:]}", path))
    wait_until(lambda: struck(server, "latency"), "the answer to be held back")
    change(server)
    assert connection.read_answers(1)[0].status in (200, 201)


def test_nothing_but_transfers_is_dropped(server: LocalServer, connection: RawConnection) -> None:
    change(server, drop_before=ALWAYS, drop_after=ALWAYS, latency={**ALWAYS, "ms": NEVER_MS})
    assert server.get("/accounts/acct-0")["id"] == "acct-0"
    assert server.get("/audit")["ok"]


def test_without_a_plan_there_is_no_fault_injector(
    server: LocalServer, connection: RawConnection
) -> None:
    change(server, drop_before={"probability": 0})
    assert server.lifecycle.batcher.fault_injector is None
    connection.send(write_transfer(f"quiet-{id(server)}"))
    assert connection.read_answers(1)[0].status == 201
