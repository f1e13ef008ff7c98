"""The types of pipeline.pyx. The docstrings there are its reference."""

from .journal import Journal
from .ledger import Ledger

class Pipeline:
    segments: int
    event_fd: int
    inline_max: int

    def __init__(
        self,
        ledger: Ledger,
        journal: Journal | None,
        segments: int,
        queue_size: int,
        batch_max: int,
        is_measured: bool = True,
    ) -> None: ...
    def run_worker(self, segment: int) -> None: ...
    def run_journal(self) -> None: ...
