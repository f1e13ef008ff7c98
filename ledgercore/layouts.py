"""The structs of C that Python reads and writes: where each field is, and which kinds there are.

This module owns what Python knows of src/record.h and src/keys.h; every field stands here once, by
its name in C. tests/ledgercore/test_layouts.py asks the compiler for each, and fails where one side
has a field or a kind that the other lacks.
"""

import struct
from enum import IntEnum
from typing import Annotated, NamedTuple, get_type_hints

import numpy as np

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
U32 = Annotated[int, "I"]
U64 = Annotated[int, "Q"]
I64 = Annotated[int, "q"]
Fingerprint = Annotated[bytes, "16s"]

RECORD_BYTES = 64
FLAG_FROZEN = 1


class RecordKind(IntEnum):
    """What a record tells (enum lc_kind). The last three are in snapshots only."""

    TRANSFER = 1
    ACCOUNT_OPENED = 2
    ACCOUNT_CHANGED = 3
    ACCOUNT_STATE = 16
    KEY_STATE = 17
    SNAPSHOT_END = 18

    @property
    def label(self) -> str:
        """The name of a kind as it is told."""
        return self.name.lower().replace("_", "-")


class TransferRecord(NamedTuple):
    """A transfer's record. The first of its text names the source, the second the target."""

    lsn: U64
    kind: U8
    status: U8
    flags: U8
    reserved: U8
    client: U32
    key: Fingerprint
    source: U32
    target: U32
    amount: I64
    time_ns: I64
    text_offset: U32
    text_length: U16
    first_length: U8
    second_length: U8


class AccountRecord(NamedTuple):
    """An account's record. The first of its text is the account's id, the second its asset."""

    lsn: U64
    kind: U8
    status: U8
    flags: U8
    reserved: U8
    client: U32
    floor: I64
    ceiling: I64
    slot: U32
    asset: U32
    balance: I64
    time_ns: I64
    text_offset: U32
    text_length: U16
    first_length: U8
    second_length: U8


def make_layout(record: type) -> struct.Struct:
    """Return what packs and unpacks the fields of a record."""
    hints = get_type_hints(record, include_extras=True)
    return struct.Struct("<" + "".join(hint.__metadata__[0] for hint in hints.values()))


TRANSFER_LAYOUT = make_layout(TransferRecord)
ACCOUNT_LAYOUT = make_layout(AccountRecord)

# -- rows of arrays ------------------------------------------------------------------------------

RECORD = np.dtype((np.void, RECORD_BYTES))
"""A record of any kind, as it is."""

ACCOUNT_ROW = np.dtype(
    [
        ("floor", "<i8"),
        ("ceiling", "<i8"),
        ("id_hash", "<u8"),
        ("id_offset", "<u4"),
        ("asset", "<u2"),
        ("id_length", "u1"),
        ("flags", "u1"),
    ]
)
"""An account in memory (lc_account)."""

KEY_ENTRY = np.dtype([("key", "V16"), ("lsn_status", "<u8"), ("time_ns", "<i8"), ("digest", "<u8")])
"""An entry of the key table (lc_key_entry)."""

TRANSFER = np.dtype([("key", "V16"), ("from", "<u4"), ("to", "<u4"), ("amount", "<i8")])
"""One row of a batch of transfers, 32 bytes: key fingerprint, account slots, minor units."""

OUTCOME = np.dtype(
    {
        "names": ["id", "time_ns", "status", "replayed"],
        "formats": ["<u8", "<i8", "u1", "u1"],
        "offsets": [0, 8, 16, 17],
        "itemsize": 24,
    }
)
"""One row of the answer to a batch, 24 bytes, of which the last six are the engine's own.

`id` is 0 where nothing was stored.
"""
