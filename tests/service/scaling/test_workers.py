"""The scaler: when it looks, what it does, and what it tells. Then a server that does it all."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from ledgercore import EngineClosed, InvalidArgument, SegmentLoad
from ledgercore.service.scaling.workers import LOOK_INTERVAL_S, Scaler
from tests.support.scripted_loop import ScriptedLoop
from tests.support.servers import Server
from tests.support.waiting import wait_until

BATCH_MAX, QUEUE_SIZE = 100, 10_000


class ScriptedEngine:
    """Segments whose depth and utilisation the test sets."""

    def __init__(self, loop: ScriptedLoop, workers_min: int = 1, workers_max: int = 3) -> None:
        self.options = SimpleNamespace(
            workers_min=workers_min,
            workers_max=workers_max,
            batch_max=BATCH_MAX,
            queue_size=QUEUE_SIZE,
        )
        self.segments = 2
        self.workers = [workers_min, workers_min]
        self.depths = [0, 0]
        self.utilisations = [0.0, 0.0]
        self.error: Exception | None = None
        self._loop = loop
        self._busy_ns = [0.0, 0.0]
        self._counted_s = loop.now_s

    def set_workers(self, segment: int, count: int) -> None:
        if self.error is not None:
            raise self.error
        self.workers[segment] = count

    def statistics(self) -> Any:
        elapsed_s, self._counted_s = self._loop.now_s - self._counted_s, self._loop.now_s
        for segment in range(2):
            share = self.utilisations[segment] * self.workers[segment]
            self._busy_ns[segment] += elapsed_s * 1e9 * share
        rows = zip(self.depths, self.workers, self._busy_ns, strict=True)
        return SimpleNamespace(segments=tuple(SegmentLoad(*row[:2], round(row[2])) for row in rows))


@pytest.fixture
def loop() -> ScriptedLoop:
    return ScriptedLoop()


@pytest.fixture
def engine(loop: ScriptedLoop) -> ScriptedEngine:
    return ScriptedEngine(loop)


@pytest.fixture
def told(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged."""
    # An app of another test may have set the logger not to hand its lines on.
    monkeypatch.setattr(logging.getLogger("ledgercore"), "propagate", True)
    with caplog.at_level(logging.INFO, "ledgercore"):
        yield caplog


def make_scaler(engine: ScriptedEngine, loop: ScriptedLoop) -> Scaler:
    return Scaler(engine, loop)  # type: ignore[arg-type]


def test_it_does_not_look_before_it_is_woken(engine: ScriptedEngine, loop: ScriptedLoop) -> None:
    scaler = make_scaler(engine, loop)
    assert not scaler.is_looking and loop.due == []
    for _ in range(3):
        scaler.wake()
    (timer,) = loop.due
    assert scaler.is_looking and timer.when_s == loop.now_s + LOOK_INTERVAL_S


def test_it_stops_when_there_is_nothing_to_see(engine: ScriptedEngine, loop: ScriptedLoop) -> None:
    scaler = make_scaler(engine, loop)
    scaler.wake()
    for depth, utilisation in ((1, 0.0), (0, 0.01), (5, 0.5)):
        engine.depths[1], engine.utilisations[1] = depth, utilisation
        loop.step()
        assert scaler.is_looking
    engine.depths[1], engine.utilisations[1] = 0, 0.0
    loop.step()
    assert not scaler.is_looking and loop.due == [] and engine.workers == [1, 1]
    scaler.wake()
    assert len(loop.due) == 1


def test_it_raises_and_lowers_each_segment_by_its_own_load(
    engine: ScriptedEngine, loop: ScriptedLoop, told: pytest.LogCaptureFixture
) -> None:
    scaler = make_scaler(engine, loop)
    engine.depths, engine.utilisations = [0, 2000], [0.2, 0.97]
    scaler.wake()
    for _ in range(20):
        loop.step()
    assert engine.workers == [1, 3]
    assert told.messages == [
        f"segment 1: {before} -> {before + 1} workers (queue depth 2000 of 10000, utilisation 0.97)"
        for before in (1, 2)
    ]
    told.clear()
    engine.depths, engine.utilisations = [0, 0], [0.0, 0.0]
    began_s = loop.now_s
    while scaler.is_looking:
        loop.step()
    assert engine.workers == [1, 1] and loop.now_s < began_s + 20
    assert [line.partition(" (")[0] for line in told.messages] == [
        "segment 1: 3 -> 2 workers",
        "segment 1: 2 -> 1 workers",
    ]
    assert all("utilisation 0.00, calm for 5." in line for line in told.messages)


def test_utilisation_never_exceeds_one(
    engine: ScriptedEngine, loop: ScriptedLoop, told: pytest.LogCaptureFixture
) -> None:
    """A worker that was retired still finishes its batch, so there are more than are counted."""
    scaler = make_scaler(engine, loop)
    engine.utilisations[0] = 2.5
    scaler.wake()
    loop.step()
    loop.step()
    assert told.messages == ["segment 0: 1 -> 2 workers (queue depth 0 of 10000, utilisation 1.00)"]


