"""A circuit breaker: after failures in a row, no calls are made for a while.

This module owns the three states and the changes between them. It never calls anything itself and
never decides what a failure is: whoever calls asks before, and tells afterwards. Source: M. Nygard,
Release It!, 2nd edition, chapter 5.
"""

import threading
import time
from collections.abc import Callable
from enum import Enum


class State(Enum):
    """The state of a breaker: closed, open, or half open for a few probes."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


class CircuitOpen(Exception):
    """The call is not allowed now. A probe may be after `retry_after_s` seconds; 0: any moment."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"the circuit is open, for another {retry_after_s:.3f} s")
        self.retry_after_s = retry_after_s


class CircuitBreaker:
    """Opens after `failures_max` failures in a row, and closes when `probes_max` probes succeed.

    While it is open, for `open_s` seconds, every call is refused at once. Then it is half-open:
    `probes_max` calls may be under way as probes. When as many have succeeded it closes; one that
    fails opens it again. A success in between starts the count of failures anew, so it opens for
    who is down, and not for who fails now and then. Safe to share between threads:

        ticket = breaker.begin()  # raises CircuitOpen
        is_success = None
        try:
            is_success = call()
        finally:
            breaker.end(ticket, is_success)
    """

    def __init__(
        self,
        failures_max: int = 10,
        open_s: float = 1.0,
        probes_max: int = 1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if failures_max < 1 or probes_max < 1:
            raise ValueError("failures_max, probes_max: they are at least one")
        self._failures_max = failures_max
        self._open_s = open_s
        self._probes_max = probes_max
        self._clock = clock
        self._lock = threading.Lock()
        self._state = State.CLOSED
        self._era = 0
        self._failures = 0
        self._opened_at_s = 0.0
        self._probes = 0
        self._probe_successes = 0

    @property
    def state(self) -> State:
        """The state that the next call meets."""
        with self._lock:
            is_over = self._state is State.OPEN and self._left_s() <= 0
            return State.HALF_OPEN if is_over else self._state

    def begin(self) -> int:
        """Ask whether a call may be made, and return the ticket to hand to `end`.

        Raises CircuitOpen.
        """
        with self._lock:
            if self._state is State.OPEN:
                if (left_s := self._left_s()) > 0:
                    raise CircuitOpen(left_s)
                self._enter(State.HALF_OPEN)
            if self._state is State.HALF_OPEN:
                if self._probes >= self._probes_max:
                    raise CircuitOpen(0.0)
                self._probes += 1
            return self._era

    def end(self, ticket: int, is_success: bool | None) -> None:
        """Tell what became of a call; None where it says nothing about the other side."""
        with self._lock:
            # A call that began before the last change of state knows nothing of the present.
            if ticket != self._era:
                return
            if self._state is State.HALF_OPEN:
                self._end_probe(is_success)
            elif is_success is not None:
                self._failures = 0 if is_success else self._failures + 1
                if self._failures >= self._failures_max:
                    self._enter(State.OPEN)

    def _end_probe(self, is_success: bool | None) -> None:
        self._probes -= 1
        if is_success is False:
            self._enter(State.OPEN)
        elif is_success:
            self._probe_successes += 1
            if self._probe_successes >= self._probes_max:
                self._enter(State.CLOSED)

    def _enter(self, state: State) -> None:
        self._state = state
        self._era += 1
        self._failures = self._probes = self._probe_successes = 0
        if state is State.OPEN:
            self._opened_at_s = self._clock()

    def _left_s(self) -> float:
        return self._opened_at_s + self._open_s - self._clock()
