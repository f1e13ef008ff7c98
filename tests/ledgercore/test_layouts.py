"""The mirror of C's structs and kinds: every field is where C has it, and neither side has more."""

import struct
from typing import get_type_hints

import numpy as np
import pytest

from ledgercore import layouts
from ledgercore.history import LENGTH_AT
from ledgercore.layouts import (
    ACCOUNT_LAYOUT,
    TRANSFER_LAYOUT,
    AccountRecord,
    RecordKind,
    TransferRecord,
)
from tests.support.headers import Field, ask_compiler, read_enum, read_struct

NUMPY_TYPES = {"B": "|u1", "H": "<u2", "I": "<u4", "Q": "<u8", "q": "<i8", "16s": "|V16"}


def fields_of(layout: np.dtype[np.void]) -> list[Field]:
    assert layout.names is not None and layout.fields is not None
    return [
        Field(name, layout.fields[name][1], layout.fields[name][0].str) for name in layout.names
    ]


def fields_of_record(record: type) -> list[Field]:
    """The fields of a record, each behind the one before it."""
    codes = {
        name: hint.__metadata__[0]
        for name, hint in get_type_hints(record, include_extras=True).items()
    }
    fields, before = [], "<"
    for name, code in codes.items():
        fields.append(Field(name, struct.calcsize(before), NUMPY_TYPES[code]))
        before += code
    return fields


def test_python_and_c_have_the_same_kinds() -> None:
    assert read_enum("record.h", "lc_kind") == {kind.name: int(kind) for kind in RecordKind}


def test_kinds_are_told_by_their_names() -> None:
    assert RecordKind.ACCOUNT_OPENED.label == "account-opened"


def test_flags_are_those_of_c() -> None:
    assert ask_compiler(["record.h"], ["LC_FROZEN"]) == [layouts.FLAG_FROZEN]


def test_a_frame_has_its_length_where_history_looks_for_it() -> None:
    questions = ["offsetof(lc_frame, length)", "sizeof(((lc_frame *)0)->length)"]
    assert ask_compiler(["frame.h"], questions) == [
        LENGTH_AT.start,
        LENGTH_AT.stop - LENGTH_AT.start,
    ]


def test_a_record_is_laid_out_as_in_c() -> None:
    in_c, size = read_struct("record.h", "lc_record")
    in_python = {*fields_of_record(TransferRecord), *fields_of_record(AccountRecord)}
    # What the key of a payload is made of, only snapshots hold, and only C reads.
    assert {*in_c} - in_python == {Field("digest", 32, "<u8")} and in_python < {*in_c}
    assert size == layouts.RECORD_BYTES == TRANSFER_LAYOUT.size == ACCOUNT_LAYOUT.size
    assert layouts.RECORD.itemsize == size


@pytest.mark.parametrize(
    ("header", "name", "layout", "renamed", "hidden"),
    [
        ("record.h", "lc_account", layouts.ACCOUNT_ROW, {}, []),
        ("keys.h", "lc_key_entry", layouts.KEY_ENTRY, {}, []),
        ("record.h", "lc_row", layouts.TRANSFER, {"source": "from", "target": "to"}, []),
        ("record.h", "lc_outcome", layouts.OUTCOME, {"lsn": "id"}, ["asset", "reserved"]),
    ],
)
def test_rows_are_laid_out_as_in_c(
    header: str,
    name: str,
    layout: np.dtype[np.void],
    renamed: dict[str, str],
    hidden: list[str],
) -> None:
    in_c, size = read_struct(header, name)
    assert layout.itemsize == size
    told = [one._replace(name=renamed.get(one.name, one.name)) for one in in_c]
    assert fields_of(layout) == [one for one in told if one.name not in hidden]
    assert {one.name for one in in_c} >= {*hidden, *renamed}
