"""The scaling policy: when it asks for a worker more or less, and that it does not flap."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore.service.scaling.workers_rule import (
    CALM_S,
    COOLDOWN_S,
    LOOKS_TO_RISE,
    UTILISATION_BUSY,
    UTILISATION_HIGH,
    UTILISATION_LOW,
    ScalingPolicy,
)

BATCH_MAX, QUEUE_SIZE = 100, 10_000
DEEP = 2 * BATCH_MAX + 1
LOOKS_A_SECOND = 10


def make_policy(workers_min: int = 1, workers_max: int = 4) -> ScalingPolicy:
    return ScalingPolicy(workers_min, workers_max, batch_max=BATCH_MAX, queue_size=QUEUE_SIZE)


class Segment:
    """A segment that is looked at ten times a second, with the workers that the policy asks for."""

    def __init__(self, policy: ScalingPolicy, workers: int) -> None:
        self.policy = policy
        self.workers = self.workers_at_first = workers
        self.looks = 0
        self.actions: list[tuple[float, int, str]] = []
        """When, to how many, and why."""

    def look(self, depth: int, utilisation: float) -> None:
        self.looks += 1
        now_s = self.looks / LOOKS_A_SECOND
        count, reason = self.policy.decide(now_s, depth, utilisation, self.workers)
        assert bool(reason) == (count != self.workers) and abs(count - self.workers) <= 1
        assert self.policy.workers_min <= count <= self.policy.workers_max
        if count != self.workers:
            self.actions.append((now_s, count, reason))
            self.workers = count

    def look_for(self, seconds: float, depth: int, utilisation: float) -> None:
        for _ in range(round(seconds * LOOKS_A_SECOND)):
            self.look(depth, utilisation)

    @property
    def turns(self) -> int:
        """How often the count has changed its direction."""
        counts = [self.workers_at_first, *(count for _, count, _ in self.actions)]
        rises = [later > earlier for earlier, later in pairwise(counts)]
        return sum(earlier != later for earlier, later in pairwise(rises))


@pytest.mark.parametrize(
    ("depth", "utilisation", "rises"),
    [
        (DEEP, UTILISATION_BUSY, True),
        (DEEP - 1, UTILISATION_BUSY, False),
        (DEEP, UTILISATION_BUSY - 0.01, False),  # A stall, or the disk: no worker helps.
        (QUEUE_SIZE, 0.0, False),
        (0, UTILISATION_HIGH + 0.01, True),
        (0, UTILISATION_HIGH, False),
        (0, UTILISATION_LOW, False),
    ],
)
def test_what_asks_for_a_worker_more(depth: int, utilisation: float, rises: bool) -> None:
    segment = Segment(make_policy(), 1)
    for _ in range(LOOKS_TO_RISE - 1):
        segment.look(depth, utilisation)
        assert segment.workers == 1
    segment.look(depth, utilisation)
    assert segment.workers == (2 if rises else 1)


def test_the_reason_says_what_was_seen() -> None:
    segment = Segment(make_policy(), 1)
    segment.look_for(1, 2000, 0.974)
    assert segment.actions[0][1:] == (2, "queue depth 2000 of 10000, utilisation 0.97")
    segment.look_for(10, 3, 0.0)
    assert segment.actions[-1][2].startswith("queue depth 3 of 10000, utilisation 0.00, calm for 5")


def test_a_burst_that_is_over_at_the_next_look_starts_nobody() -> None:
    segment = Segment(make_policy(), 1)
    for _ in range(100):
        segment.look(DEEP, 1.0)
        segment.look(DEEP, 0.1)
    assert segment.actions == []


def test_it_rises_by_one_and_rests_in_between() -> None:
    segment = Segment(make_policy(), 1)
    segment.look_for(10, QUEUE_SIZE, 1.0)
    assert [count for _, count, _ in segment.actions] == [2, 3, 4]
    times = [time for time, _, _ in segment.actions]
    assert times[0] == LOOKS_TO_RISE / LOOKS_A_SECOND
    looks = [round((b - a) * LOOKS_A_SECOND) for a, b in pairwise(times)]
    assert set(looks) <= {
        round(COOLDOWN_S * LOOKS_A_SECOND),
        round(COOLDOWN_S * LOOKS_A_SECOND) + 1,
    }


def test_it_falls_one_by_one_once_it_is_calm() -> None:
    segment = Segment(make_policy(), 4)
    segment.look_for(CALM_S, 0, 0.0)
    assert segment.actions == []
    segment.look_for(4 * CALM_S, 0, 0.0)
    assert [count for _, count, _ in segment.actions] == [3, 2, 1]
    assert all(b - a > CALM_S for (a, _, _), (b, _, _) in pairwise(segment.actions))


@pytest.mark.parametrize(("depth", "utilisation"), [(BATCH_MAX + 1, 0.0), (0, UTILISATION_LOW)])
def test_a_moment_of_work_begins_the_calm_anew(depth: int, utilisation: float) -> None:
    segment = Segment(make_policy(), 2)
    for _ in range(10):
        segment.look_for(CALM_S - 0.1, 0, 0.0)
        segment.look(depth, utilisation)
    assert segment.actions == []


@pytest.mark.parametrize(("workers", "count"), [(1, 2), (2, 2), (3, 3), (7, 3)])
def test_what_is_outside_the_bounds_comes_back_at_once(workers: int, count: int) -> None:
    found, reason = make_policy(2, 3).decide(0.0, 0, 0.5, workers)
    assert found == count
    assert reason == ("" if count == workers else "2 to 3 are allowed")


def test_bounds_that_were_changed_hold_from_then_on() -> None:
    segment = Segment(make_policy(), 1)
    segment.look_for(5, QUEUE_SIZE, 1.0)
    segment.policy.workers_max = 3
    segment.look(QUEUE_SIZE, 1.0)
    assert segment.actions[-1][1:] == (3, "1 to 3 are allowed")
    segment.look_for(5, QUEUE_SIZE, 1.0)
    assert segment.workers == 3


def test_a_queue_hardly_larger_than_a_batch_can_be_deep() -> None:
    policy = ScalingPolicy(1, 2, batch_max=100, queue_size=100)
    assert [policy.decide(now, 51, 0.6, 1)[0] for now in (0.0, 0.1)] == [1, 2]


def test_scripted_load_up_and_down() -> None:
    segment = Segment(make_policy(), 1)
    segment.look_for(10, 0, 0.1)  # A quiet morning,
    assert segment.workers == 1
    segment.look_for(2, 5000, 1.0)  # a rush that two more can just bear,
    assert segment.workers == 4
    segment.look_for(20, 50, 0.5)  # the rest of the day,
    assert segment.workers == 4
    segment.look_for(16, 0, 0.0)  # and the night.
    assert segment.workers == 1 and segment.turns == 1


class Fluid:
    """A queue into which work flows steadily: `offered` is in workers' seconds a second."""

    def __init__(self, offered: float, backlog: float) -> None:
        self.offered = offered
        self.backlog = backlog

    def pass_time(self, seconds: float, workers: int) -> float:
        """Let workers work; returns their utilisation."""
        wanted = self.backlog + self.offered * seconds
        done = min(wanted, workers * seconds)
        self.backlog = wanted - done
        return done / (workers * seconds)


