"""Memory: the figures of the moment, and what a window sees."""

import asyncio
import importlib.util
import sys
from pathlib import Path

import pytest

from ledgercore import SegmentLoad, Statistics
from ledgercore.service.profiling import heap
from ledgercore.service.wire import problems
from ledgercore.service.wire.problems import Problem

needs_memray = pytest.mark.skipif(
    importlib.util.find_spec("memray") is None, reason="a window of the heap needs memray"
)

STATISTICS = Statistics(
    lsn_applied=30,
    lsn_durable=28,
    lsn_max=2**47,
    clock_lead_ns=0,
    accounts=1 << 20,
    keys=1 << 14,
    keys_max=1 << 24,
    queue_depth=5,
    workers=1,
    durability="sync",
    groups=1,
    recovered_records=0,
    recovery_seconds=0.0,
    segments=(SegmentLoad(5, 1, 0),),
)


def test_figures_are_told_with_what_they_are() -> None:
    lines = heap.write_figures(STATISTICS).splitlines()
    rows = dict(line.split(maxsplit=1) for line in lines if line.startswith("    "))
    assert rows["accounts"] == "1,048,576 in about 64.0 MiB and their names"
    assert rows["keys"] == "16,384 in about 1.0 MiB, of 16,777,216 at most"
    assert rows["lsn_durable"] == "28, 2 records behind"
    amount, unit, *meaning = rows["VmRSS"].split()
    assert 10 < float(amount.replace(",", "")) < 100_000
    assert unit == "MiB" and meaning == ["resident", "now"]
    assert int(rows["blocks"].split()[0].replace(",", "")) > 1000


def allocate() -> bytearray:
    return bytearray(7 << 20)


async def allocate_within() -> bytearray:
    kept = allocate()
    given_back = bytearray(9 << 20)
    del given_back
    return kept


@needs_memray
async def test_a_window_sees_what_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "heap.bin"
    before = allocate()
    watching = asyncio.create_task(heap.watch_heap(path, 1))
    await asyncio.sleep(0)
    kept = await allocate_within()
    await watching
    profile = heap.read_heap(path, 1)
    found = {row.stack[-1].name: row for row in profile.rows if row.values[1] >= 5 << 20}
    assert list(found) == ["allocate"], "neither what was there before nor what was given back"
    row = found["allocate"]
    assert row.values[0] == 1 and row.values[1] == pytest.approx(7 << 20, rel=0.01)
    assert [frame.name for frame in row.stack[-2:]] == ["allocate_within", "allocate"]
    assert row.stack[-1].file == "tests/service/profiling/test_heap.py" and row.stack[-1].line > 0
    assert [measure.unit for measure in profile.measures] == ["count", "bytes"]
    assert len(before) == len(kept)


@needs_memray
async def test_whoever_cancels_ends_the_window(tmp_path: Path) -> None:
    watching = asyncio.create_task(heap.watch_heap(tmp_path / "one.bin", 60))
    await asyncio.sleep(0)
    with pytest.raises(Problem) as caught:
        await heap.watch_heap(tmp_path / "two.bin", 60)
    assert caught.value.kind is problems.PROFILE_RUNNING
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    # A process has one at a time, so that a second one shows that the first has ended.
    await heap.watch_heap(tmp_path / "three.bin", 0)


async def test_a_missing_memray_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "memray", None)
    with pytest.raises(Problem, match="pip install memray") as caught:
        await heap.watch_heap(tmp_path / "heap.bin", 1)
    assert caught.value.kind is problems.PROFILER_MISSING
