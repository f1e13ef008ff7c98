"""The values that cross the seam: their layout in memory is a contract with numpy's users."""

import dataclasses
import inspect

import numpy as np
import pytest

import ledgercore
from ledgercore import types

CLASSES = [
    value
    for _, value in inspect.getmembers(types, dataclasses.is_dataclass)
    if value.__module__ == types.__name__
]


def offsets_of(row: np.dtype[np.void]) -> dict[str, int]:
    assert row.fields is not None
    return {name: field[1] for name, field in row.fields.items()}


def test_the_rows_have_their_documented_layout() -> None:
    assert ledgercore.TRANSFER.itemsize == 32 and ledgercore.OUTCOME.itemsize == 24
    offsets = offsets_of(ledgercore.TRANSFER)
    assert offsets == {"key": 0, "from": 16, "to": 20, "amount": 24}
    offsets = offsets_of(ledgercore.OUTCOME)
    assert offsets == {"id": 0, "time_ns": 8, "status": 16, "replayed": 17}


def test_money_is_int64_and_no_float_fits_in() -> None:
    assert ledgercore.TRANSFER["amount"] == np.dtype("<i8")
    row = np.zeros(1, ledgercore.TRANSFER)
    row["amount"] = 2**63 - 1
    # A float has 53 bits: through one, this amount would have come back as 2**63.
    assert int(row["amount"][0]) == 2**63 - 1


def test_rows_read_as_the_bytes_that_they_are() -> None:
    row = np.zeros(1, ledgercore.TRANSFER)
    row["key"], row["from"], row["to"], row["amount"] = bytes(range(16)), 1, 2, 3
    assert row.tobytes() == bytes(range(16)) + b"\1\0\0\0\2\0\0\0\3\0\0\0\0\0\0\0"


@pytest.mark.parametrize("value", CLASSES)
def test_values_are_frozen_and_explained(value: type) -> None:
    assert inspect.getdoc(value)
    instance = value(*range(len(dataclasses.fields(value))))
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(instance, dataclasses.fields(value)[0].name, 1)
    assert instance == value(*range(len(dataclasses.fields(value))))


def test_an_audit_is_sound_without_violations() -> None:
    assert ledgercore.Audit(1, 2, {"USD/2": 0}, (), False).ok
    assert not ledgercore.Audit(1, 2, {"USD/2": 1}, ("USD/2: sum is 1",), False).ok
