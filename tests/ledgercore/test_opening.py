"""The options and the door: what is out of range is named, and a failed opening leaves no trace."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ledgercore
from ledgercore.opening import DURABILITIES, NANOSECONDS, WORKERS_MAX, OpenOptions, Options
from tests.support.damage import read_files
from tests.support.histories import journal_files, open_funded, open_small

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
    assert {*BOUNDS, "durability"} == OpenOptions.__annotations__.keys()
    assert OpenOptions.__annotations__.keys() == set(Options.__dataclass_fields__)
    # These two are bounded by another option, so their ranges are as wide as that one's.
    wide = {"keys_reserved": (0, 1 << 32), "workers_min": (1, 256)}
    assert BOUNDS | wide == ledgercore.OPTION_RANGES


@pytest.mark.parametrize(("field", "low", "high"), [(f, *b) for f, b in BOUNDS.items()])
def test_every_bound_is_taken_and_the_next_value_refused(field: str, low: int, high: int) -> None:
    for value in (low, high):
        assert getattr(Options(**{field: value}), field) == value
    for other in (low - 1, high + 1, -high, 2**64):
        assert field_of(**{field: other}) == field
    for other in (True, False, None, float(low), str(low), [low]):
        assert field_of(**{field: other}) == field


@pytest.mark.parametrize("number", [np.int32, np.uint32, np.int64])
def test_numbers_of_numpy_mean_what_they_say(number: type[np.integer[Any]]) -> None:
    values: dict[str, Any] = {"key_ttl_s": 86_400, "keys_max": 1 << 20, "segments": 2}
    given = Options(**{field: number(value) for field, value in values.items()})
    assert given == Options(**values) and given.capacity == Options(**values).capacity
    assert given.key_ttl_ns == 86_400 * NANOSECONDS


def test_keys_are_reserved_up_to_the_number_that_there_may_be() -> None:
    assert Options(keys_max=10, keys_reserved=10).capacity.keys_reserved == 10
    assert field_of(keys_max=10, keys_reserved=11) == "keys_reserved"


def test_the_durability_is_one_of_two() -> None:
    assert [Options(durability=name).durability for name in DURABILITIES] == ["sync", "memory"]
    for other in ("", "SYNC", "async", "none", None, True, b"sync"):
        assert field_of(durability=other) == "durability"


def test_what_is_no_option_is_refused() -> None:
    with pytest.raises(TypeError, match="journal_bytes"):
        ledgercore.open(None, journal_bytes=1)  # type: ignore[call-arg]


def test_a_durable_ledger_needs_a_directory() -> None:
    with pytest.raises(ledgercore.InvalidArgument) as caught:
        ledgercore.open()
    assert caught.value.field == "path"


def test_a_ledger_in_memory_touches_no_file(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for path in (None, directory):
        with open_small(path, durability="memory") as ledger:
            open_funded(ledger, ["alice"], 5)
            assert ledger.balance("alice") == 5 and ledger.durability == "memory"
            assert ledger.path == "" and ledger.recovered is None
    assert list(tmp_path.iterdir()) == []


def test_the_smallest_ledger_works(directory: Path) -> None:
    options: dict[str, Any] = {field: low for field, (low, _) in BOUNDS.items()}
    options["accounts_max"] = 2
    for durability in DURABILITIES:
        with ledgercore.open(directory, durability=durability, **options) as ledger:
            open_funded(ledger, ["alice"], 5)
            submission = ledger.new_submission()
            submission.add("", "key", "alice", "world", 1)
            assert submission.is_full
            ledger.submit(submission)


def test_a_new_directory_is_made_with_its_parents_and_its_files(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "ledger"
    with open_small(path) as ledger:
        assert ledger.path == str(path)
        assert {child.name for child in path.iterdir()} == {
            "clock",
            "journal",
            "lock",
            "seal",
            "snapshots",
        }
        (segment,) = journal_files(path)
        assert segment.stat().st_size == 4 << 20 and segment.name == "0000000001.segment"
        assert (path / "lock").read_text() == f"{os.getpid()}\n"


def test_leftovers_of_a_killed_process_are_removed(directory: Path) -> None:
    open_small(directory).close()
    before = read_files(directory)
    leftovers = [directory / "journal" / "spare.tmp", directory / "seal.tmp"]
    leftovers.append(directory / "snapshots" / "00000000000000000009.snapshot.tmp")
    for path in leftovers:
        path.write_bytes(b"half")
    with open_small(directory):
        assert not any(path.exists() for path in leftovers)
    assert read_files(directory).keys() == before.keys()


def test_the_lock_is_let_go_when_opening_fails(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        with pytest.raises(ledgercore.DirectoryLocked, match=f"pid {os.getpid()}"):
            open_small(directory)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(ledgercore.InvalidArgument, match="accounts_max"):
            open_small(directory, accounts_max=1)
    assert len(os.listdir("/proc/self/fd")) == before
    (segment,) = journal_files(directory)
    aside = segment.rename(directory / "aside")
    with pytest.raises(ledgercore.JournalDamaged, match="the journal is gone"):
        open_small(directory)
    aside.rename(segment)
    with open_small(directory) as ledger:
        assert ledger.balance("alice") == 5


def test_a_bad_option_makes_no_directory(directory: Path) -> None:
    with pytest.raises(ledgercore.InvalidArgument):
        ledgercore.open(directory, segments=0)
    assert not directory.exists()
