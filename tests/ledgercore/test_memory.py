"""Big tables: what is reserved costs nothing until it is used, and the key table fits its keys."""

import os
import subprocess
import sys
import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import ledgercore
from ledgercore.memory import KEYS_A_STRIPE_MIN, plan_key_levels, reserve, shortage_explained
from tests.support.histories import open_small

STRIPES_LOG2_MAX, LEVELS_MAX = 10, 24
GIB = 1 << 30
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
KEYS = [1, 2, 63, 64, 127, 128, 129, 1000, 1 << 16, (1 << 16) + 1, 10**6, 1 << 24, 1 << 32]


def resident_bytes() -> int:
    """How much memory this process has committed."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES


@pytest.mark.parametrize(("count", "dtype"), [(1, "<i8"), (1000, "<u4"), (0, "<i8"), (7, "V40")])
def test_a_table_is_zeroed_and_writable(count: int, dtype: str) -> None:
    table = reserve(count, dtype)
    assert table.shape == (count,) and table.dtype == np.dtype(dtype)
    assert not table.view(np.uint8).any()
    table.view(np.uint8)[:] = 255
    assert table.view(np.uint8).sum() == 255 * table.nbytes


@pytest.mark.parametrize("huge_pages", [True, False])
def test_a_table_is_committed_as_it_is_used(huge_pages: bool) -> None:
    before = resident_bytes()
    table = reserve(GIB // 8, np.int64, huge_pages=huge_pages)
    assert table.nbytes == GIB and resident_bytes() - before < 8 << 20
    table[0], table[-1] = 1, 2
    assert table[0] + table[GIB // 16] + table[-1] == 3
    assert resident_bytes() - before < 16 << 20
    # What is used is committed: the measure itself can tell.
    table[: 32 << 17] = 1
    assert resident_bytes() - before > 31 << 20
    del table
    assert resident_bytes() - before < 8 << 20


def test_tables_do_not_overlap() -> None:
    tables = [reserve(513, np.int64) for _ in range(20)]
    for number, table in enumerate(tables):
        table[:] = number
    assert [int(table.sum()) for table in tables] == [513 * number for number in range(20)]


@pytest.mark.parametrize("keys_max", KEYS)
def test_each_level_is_about_twice_the_one_below(keys_max: int) -> None:
    _, capacities = plan_key_levels(keys_max, STRIPES_LOG2_MAX, LEVELS_MAX)
    assert 1 <= len(capacities) <= LEVELS_MAX and capacities[0] >= 8
    assert all(capacity % 8 == 0 for capacity in capacities)
    for lower, upper in pairwise(capacities):
        # A level moves up when it is 5/8 full, and must fit there.
        assert lower < upper and 2 * lower - 16 < upper <= 2 * lower
    # A ledger without keys costs little.
    assert len(capacities) == LEVELS_MAX or capacities[0] <= 2 * KEYS_A_STRIPE_MIN


@pytest.mark.parametrize("keys_max", KEYS)
def test_the_last_level_holds_the_keys_at_its_load_and_few_more(keys_max: int) -> None:
    log2, capacities = plan_key_levels(keys_max, STRIPES_LOG2_MAX, LEVELS_MAX)
    stripes, room = 1 << log2, capacities[-1] // 8 * 5
    assert 1 <= log2 <= STRIPES_LOG2_MAX and room * stripes >= keys_max
    if keys_max >= 1 << 20:
        # The promise is 64 bytes a key; the margin for an uneven fall is an eighth at most.
        assert capacities[-1] * 40 * stripes <= keys_max * 64 * 9 // 8
    if log2 > 1:
        assert keys_max // stripes >= KEYS_A_STRIPE_MIN


def test_few_levels_are_enough_if_there_have_to_be() -> None:
    for levels_max in (1, 2, 5):
        log2, capacities = plan_key_levels(1 << 24, STRIPES_LOG2_MAX, levels_max)
        assert len(capacities) == levels_max and log2 == STRIPES_LOG2_MAX
        assert capacities[-1] == plan_key_levels(1 << 24, STRIPES_LOG2_MAX, LEVELS_MAX)[1][-1]


@pytest.mark.parametrize("keys_max", [100, 1 << 10, 1 << 14, 1 << 17, 1 << 20, 1 << 24])
def test_keys_that_fall_at_random_overfill_no_stripe(keys_max: int) -> None:
    log2, capacities = plan_key_levels(keys_max, STRIPES_LOG2_MAX, LEVELS_MAX)
    stripes = 1 << log2
    throws = np.random.default_rng(keys_max).multinomial(keys_max, [1 / stripes] * stripes, 500)
    overfull = (throws.max(axis=1) > capacities[-1] // 8 * 5).mean()
    # Four standard deviations and 1024 stripes: three ledgers of a hundred have one stripe that
    # is full a little before the table is.
    assert overfull < 0.05
    # Without the margin most would be: the simulation can tell.
    assert (throws.max(axis=1) > keys_max // stripes).mean() > 0.9


# -- where address space is limited ----------------------------------------------------------------

PROGRAM = """
import resource, sys
import ledgercore
limit, path = int(sys.argv[1]) << 20, sys.argv[2]
options = {"accounts_max": int(sys.argv[3]), "keys_max": int(sys.argv[3]), "snapshot_every": 0}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    with ledgercore.open(path, **options) as ledger:
        ledger.open_account("world", asset="USD/2", floor=None)
        ledger.open_account("alice", asset="USD/2")
        assert ledger.transfer("world", "alice", 5, key="k").id == 3
        audit = ledger.audit(journal=True)
        assert audit.ok and audit.journal_checked, audit
    del ledger
    print("moved", ledgercore.verify(path).lsn, ledgercore.repair(path).action)
    assert ledgercore.compact(path)
