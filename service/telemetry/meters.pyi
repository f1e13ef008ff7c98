"""The types of meters.pyx. The docstrings there are its reference."""

from typing import Any

from ledgercore import Histogram

TRANSFER: str

class Meters:
    """The counts of one server, and its traces."""

    is_on: bool
    slow_ns: int
    is_tracing: bool
    next_look_ns: int
    observer: Any
    def __init__(
        self, is_on: bool = True, slow_ms: int = 0, samples_per_million: int = 0
    ) -> None: ...
    def sample(self, samples_per_million: int) -> None: ...
    def begin_trace(self, traceparent: bytes = b"") -> tuple[int, int, int, int]: ...
    def interests(self, now_ns: int, elapsed_ns: int, flags: int) -> bool: ...
    def note(self, route: str, http_status: int, outcome: str, elapsed_ns: int) -> None: ...
    def read_answers(self) -> dict[tuple[str, int, str], int]: ...
    def read_latencies(self) -> dict[str, Histogram]: ...
