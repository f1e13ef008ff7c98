"""Which requests are traced: a part of them, those whose caller asks, and those that went wrong.

This module owns the choice, and the limit on it. It never makes an id or a span, and it is for one
thread. Between two requests that are taken for the ratio it only counts down. How far is drawn from
the geometric distribution, so that each request is taken with the same chance, whatever pattern
they come in. Source: L. Devroye, Non-Uniform Random Variate Generation, 1986, chapter X.2.
"""

import math
import random
import time
from collections.abc import Callable

NEVER = 2**62
"""A countdown that no server lives to see the end of."""
SERVER_ERROR_MIN = 500


class TraceSampler:
    """Takes `ratio` of the requests, and never more than `per_second_max` a second.

    What is taken for whatever reason is paid from one token bucket, which holds a second's worth:
    in any time t at most per_second_max * (t + 1 s) are taken. A `slow_ns` of 0 makes no request a
    slow one. The same seed, requests and times give the same choice.
    """

    def __init__(
        self,
        ratio: float,
        per_second_max: int,
        slow_ns: int = 0,
        seed: int | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if not 0 <= ratio <= 1:
            raise ValueError("ratio: it is between 0 and 1")
        if per_second_max < 0 or slow_ns < 0:
            raise ValueError("per_second_max, slow_ns: they are not negative")
        self.taken = 0
        self.limited = 0
        """How many would have been taken but for the limit. One that is slow may count twice."""
        self._ratio = ratio
        self._slow_ns = slow_ns
        self._random = random.Random(seed)
        self._left = self._draw()
        self._clock_ns = clock_ns
        # Tokens are told in nanoseconds times per_second_max, of which one token is a second's:
        # whole numbers, so that nothing is rounded.
        self._per_second_max = per_second_max
        self._level = self._level_max = per_second_max * 1_000_000_000
        self._filled_ns = clock_ns()

    def begin(self, is_parent_sampled: bool | None = None) -> bool:
        """Tell whether to trace a request that has come; None where it brought no `traceparent`.

        The caller's choice goes before ours either way, so that a trace is whole or not at all.
        """
        if is_parent_sampled is None:
            self._left -= 1
            if self._left:
                return False
            self._left = self._draw()
        elif not is_parent_sampled:
            return False
        return self._pay()

    def end(self, latency_ns: int, http_status: int) -> bool:
        """Tell whether to trace, after all, an answered request that `begin` did not take."""
        is_slow = 0 < self._slow_ns <= latency_ns
        return (is_slow or http_status >= SERVER_ERROR_MIN) and self._pay()

    def _draw(self) -> int:
        """Return which one of the requests to come is the next to be taken; 1 is the first."""
        if self._ratio in (0, 1):
            return 1 if self._ratio else NEVER
        chance = 1.0 - self._random.random()  # above 0, and 1 may be
        return 1 + int(min(math.log(chance) / math.log1p(-self._ratio), NEVER))

    def _pay(self) -> bool:
        now_ns = self._clock_ns()
        gained = (now_ns - self._filled_ns) * self._per_second_max
        self._level = min(self._level_max, self._level + gained)
        self._filled_ns = now_ns
        if self._level < 1_000_000_000:
            self.limited += 1
            return False
        self._level -= 1_000_000_000
        self.taken += 1
        return True
