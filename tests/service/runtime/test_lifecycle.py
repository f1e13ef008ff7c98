"""The life of the engine in a server: what is refused when, and what ends it."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ledgercore import Audit, QueueFull
from ledgercore.service.admission.drain_rate import DrainMeter
from ledgercore.service.runtime import lifecycle as lifecycle_module
from ledgercore.service.runtime.lifecycle import Lifecycle, State, open_ledger
from ledgercore.service.settings import Settings
from ledgercore.service.wire import problems
from ledgercore.service.wire.problems import RETRY_AFTER_S, Busy, Kind, Problem


class PartOfApp:
    """As much of an app as a lifecycle needs."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(is_running=True)
        self.stopped = asyncio.Event()

    def stop(self) -> None:
        self.stopped.set()


App: Any = PartOfApp


def refusal_of(lifecycle: Lifecycle) -> Kind:
    with pytest.raises(Problem) as caught:
        _ = lifecycle.batcher.barrier()
    return caught.value.kind


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=str(tmp_path / "ledger"), demo_accounts=1)


async def test_life(settings: Settings) -> None:
    lifecycle, app = Lifecycle(settings), App()
    ready: list[Any] = []
    lifecycle.on_ready = ready.append
    assert refusal_of(lifecycle) is problems.RECOVERING
    await lifecycle.start(app)
    await lifecycle_opened(lifecycle)
    assert lifecycle.state is State.READY
    assert ready == [lifecycle.engine]
    await lifecycle.batcher.barrier()
    await lifecycle.stop(app)
    assert refusal_of(lifecycle) is problems.SHUTTING_DOWN
    await lifecycle.close(app)
    # Sanic may call these twice.
    await lifecycle.stop(app)
    await lifecycle.close(app)
    assert lifecycle.failure is None


async def lifecycle_opened(lifecycle: Lifecycle) -> None:
    """Wait for the opening, which on a busy machine takes longer than the grace."""
    assert lifecycle._opening is not None
    await lifecycle._opening


async def test_failed_opening_stops_the_app(
    settings: Settings, capfd: pytest.CaptureFixture[str]
) -> None:
    with open_ledger(settings) as holder:
        lifecycle, app = Lifecycle(settings), App()
        await lifecycle.start(app)
        await lifecycle_opened(lifecycle)
        assert holder.path in (lifecycle.failure or "")
        assert refusal_of(lifecycle) is problems.JOURNAL_FAILED
        lifecycle.watch(app)
        assert app.stopped.is_set()
        await lifecycle.stop(app)
        await lifecycle.close(app)


async def test_stop_that_came_too_early_is_not_forgotten(settings: Settings) -> None:
    lifecycle, app = Lifecycle(settings), App()
    lifecycle.is_stop_wanted = True
    lifecycle.watch(app)
    assert app.stopped.is_set()
    await lifecycle.close(app)


async def test_app_is_not_stopped_before_it_serves(settings: Settings) -> None:
    lifecycle, app = Lifecycle(settings), App()
    app.state.is_running = False
    lifecycle.fail("a reason")
    lifecycle.watch(app)
    assert not app.stopped.is_set()
    app.state.is_running = True
    await asyncio.wait_for(app.stopped.wait(), 30)
    await lifecycle.close(app)


async def test_failure_stops_an_app_that_serves(settings: Settings) -> None:
    lifecycle, app = Lifecycle(settings), App()
    lifecycle.watch(app)
    assert lifecycle._watching is None  # An idle server does not wake up to look.
    lifecycle.fail("no space")
    assert not app.stopped.is_set()  # Who waits in this turn is told first.
    await asyncio.wait_for(app.stopped.wait(), 30)
    assert lifecycle.failure == "no space"
    assert refusal_of(lifecycle) is problems.JOURNAL_FAILED
    await lifecycle.stop(app)
    await lifecycle.close(app)


def test_first_reason_counts(settings: Settings) -> None:
    lifecycle = Lifecycle(settings)
    lifecycle.fail("first")
    lifecycle.fail("second")
    assert lifecycle.failure == "first"


async def test_blocking_calls_are_bounded(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle_module, "CALLS_MAX", 2)
    lifecycle, gate = Lifecycle(settings), threading.Event()
    calls = [asyncio.ensure_future(lifecycle.call(gate.wait)) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(QueueFull):
        await lifecycle.call(gate.wait)
    gate.set()
    assert await asyncio.gather(*calls) == [True, True]
    assert await lifecycle.call(gate.wait) is True
    await lifecycle.close(App())


async def test_too_many_calls_are_told_when_to_come_by_how_fast_calls_end(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle_module, "CALLS_MAX", 40)
    lifecycle, gate, now_ns = Lifecycle(settings), threading.Event(), 10**12
    clock = SimpleNamespace(monotonic_ns=lambda: now_ns)
    monkeypatch.setattr(lifecycle_module, "time", clock)
    lifecycle._calls_drain = DrainMeter(clock.monotonic_ns)

    async def fill() -> tuple[list[asyncio.Task[bool]], int]:
        """Return calls that wait at the gate, and what one too many is told."""
        calls = [asyncio.ensure_future(lifecycle.call(gate.wait)) for _ in range(40)]
        await asyncio.sleep(0)
        with pytest.raises(Busy) as caught:
            await lifecycle.call(gate.wait)
        return calls, caught.value.retry_after_s

    calls, wait_s = await fill()
    assert wait_s == RETRY_AFTER_S  # Nothing has ended yet, and so nothing is known.
    gate.set()
    await asyncio.gather(*calls)
    gate.clear()
    now_ns += 1_900_000_000  # 40 calls ended in two seconds.
    calls, wait_s = await fill()
    assert wait_s == 2
    gate.set()
    await asyncio.gather(*calls)
    await lifecycle.close(App())


async def test_call_runs_to_its_end_when_nobody_waits(settings: Settings) -> None:
    lifecycle, gate, done = Lifecycle(settings), threading.Event(), threading.Event()

    def work() -> None:
        gate.wait()
        done.set()

    call = asyncio.ensure_future(lifecycle.call(work))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    stopping = asyncio.ensure_future(lifecycle.stop(App()))
    await asyncio.sleep(0)
    assert not stopping.done()
    gate.set()
    await stopping
    assert done.is_set()
    await lifecycle.close(App())


async def test_concurrent_audits_share_one_run(settings: Settings) -> None:
    lifecycle, gate = Lifecycle(settings), threading.Event()
    runs: list[bool] = []

    def audit(*, journal: bool) -> Audit:
        runs.append(journal)
        gate.wait()
        return Audit(7, 1, {}, (), journal)

    lifecycle.state = State.READY
    engine: Any = SimpleNamespace(audit=audit, failure=None, close=lambda: None)
    lifecycle._engine = engine
    asked = [asyncio.ensure_future(lifecycle.audit(journal)) for journal in (True, True, False)]
    await asyncio.sleep(0)
    gate.set()
    audits = await asyncio.gather(*asked)
    assert [audit.journal_checked for audit in audits] == [True, True, False]
    assert sorted(runs) == [False, True]
    await lifecycle.audit(True)
    assert sorted(runs) == [False, True, True]
    await lifecycle.close(App())