@given(
    offered=st.floats(0, 8),
    backlog=st.floats(0, 20),
    speed=st.integers(1_000, 1_000_000),
    workers=st.integers(1, 6),
    bounds=st.tuples(st.integers(1, 6), st.integers(1, 6)).map(sorted),
)
def test_a_constant_load_settles(
    offered: float, backlog: float, speed: int, workers: int, bounds: list[int]
) -> None:
    low, high = bounds
    segment = Segment(make_policy(low, high), min(max(workers, low), high))
    load = Fluid(offered, backlog)
    for _ in range(180 * LOOKS_A_SECOND):
        utilisation = load.pass_time(1 / LOOKS_A_SECOND, segment.workers)
        segment.look(min(round(load.backlog * speed), QUEUE_SIZE), utilisation)
    assert segment.turns <= 1
    if load.backlog == 0:
        settled = [time for time, _, _ in segment.actions if time > 150]
        assert settled == []
        assert segment.workers == high or offered / segment.workers <= UTILISATION_HIGH
        assert segment.workers == low or offered / segment.workers >= UTILISATION_LOW / 2
    else:
        assert segment.workers == high


@given(
    share=st.floats(0.1, 1.2),
    workers=st.integers(1, 6),
    deep_looks=st.integers(0, 30),
    shallow_looks=st.integers(40, 80),
)
def test_no_depth_makes_it_flap(
    share: float, workers: int, deep_looks: int, shallow_looks: int
) -> None:
    """The same work all the time, in a queue that is deep and empty for seconds by turns."""
    segment = Segment(make_policy(1, 6), workers)
    offered = share * workers
    for _ in range(10):
        for depth, looks in ((DEEP, deep_looks), (0, shallow_looks)):
            for _ in range(looks):
                segment.look(depth, min(offered / segment.workers, 1.0))
    assert segment.turns <= 1


def test_the_thresholds_leave_room_for_one_worker() -> None:
    assert 2 * UTILISATION_LOW <= UTILISATION_BUSY < UTILISATION_HIGH
