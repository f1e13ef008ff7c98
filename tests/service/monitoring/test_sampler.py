"""The sampler: when it looks, what it keeps, and that it rests."""

from typing import Any

import pytest

from ledgercore.service.monitoring.sampler import INTERVAL_S, SAMPLES_MAX, Sampler
from ledgercore.service.wire.problems import RECOVERING, Problem
from tests.support.scripted_loop import ScriptedLoop
from tests.support.scripted_totals import make_totals

EPOCH_S = 1_800_000_000.0


class Scene:
    """A sampler, its loop, and a server that answers `rate` requests a second."""

    def __init__(self) -> None:
        self.loop = ScriptedLoop()
        self.rate = 0
        self.answered = 0
        self.reads = 0
        self.is_open = True
        self.sampler = Sampler(self.read, self.loop, lambda: EPOCH_S + self.loop.now_s)

    def read(self) -> Any:
        self.reads += 1
        if not self.is_open:
            raise Problem(RECOVERING, "not yet")
        return make_totals(self.loop.now_s, answers={("/transfer", 201, "applied"): self.answered})

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.answered += self.rate
            self.loop.step()

    @property
    def rates(self) -> list[float]:
        return [sample["rps"] for sample in self.sampler.samples]

    @property
    def times(self) -> list[float]:
        return [sample["t"] - EPOCH_S for sample in self.sampler.samples]


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_it_does_not_look_before_it_is_woken(scene: Scene) -> None:
    assert not scene.sampler.is_awake and scene.loop.due == [] and scene.reads == 0


def test_it_looks_each_second_while_there_is_work_and_then_rests(scene: Scene) -> None:
    scene.sampler.wake()
    for rate in (10, 30, 20):
        scene.rate = rate
        scene.step()
    scene.rate = 0
    scene.step()
    assert scene.rates == [10, 30, 20, 0]
    assert scene.times == [1001, 1002, 1003, 1004]
    assert not scene.sampler.is_awake and scene.loop.due == []


def test_waking_what_is_awake_costs_nothing(scene: Scene) -> None:
    scene.sampler.wake()
    scene.sampler.wake()
    assert scene.reads == 1 and len(scene.loop.due) == 1


def test_what_was_before_the_waking_is_in_no_sample(scene: Scene) -> None:
    scene.answered = 5000
    scene.sampler.wake()
    scene.rate = 2
    scene.step()
    assert scene.rates == [2]


def test_it_looks_as_long_as_somebody_watches(scene: Scene) -> None:
    scene.sampler.begin_watching()
    scene.sampler.begin_watching()
    scene.step(3)
    scene.sampler.end_watching()
    scene.step(2)
    assert scene.sampler.is_awake and len(scene.rates) == 5
    scene.sampler.end_watching()
    scene.step()
    assert not scene.sampler.is_awake


def test_seconds_that_were_slept_through_are_zeros(scene: Scene) -> None:
    scene.rate = 7
    scene.sampler.wake()
    scene.step(2)
    scene.rate = 0
    scene.step()
    scene.loop.now_s += 4.5
    scene.sampler.wake()
    scene.rate = 9
    scene.step()
    assert scene.rates == [7, 7, 0, 0, 0, 0, 0, 9]
    assert scene.times == [1001, 1002, 1003, 1004, 1005, 1006, 1007, 1008.5]


def test_five_minutes_are_kept_and_no_more(scene: Scene) -> None:
    scene.rate = 1
    scene.sampler.wake()
    scene.step(SAMPLES_MAX + 50)
    assert len(scene.sampler.samples) == SAMPLES_MAX
    assert scene.times[-1] - scene.times[0] == (SAMPLES_MAX - 1) * INTERVAL_S


def test_a_long_sleep_fills_the_window_and_no_more(scene: Scene) -> None:
    scene.rate = 1
    scene.sampler.wake()
    scene.step(5)
    scene.rate = 0
    scene.step()
    scene.loop.now_s += 1_000_000
    scene.sampler.wake()
    assert len(scene.rates) == SAMPLES_MAX and set(scene.rates) == {0}
    assert scene.loop.now_s - scene.times[-1] < INTERVAL_S
    assert scene.times == sorted(scene.times)


def test_a_clock_that_is_set_back_adds_nothing(scene: Scene) -> None:
    scene.sampler.wake()
    scene.step()
    scene.loop.now_s -= 3600
    scene.sampler.wake()
    assert len(scene.sampler.samples) == 1 and scene.sampler.is_awake


def test_it_waits_for_a_ledger_and_ends_with_it(scene: Scene) -> None:
    scene.is_open = False
    scene.sampler.wake()
    assert not scene.sampler.is_awake
    scene.is_open = True
    scene.sampler.begin_watching()
    scene.step()
    scene.is_open = False
    scene.step()
    assert not scene.sampler.is_awake and len(scene.sampler.samples) == 1


def test_listeners_are_told_each_sample_and_its_totals(scene: Scene) -> None:
    told: list[Any] = []
    scene.sampler.listeners.append(lambda *each: told.append(each))
    scene.sampler.wake()
    scene.rate = 4
    scene.step(2)
    assert [sample for sample, _, _ in told] == list(scene.sampler.samples)
    assert [(before.requests, after.requests) for _, before, after in told] == [(0, 4), (4, 8)]


def test_a_listener_that_fails_stops_nothing(scene: Scene) -> None:
    def fail(*_: object) -> None:
        raise ValueError("a bug")

    scene.sampler.listeners.append(fail)
    scene.sampler.begin_watching()
    with pytest.raises(ValueError, match="a bug"):
        scene.step()
    assert scene.sampler.is_awake


def test_closed_it_looks_no_more(scene: Scene) -> None:
    scene.sampler.begin_watching()
    scene.sampler.close()
    assert scene.loop.due == [] and not scene.sampler.is_awake
    scene.sampler.wake()
    assert not scene.sampler.is_awake
