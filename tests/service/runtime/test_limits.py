"""The limits in force: named once, read and changed together."""

from types import SimpleNamespace
from typing import Any

import pytest

from ledgercore.service.admission.limiter import Limiter
from ledgercore.service.runtime.limits import LIMITS, change_limits, describe_limits
from ledgercore.service.settings import RANGES
from ledgercore.service.wire.problems import Problem


class Regulator:
    """What moves the limit in flight, as far as its bounds are read and changed."""

    def __init__(self) -> None:
        self.bounds = {"target_p99_ms": 0, "inflight_min": 1, "inflight_max": 100}

    def settings(self) -> dict[str, int]:
        return self.bounds

    def configure(self, **changes: int | None) -> None:
        wanted = self.bounds | {name: value for name, value in changes.items() if value is not None}
        if wanted["inflight_min"] > wanted["inflight_max"]:
            raise ValueError("inflight_min is above inflight_max")
        self.bounds = wanted


@pytest.fixture
def lifecycle() -> Any:
    """What holds the limits of a server."""
    admission = SimpleNamespace(limiter=Limiter(), deadline_ns=0)
    return SimpleNamespace(admission=admission, batcher=SimpleNamespace(regulator=Regulator()))


def test_limits_are_settings() -> None:
    assert set(LIMITS) <= RANGES.keys() and len(set(LIMITS)) == len(LIMITS)


def test_each_limit_is_told_and_changed(lifecycle: Any) -> None:
    assert sorted(describe_limits(lifecycle)) == sorted(LIMITS)
    wanted = {name: 10 + number for number, name in enumerate(LIMITS)}
    change_limits(lifecycle, wanted)
    assert describe_limits(lifecycle) == wanted
    assert lifecycle.admission.deadline_ns == wanted["request_deadline_ms"] * 1_000_000


def test_bounds_that_cross_change_nothing(lifecycle: Any) -> None:
    before = describe_limits(lifecycle)
    with pytest.raises(Problem, match="malformed"):
        change_limits(lifecycle, {"client_rate": 7, "inflight_min": 9, "inflight_max": 8})
    assert describe_limits(lifecycle) == before
