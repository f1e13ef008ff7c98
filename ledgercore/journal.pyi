"""The types of journal.pyx, as Python sees it."""

import os

from .frames import Seal, SegmentHeader
from .logged_time import ClockKeeper

SEGMENT_BYTES_MIN: int

class Journal:
    """What the pipeline needs of a store. This one keeps nothing: the others derive from it."""

    group_records_max: int
    group_text_max: int
    def close(self) -> None: ...

class FileJournal(Journal):
    """The segments from one tail on. Its file descriptors, the seal's too, are its own."""

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
