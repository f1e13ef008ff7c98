"""The switch of chaos: refused where it was not allowed, one plan at a time, each change logged."""

import logging
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from ledgercore.service.chaos.plan import InvalidPlan, Plan
from ledgercore.service.chaos.switch import ChaosSwitch
from ledgercore.service.wire.problems import CHAOS_NOT_ALLOWED, Problem
from tests.service.chaos.test_faults import ScriptedEngine, ScriptedLoop

STALL = {"stall_segment": {"probability": 1.0, "ms": [10, 10], "segment": 1}}
DROP = {"seed": 7, "drop_before": {"probability": 0.5}}


class Stage:
    """A switch of a scripted engine with two segments."""

    def __init__(self, *, is_allowed: bool = True) -> None:
        self.engine = cast("Any", ScriptedEngine())
        self.engine.segments = 2
        self.batcher: Any = SimpleNamespace(fault_injector=None)
        loop: Any = ScriptedLoop()
        self.switch = ChaosSwitch(self.engine, self.batcher, loop, is_allowed=is_allowed)

    def change(self, plan: dict[str, Any]) -> None:
        self.switch.change(msgspec.convert(plan, Plan))


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "ledgercore"):
        yield


def test_refused_where_it_was_not_allowed(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage(is_allowed=False)
    for plan in (DROP, {}):
        with pytest.raises(Problem) as caught:
            stage.change(plan)
        assert caught.value.kind is CHAOS_NOT_ALLOWED
    assert stage.batcher.fault_injector is None and caplog.messages == []


def test_one_plan_ends_before_another_begins(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.change(STALL)
    first = stage.batcher.fault_injector
    first.strike(1)
    stage.change(DROP)
    assert stage.engine.calls[0] == ("stall", 1) and ("go on", 1) in stage.engine.calls
    assert stage.batcher.fault_injector is not first
    stage.change({})
    assert stage.batcher.fault_injector is None
    assert caplog.messages == [
        "chaos is on, with seed 0: stall_segment 1 of 10-10 ms in segment 1",
        "chaos is on, with seed 7: drop_before 0.5",
        "chaos is off",
    ]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_the_same_plan_again_begins_anew() -> None:
    stage = Stage()
    drawn = []
    for _ in range(2):
        stage.change(DROP)
        drawn.append([stage.batcher.fault_injector.drops_before() for _ in range(50)])
    assert drawn[0] == drawn[1] and len(set(drawn[0])) == 2


def test_a_wrong_plan_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.change(DROP)
    running = stage.batcher.fault_injector
    with pytest.raises(InvalidPlan, match="segment 2 is not 0 to 1"):
        stage.change({"stall_segment": {"probability": 1.0, "ms": [1, 1], "segment": 2}})
    assert stage.batcher.fault_injector is running and len(caplog.messages) == 1


def test_the_plan_is_told_with_what_has_struck() -> None:
    stage = Stage()
    assert stage.switch.describe() == {"plan": {}, "struck": {}}
    stage.change({"drop_before": {"probability": 1.0}, "drop_after": {"probability": 0.0}})
    for _ in range(3):
        stage.batcher.fault_injector.drops_before()
    told = stage.switch.describe()
    assert told["struck"] == {"drop_before": 3}
    assert msgspec.convert(told["plan"], Plan).drop_before is not None


def test_the_end_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    stage = Stage()
    stage.change(DROP)
    stage.switch.end()
    stage.switch.end()
    assert stage.batcher.fault_injector is None and stage.switch.describe()["plan"] == {}
    assert len(caplog.messages) == 1
