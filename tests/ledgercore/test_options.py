"""The options of a ledger: one table, and what is out of range is named."""

from typing import Any, get_type_hints

import numpy as np
import pytest

import ledgercore
from ledgercore.options import (
    DURABILITIES,
    NANOSECONDS,
    OPTION_RANGES,
    WORKERS_MAX,
    OpenOptions,
    Options,
)

BOUNDS = {
    "instruments": (0, 1),
    "segments": (1, 256),
    "workers_min": (1, WORKERS_MAX),
    "workers_max": (1, 256),
    "queue_size": (1, 1 << 24),
    "batch_max": (1, 16_384),
    "accounts_max": (1, 1 << 30),
    "keys_max": (1, 1 << 32),
    "keys_reserved": (0, 16_777_216),
    "key_ttl_s": (1, 10 * 366 * 86_400),
    "segment_bytes": (4 << 20, 1 << 32),
    "snapshot_every": (0, 1 << 30),
    "accept_clock": (0, 1),
    "scrub_interval_s": (0, 366 * 86_400),
    "scrub_bytes_per_s": (65_536, 1 << 40),
}


def field_of(**options: Any) -> str:
    """The field that is named when the options are refused."""
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        Options(**options)
    return caught.value.field


def test_every_option_has_a_bound_or_a_list_and_can_be_given() -> None:
    assert {*BOUNDS, "durability"} == Options.__dataclass_fields__.keys()
    assert get_type_hints(OpenOptions) == get_type_hints(Options)
    # These two are bounded by another option, so their ranges are as wide as that one's.
    wide = {"keys_reserved": (0, 1 << 32), "workers_min": (1, 256)}
    assert BOUNDS | wide == OPTION_RANGES


def test_every_option_says_what_it_means() -> None:
    meanings = Options.meanings()
    assert meanings.keys() == Options.__dataclass_fields__.keys()
    assert all(meaning.endswith(".") for meaning in meanings.values())
    # What stands between backticks is another option.
    named = {name for text in meanings.values() for name in text.split("`")[1::2]}
    assert named and named <= meanings.keys()


@pytest.mark.parametrize(("field", "low", "high"), [(f, *b) for f, b in BOUNDS.items()])
def test_every_bound_is_taken_and_the_next_value_refused(field: str, low: int, high: int) -> None:
    for value in (low, high):
        taken: dict[str, Any] = {field: value}
        assert getattr(Options(**taken), field) == value
    for other in (low - 1, high + 1, -high, 2**64):
        assert field_of(**{field: other}) == field
    for wrong in (True, False, None, float(low), str(low), [low]):
        assert field_of(**{field: wrong}) == field


@pytest.mark.parametrize("number", [np.int32, np.uint32, np.int64])
def test_numbers_of_numpy_mean_what_they_say(number: type[np.integer[Any]]) -> None:
    values: dict[str, Any] = {"key_ttl_s": 86_400, "keys_max": 1 << 20, "segments": 2}
    numbers: dict[str, Any] = {field: number(value) for field, value in values.items()}
    given = Options(**numbers)
    assert given == Options(**values) and given.capacity == Options(**values).capacity
    assert given.key_ttl_ns == 86_400 * NANOSECONDS


def test_keys_are_reserved_up_to_the_number_that_there_may_be() -> None:
    assert Options(keys_max=10, keys_reserved=10).capacity.keys_reserved == 10
    assert field_of(keys_max=10, keys_reserved=11) == "keys_reserved"


def test_the_durability_is_one_of_two() -> None:
    assert [Options(durability=name).durability for name in DURABILITIES] == ["sync", "memory"]
    for other in ("", "SYNC", "async", "none", None, True, b"sync"):
        assert field_of(durability=other) == "durability"
