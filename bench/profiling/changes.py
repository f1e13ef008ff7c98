"""What changed most from one profile to another: microseconds a transfer, place by place.

Shares alone mislead here: in the faster profile everything that is left has a larger one. So a
share is first turned into time, by what a transfer took in a run without a profiler.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from .line_profile import Share


@dataclass(frozen=True, slots=True)
class Change:
    """The time that a place took for one transfer before and after, in microseconds."""

    place: str
    before_us: float
    after_us: float

    @property
    def difference_us(self) -> float:
        """How much was added; negative where it was saved."""
        return self.after_us - self.before_us


def find_changes(
    before: Iterable[Share],
    after: Iterable[Share],
    *,
    before_us: float,
    after_us: float,
    least_us: float = 0.005,
) -> list[Change]:
    """Return the places whose time changed by `least_us` or more, the largest change first.

    `before_us` and `after_us` are what a whole transfer took.
    """
    times = [
        {share.place: share.total / 100 * whole_us for share in shares}
        for shares, whole_us in ((before, before_us), (after, after_us))
    ]
    old, new = times
    changes = [Change(place, old.get(place, 0.0), new.get(place, 0.0)) for place in old | new]
    kept = [change for change in changes if abs(change.difference_us) >= least_us]
    return sorted(kept, key=lambda change: (-abs(change.difference_us), change.place))
