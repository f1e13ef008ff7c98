"""The types of journal.pyx. The docstrings there are its reference."""

import os

from .frames import Seal, SegmentHeader
from .logged_time import ClockKeeper

SEGMENT_BYTES_MIN: int

class Journal:
    group_records_max: int
    group_text_max: int
    def close(self) -> None: ...

class FileJournal(Journal):
    def __init__(
        self,
        directory: str | os.PathLike[str],
        seal_fd: int,
        header: SegmentHeader,
        seal: Seal,
        segment_bytes: int,
        offset: int,
        previous_crc: int,
        synced_lsn: int,
        clock: ClockKeeper | None = None,
    ) -> None: ...
    @property
    def segment(self) -> int: ...
    @property
    def position(self) -> int: ...
    def close(self) -> None: ...
    def prepare_spare(self) -> bool: ...
    def stop_spares(self) -> None: ...
