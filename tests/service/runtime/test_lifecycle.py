"""The life of the engine in a server: what is refused when, and what ends it."""

import asyncio
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ledgercore.service.runtime.assembly import open_ledger
from ledgercore.service.runtime.lifecycle import Lifecycle, State
from ledgercore.service.settings import Settings
from ledgercore.service.wire import problems
from ledgercore.service.wire.problems import Kind, Problem


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


async def test_what_was_opened_is_closed_where_the_opening_fails(tmp_path: Path) -> None:
    folder, plan = tmp_path / "ledger", tmp_path / "plan.json"
    plan.write_text("nonsense")  # It is read last.
    settings = Settings(data=str(folder), allow_chaos=1, chaos=str(plan))
    lifecycle, app = Lifecycle(settings), App()
    await lifecycle.start(app)
    await lifecycle_opened(lifecycle)
    assert lifecycle.state is State.FAILED
    await lifecycle.stop(app)
    await lifecycle.close(app)
    open_ledger(Settings(data=str(folder))).close()  # Nobody has it locked.


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


async def test_a_call_that_nobody_waits_for_is_waited_for_at_the_end(settings: Settings) -> None:
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
