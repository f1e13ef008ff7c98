"""What is known of a load once it is over, whichever generator has made it.

This module owns that form, and the error for a load that was not answered with success throughout,
which is no figure. It starts nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ..load import CPU_SHARE_MAX


class LoadFailed(Exception):
    """A load was not what it was meant to be; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Load:
    """A load that is over, all of it answered with success.

    `cpu_share` is how much of its core the generator had.
    """

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    cpu_share: float

    @property
    def rate(self) -> float:
        """The requests a second."""
        return self.requests / self.seconds

    @property
    def is_bottleneck(self) -> bool:
        """Whether the generator may have been what limited the rate."""
        return self.cpu_share > CPU_SHARE_MAX


Generator = Callable[[str, int, float], Load]
"""Puts load on a URL, over so many connections, for so many seconds. Raises LoadFailed."""