except ledgercore.MemoryUnavailable as error:
    print(f"refused: {error}")
"""


needs_plain_build = pytest.mark.skipif(
    "san.so" in os.environ.get("LD_PRELOAD", ""),
    reason="a sanitizer reserves terabytes of address space for itself",
)


def run_limited(limit_mib: int, path: Path, rows_max: int) -> str:
    """Open, use and check a ledger within so much address space; returns what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(limit_mib), str(path), str(rows_max)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_plain_build
@pytest.mark.parametrize("limit_mib", [4096, 2048, 1024])
def test_tables_that_do_not_fit_are_one_sentence(directory: Path, limit_mib: int) -> None:
    said = run_limited(limit_mib, directory, 1 << 24)
    assert said.startswith("refused: a table of ") and said.count("\n") == 1
    assert f"{limit_mib:,} MiB of address space in all (ulimit -v)" in said
    assert "accounts_max or keys_max" in said
    # It holds nothing, and breaks nothing.
    assert run_limited(limit_mib, directory, 1 << 16) == "moved 3 nothing to repair\n"


@needs_plain_build
def test_a_ledger_that_fits_works_to_its_end_or_not_at_all(directory: Path) -> None:
    """Also right at the edge, where the tables fit and little is left beside them."""
    ends = set()
    for number, limit_mib in enumerate(range(300, 1100, 100)):
        said = run_limited(limit_mib, directory.with_name(f"ledger-{number}"), 1 << 20)
        ends.add(said.partition(" ")[0])
    assert ends == {"refused:", "moved"}


@pytest.mark.parametrize("name", ["journal", "housekeeper", "scrub"])
def test_a_thread_that_cannot_start_is_one_sentence(
    directory: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        real(thread)

    before = threading.active_count()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        with pytest.raises(ledgercore.MemoryUnavailable, match="a thread cannot be started"):
            open_small(directory)
    assert threading.active_count() == before
    open_small(directory).close()


def test_only_what_is_a_shortage_is_called_one() -> None:
    for error in (OSError(5, "Input/output error"), RuntimeError("a bug")):
        with pytest.raises(type(error)), shortage_explained():
            raise error
    for shortage in (OSError(12, "Cannot allocate memory"), MemoryError()):
        with pytest.raises(ledgercore.MemoryUnavailable), shortage_explained():
            raise shortage
