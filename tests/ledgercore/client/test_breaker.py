"""The states of a breaker by a clock of the test's own, and against the rules written again."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ledgercore.client.breaker import CircuitBreaker, CircuitOpen, State

OPEN_S = 5.0


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def make_breaker(failures_max: int = 3, probes_max: int = 1) -> tuple[CircuitBreaker, Clock]:
    clock = Clock()
    return CircuitBreaker(failures_max, OPEN_S, probes_max, clock), clock


def call(breaker: CircuitBreaker, is_success: bool | None) -> None:
    breaker.end(breaker.begin(), is_success)


def open_circuit(breaker: CircuitBreaker, failures_max: int = 3) -> None:
    for _ in range(failures_max):
        call(breaker, False)
    assert breaker.state is State.OPEN


def test_opens_after_failures_in_a_row() -> None:
    breaker, _ = make_breaker()
    for is_success in (False, False, True, False, False, None):
        call(breaker, is_success)
        assert breaker.state is State.CLOSED
    call(breaker, False)
    assert breaker.state is State.OPEN


def test_open_refuses_at_once_and_says_how_long() -> None:
    breaker, clock = make_breaker()
    open_circuit(breaker)
    clock.now_s += 1.5
    with pytest.raises(CircuitOpen) as caught:
        breaker.begin()
    assert caught.value.retry_after_s == OPEN_S - 1.5


def test_probe_closes_it() -> None:
    breaker, clock = make_breaker()
    open_circuit(breaker)
    clock.now_s += OPEN_S
    assert breaker.state is State.HALF_OPEN
    ticket = breaker.begin()
    with pytest.raises(CircuitOpen):  # One probe is under way, and it is the only one.
        breaker.begin()
    breaker.end(ticket, True)
    assert breaker.state is State.CLOSED
    for _ in range(2):  # The count of failures has started anew.
        call(breaker, False)
    assert breaker.state is State.CLOSED


def test_probe_opens_it_again() -> None:
    breaker, clock = make_breaker()
    open_circuit(breaker)
    clock.now_s += OPEN_S
    call(breaker, False)
    assert breaker.state is State.OPEN
    clock.now_s += OPEN_S - 0.001
    with pytest.raises(CircuitOpen):
        breaker.begin()


def test_as_many_probes_must_succeed() -> None:
    breaker, clock = make_breaker(probes_max=2)
    open_circuit(breaker)
    clock.now_s += OPEN_S
    call(breaker, True)
    assert breaker.state is State.HALF_OPEN
    call(breaker, True)
    assert breaker.state is State.CLOSED


def test_probe_that_says_nothing_frees_its_place() -> None:
    breaker, clock = make_breaker()
    open_circuit(breaker)
    clock.now_s += OPEN_S
    call(breaker, None)
    assert breaker.state is State.HALF_OPEN
    call(breaker, True)
    assert breaker.state is State.CLOSED


@pytest.mark.parametrize("is_success", [True, False])
def test_call_from_before_says_nothing(is_success: bool) -> None:
    breaker, clock = make_breaker()
    late = breaker.begin()
    open_circuit(breaker)
    clock.now_s += OPEN_S
    probe = breaker.begin()
    breaker.end(late, is_success)
    assert breaker.state is State.HALF_OPEN
    breaker.end(probe, True)
    assert breaker.state is State.CLOSED


def test_many_threads_make_one_probe() -> None:
    breaker, clock = make_breaker()
    open_circuit(breaker)
    clock.now_s += OPEN_S

    def ask(_: int) -> bool:
        try:
            breaker.begin()
        except CircuitOpen:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(200))) == 1


@pytest.mark.parametrize("settings", [{"failures_max": 0}, {"probes_max": 0}])
def test_settings_that_make_no_sense(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        CircuitBreaker(**settings)


class Machine(RuleBasedStateMachine):
    """Calls that begin, end and overlap, in any order, beside the rules written once more."""

    FAILURES_MAX, PROBES_MAX = 3, 2

    def __init__(self) -> None:
        super().__init__()
        self.breaker, self.clock = make_breaker(self.FAILURES_MAX, self.PROBES_MAX)
        self.state, self.failures, self.successes, self.opened_s = State.CLOSED, 0, 0, 0.0
        self.present: list[int] = []
        self.past: list[int] = []

    def change(self, state: State) -> None:
        self.past += self.present
        self.state, self.failures, self.successes, self.present = state, 0, 0, []
        self.opened_s = self.clock.now_s

    @rule()
    def begin(self) -> None:
        if self.state is State.OPEN and self.clock.now_s >= self.opened_s + OPEN_S:
            self.change(State.HALF_OPEN)
        is_full = self.state is State.HALF_OPEN and len(self.present) >= self.PROBES_MAX
        if self.state is State.OPEN or is_full:
            with pytest.raises(CircuitOpen):
                self.breaker.begin()
        else:
            self.present.append(self.breaker.begin())

    @precondition(lambda self: self.present)
    @rule(is_success=st.sampled_from([True, False, None]))
    def end(self, is_success: bool | None) -> None:
        self.breaker.end(self.present.pop(), is_success)
        if is_success is False:
            self.failures += 1
            if self.state is State.HALF_OPEN or self.failures >= self.FAILURES_MAX:
                self.change(State.OPEN)
        elif is_success:
            self.failures = 0
            self.successes += 1
            if self.state is State.HALF_OPEN and self.successes >= self.PROBES_MAX:
                self.change(State.CLOSED)

    @precondition(lambda self: self.past)
    @rule(is_success=st.booleans())
    def end_late(self, is_success: bool) -> None:
        self.breaker.end(self.past.pop(), is_success)

    @rule(seconds=st.sampled_from([0.5, 1.0, OPEN_S]))
    def pass_time(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @invariant()
    def is_in_the_same_state(self) -> None:
        is_over = self.state is State.OPEN and self.clock.now_s >= self.opened_s + OPEN_S
        assert self.breaker.state is (State.HALF_OPEN if is_over else self.state)


TestMachine = Machine.TestCase