def test_a_fixed_number_needs_no_look(loop: ScriptedLoop) -> None:
    engine = ScriptedEngine(loop, 2, 2)
    scaler = make_scaler(engine, loop)
    scaler.wake()
    assert not scaler.is_looking
    engine.workers[1] = 1  # Somebody else has changed it: it comes back.
    scaler.wake()
    loop.step()
    assert engine.workers == [2, 2]


def test_bounds_can_be_changed(
    engine: ScriptedEngine, loop: ScriptedLoop, told: pytest.LogCaptureFixture
) -> None:
    scaler = make_scaler(engine, loop)
    scaler.set_bounds(2, 2)
    while scaler.is_looking:
        loop.step()
    assert engine.workers == [2, 2]
    assert told.messages == [f"segment {n}: 1 -> 2 workers (2 to 2 are allowed)" for n in (0, 1)]
    for low, high in ((0, 1), (2, 1), (1, 4)):
        with pytest.raises(InvalidArgument):
            scaler.set_bounds(low, high)
    scaler.wake()
    assert not scaler.is_looking


def test_where_no_thread_can_be_started_it_goes_on(
    engine: ScriptedEngine, loop: ScriptedLoop, told: pytest.LogCaptureFixture
) -> None:
    scaler = make_scaler(engine, loop)
    engine.error = RuntimeError("can't start new thread")
    engine.utilisations[0] = 1.0
    scaler.wake()
    for _ in range(3):
        loop.step()
    assert told.messages == ["segment 0: stays at 1 workers: can't start new thread"]
    engine.error = None
    for _ in range(10):
        loop.step()
    assert engine.workers[0] > 1


def test_after_the_end_it_looks_no_more(engine: ScriptedEngine, loop: ScriptedLoop) -> None:
    scaler = make_scaler(engine, loop)
    scaler.wake()
    scaler.close()
    engine.error = EngineClosed("the engine is closed")
    assert loop.due == [] and not scaler.is_looking
    scaler.wake()
    assert loop.due == []


# -- a server -------------------------------------------------------------------------------------

ITEMS = 4000
SENDERS = 6


def send_batches(url: str, name: str, finished: threading.Event, counts: list[int]) -> None:
    """Send large requests, one after the other, until told to stop."""
    with httpx.Client(base_url=url, timeout=60) as client:
        number = 0
        while not finished.is_set():
            items = [
                {
                    "from": f"acct-{row % 8}",
                    "to": f"acct-{(row + 1) % 8}",
                    "amount": 1,
                    "idempotency_key": f"{name}-{number}-{row}",
                }
                for row in range(ITEMS)
            ]
            response = client.post("/transfers", json=items)
            assert response.status_code == 200, response.text
            assert response.text.count('"applied"') == ITEMS
            counts.append(ITEMS)
            number += 1


def read_metrics(client: httpx.Client) -> Any:
    return client.get("/metrics").json()


def test_a_server_gets_workers_under_load_and_loses_them_when_idle(tmp_path: Path) -> None:
    # Small batches make the workers the slow part, and the queue deep.
    flags = ("--demo-accounts=8", "--workers-max=3", "--batch-max=16")
    with Server(tmp_path / "ledger", *flags) as server:
        counts: list[int] = []
        finished = threading.Event()
        senders = [
            threading.Thread(target=send_batches, args=(server.url, f"s{n}", finished, counts))
            for n in range(SENDERS)
        ]
        with httpx.Client(base_url=server.url, timeout=60) as client:
            before = read_metrics(client)
            assert before["active_workers"] == 1 and server.complaints == []
            for sender in senders:
                sender.start()
            try:
                wait_until(lambda: read_metrics(client)["active_workers"] > 1, "a worker more")
            finally:
                finished.set()
                for sender in senders:
                    sender.join()
            wait_until(lambda: read_metrics(client)["active_workers"] == 1, "the workers to go")
            after = read_metrics(client)
            assert after["queue_depth"] == 0
            assert after["segments"][0]["busy_seconds_total"] > 0
            assert after["lsn_durable"] - before["lsn_durable"] == sum(counts)
            audit = client.get("/audit").json()
            assert audit["ok"] and audit["journal_checked"]
        moves = [line for line in server.log if line["event"] == "workers"]
        first, *others, last = (line["message"] for line in moves)
        assert first.startswith("segment 0: 1 -> 2 workers (queue depth ")
        assert last.startswith("segment 0: 2 -> 1 workers (queue depth 0 of 262144")
        assert all(line.startswith("segment 0: ") for line in others)
        assert (moves[-1]["before"], moves[-1]["after"], moves[-1]["segment"]) == (2, 1, 0)
        assert {"reason", "queue_depth", "utilisation"} <= moves[0].keys()
        assert server.stop() == 0
