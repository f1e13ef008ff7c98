"""The types of frames.pyx. The docstrings there are its reference."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from typing_extensions import Buffer

from .replay import Replay

SEGMENT_HEADER_BYTES: int
SEAL_BYTES: int
FRAME_ALIGNMENT: int
KIND_JOURNAL: int
KIND_SNAPSHOT: int
FRAME_RECORDS_MAX: int

@dataclass(frozen=True, slots=True)
class SegmentHeader:
    kind: int
    salt: int
    number: int
    first_lsn: int
    previous_crc: int
    ledger_id: bytes
    hash_key: bytes
    created_ns: int
    key_ttl_ns: int

@dataclass(frozen=True, slots=True)
class Seal:
    synced_lsn: int
    segment: int
    ledger_id: bytes
    frame_crc: int
    clean: bool
    sequence: int

@dataclass(slots=True)
class Scan:
    offset: int
    previous_crc: int
    next_lsn: int
    frames: int = 0
    end: str = "end"
    sealed_crc: int | None = None
    last_offset: int = 0
    snapshot_crc: int | None = None

def checksum(data: Buffer | npt.NDArray[Any], portable: bool = False) -> int: ...
def read_segment_header(file: Buffer) -> SegmentHeader | None: ...
def read_seal(file: Buffer) -> Seal | None: ...
def is_newer_segment(file: Buffer) -> bool: ...
def is_newer_seal(file: Buffer) -> bool: ...
def scan_frames(
    file: Buffer,
    salt: int,
    offset: int,
    previous_crc: int,
    next_lsn: int,
    replay: Replay | None = None,
    sealed_lsn: int = 0,
    stop_lsn: int = 0,
    snapshot_lsn: int = 0,
) -> Scan: ...
def find_later_synced(file: Buffer, offset: int, salt: int, lsn: int) -> int | None: ...
def find_end(file: Buffer, offset: int) -> int: ...
def read_frame(file: Buffer, offset: int) -> tuple[bytes, bytes, int]: ...
def encode_segment_header(header: SegmentHeader) -> bytes: ...
def encode_frame(
    records: Buffer | npt.NDArray[np.uint8],
    text: Buffer,
    first_lsn: int,
    salt: int,
    previous_crc: int,
    synced_lsn: int,
) -> tuple[bytes, int]: ...
def encode_seal(seal: Seal) -> bytes: ...
