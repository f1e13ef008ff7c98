"""The rule for how many workers a segment has, by its queue and by how busy they are.

It never reads a clock, never starts a thread, and knows no engine: who asks it tells what time it
is and what was seen, and does what it says.

It does not flap, because the thresholds leave room for what a worker more or less changes. One that
is added at a utilisation of UTILISATION_BUSY or more leaves at least half of it, which is not below
UTILISATION_LOW; and where one of two or more goes below UTILISATION_LOW, the others have less than
twice that to do, which is not above UTILISATION_BUSY. So under a steady load, whatever the depth of
the queue does, the count turns round once at most.
"""

from ledgercore import SegmentLoad

UTILISATION_HIGH = 0.85
"""Above this a batch waits for a worker several times as long as it is worked on, by any
queueing formula, so another worker is due before the queue grows."""
UTILISATION_BUSY = 0.6
"""Below this a deep queue is not for want of workers: it is a burst, a stall, or a slow disk."""
UTILISATION_LOW = 0.3
"""Below this a worker fewer still leaves the others at less than UTILISATION_BUSY."""
BATCHES_HIGH = 2
"""How many batches make a queue deep: one is at work, one is next, and what is beyond waits."""
LOOKS_TO_RISE = 2
"""One look alone may meet a burst that is over before a thread has started."""
COOLDOWN_S = 0.5
"""How long nothing follows an action: a worker that is new has to show what it is good for."""
CALM_S = 5.0
"""How long a segment must be calm before a worker goes. An idle one costs nothing but its memory,
and load that has just paused often comes back."""


def find_utilisation(before: SegmentLoad, after: SegmentLoad, elapsed_ns: float) -> float:
    """Return for how much of the time between two readings the workers of a segment were at work.

    Of those that there were at the beginning. A worker that was retired since may have been at work
    on its last batch, and one that was added too: more than all of them it is not.
    """
    available_ns = max(elapsed_ns, 1) * max(before.workers, 1)
    return min((after.busy_ns - before.busy_ns) / available_ns, 1.0)


class ScalingPolicy:
    """The judgement on one segment. `workers_min` and `workers_max` may be changed at any time."""

    def __init__(
        self, workers_min: int, workers_max: int, *, batch_max: int, queue_size: int
    ) -> None:
        self.workers_min = workers_min
        self.workers_max = workers_max
        self._depth_max = queue_size
        # A queue that holds hardly more than a batch is deep when it is half full.
        self._depth_high = min(BATCHES_HIGH * batch_max, queue_size // 2)
        self._depth_low = self._depth_high // 2
        self._pressed_looks = 0
        self._calm_since_s: float | None = None
        self._rest_until_s = float("-inf")

    def decide(self, now_s: float, depth: int, utilisation: float, workers: int) -> tuple[int, str]:
        """Return how many workers there should be now, and why, where that is another number.

        `depth` counts the transfers that wait or are being applied, `utilisation` is the share of
        the time since the last look in which a worker was at work, 0 to 1, on average.
        """
        bounded = min(max(workers, self.workers_min), self.workers_max)
        if bounded != workers:
            self._begin_anew(now_s)
            return bounded, f"{self.workers_min} to {self.workers_max} are allowed"
        self._note(now_s, depth, utilisation)
        seen = f"queue depth {depth} of {self._depth_max}, utilisation {utilisation:.2f}"
        if now_s < self._rest_until_s:
            return workers, ""
        if self._pressed_looks >= LOOKS_TO_RISE and workers < self.workers_max:
            self._begin_anew(now_s)
            return workers + 1, seen
        calm_s = 0.0 if self._calm_since_s is None else now_s - self._calm_since_s
        if calm_s >= CALM_S and workers > self.workers_min:
            self._begin_anew(now_s)
            return workers - 1, f"{seen}, calm for {calm_s:.1f} s"
        return workers, ""

    def _note(self, now_s: float, depth: int, utilisation: float) -> None:
        is_deep = depth > self._depth_high and utilisation >= UTILISATION_BUSY
        is_pressed = is_deep or utilisation > UTILISATION_HIGH
        self._pressed_looks = self._pressed_looks + 1 if is_pressed else 0
        if depth > self._depth_low or utilisation >= UTILISATION_LOW:
            self._calm_since_s = None
        elif self._calm_since_s is None:
            self._calm_since_s = now_s

    def _begin_anew(self, now_s: float) -> None:
        """Forget what was seen with another number of workers."""
        self._pressed_looks = 0
        self._calm_since_s = None
        self._rest_until_s = now_s + COOLDOWN_S
