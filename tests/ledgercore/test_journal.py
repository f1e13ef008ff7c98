"""Damage to the journal's bytes: nothing acknowledged is lost in silence, wherever it strikes."""

import os
import resource
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ledgercore import JournalDamaged
from tests.support.damage import (
    ALIGNMENT,
    FRAME_BYTES,
    HEADER_BYTES,
    Story,
    directory_in_memory,
    flipped,
    reopen,
    sealed_story,
    tell,
    write_files,
    write_history,
    zeroed,
)
from tests.support.histories import balances_of, batch_of, journal_files, open_funded, open_small
from tests.support.making import many_rows, recover
from tests.support.waiting import DEADLINE_S


@pytest.fixture
def directory() -> Iterator[Path]:
    """Thousands of openings: in memory."""
    with directory_in_memory() as directory:
        yield directory


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Story:
    """A ledger that was closed cleanly."""
    return sealed_story(tmp_path_factory.mktemp("sealed"))


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> tuple[Story, Story]:
    """A ledger before and after its last frame, both as `kill -9` would leave it.

    The second one's journal with the first one's seal is what a crash leaves in the middle of
    the write of a frame that nobody was told of.
    """
    directory = tmp_path_factory.mktemp("torn") / "ledger"
    with open_small(directory) as ledger:
        write_history(ledger)
        before = tell(ledger, directory, directory.parent / "before")
        rows = [(f"last-{row}", 1, 2, 1) for row in range(12)]
        ledger.transfer_batch(batch_of(ledger, rows))
        after = tell(ledger, directory, directory.parent / "after")
    assert len(after.frames) == len(before.frames) + 1
    after.files = before.files | {after.journal: after.files[after.journal]}
    return before, after


def offsets_of(story: Story) -> Iterator[int]:
    """Every byte of a frame's header and of the last frame, less of the rest and of zeros."""
    first, last = story.frames[0], story.frames[-1]
    yield from range(96)
    yield from range(96, HEADER_BYTES - 8, 331)
    yield from range(HEADER_BYTES - 8, first.offset + FRAME_BYTES)
    yield from range(first.offset + FRAME_BYTES, last.offset, 3)
    yield from range(last.offset, story.end)


# -- a journal that was closed cleanly: any damage to it is noticed ------------------------------


def test_an_untouched_journal_opens(sealed: Story, directory: Path) -> None:
    assert reopen(directory, sealed.files, sealed) == sealed.lsn
    assert len(sealed.frames) > 12 and len(sealed.history) > 25


@pytest.mark.slow
def test_every_flipped_bit_is_noticed(sealed: Story, directory: Path) -> None:
    data = sealed.files[sealed.journal]
    for offset in offsets_of(sealed):
        files = sealed.damaged(sealed.journal, flipped(data, offset))
        assert reopen(directory, files, sealed) is None, f"the flip at {offset} went unnoticed"


@pytest.mark.slow
@pytest.mark.parametrize("keep_size", [False, True], ids=["cut", "zeros"])
def test_every_lost_end_is_noticed(sealed: Story, directory: Path, keep_size: bool) -> None:
    data = sealed.files[sealed.journal]
    for offset in [*offsets_of(sealed)][::3]:
        lost = zeroed(data, offset, len(data)) if keep_size else data[:offset]
        if lost == data:
            continue
        files = sealed.damaged(sealed.journal, lost)
        assert reopen(directory, files, sealed) is None, f"the loss at {offset} went unnoticed"


@pytest.mark.slow
def test_recovery_refuses_a_flip_and_a_cut_at_every_offset(sealed: Story, directory: Path) -> None:
    """What the tests above show of an engine for some offsets, recovery alone shows for all."""
    write_files(directory, sealed.files)
    path = directory / sealed.journal
    data = sealed.files[sealed.journal]
    assert recover(directory).lsn == sealed.lsn
    with path.open("r+b", buffering=0) as file:
        for offset in range(sealed.end):
            os.pwrite(file.fileno(), flipped(data, offset)[offset : offset + 1], offset)
            with pytest.raises(JournalDamaged):
                recover(directory)
            os.pwrite(file.fileno(), data[offset : offset + 1], offset)
        for offset in range(sealed.end - 1, -1, -1):
            file.truncate(offset)
            with pytest.raises(JournalDamaged):
                recover(directory)


def test_every_lost_frame_and_sector_is_noticed(sealed: Story, directory: Path) -> None:
    data = sealed.files[sealed.journal]
    spans = [(frame.offset, frame.offset + frame.length) for frame in sealed.frames]
    spans += [(frame.offset, frame.offset + FRAME_BYTES) for frame in sealed.frames]
    spans += [(start, start + 512) for start in range(0, sealed.end, 512)]
    for start, end in spans:
        lost = zeroed(data, start, end)
        if lost != data:
            files = sealed.damaged(sealed.journal, lost)
            assert reopen(directory, files, sealed) is None, f"the loss of {start} went unnoticed"


def test_frames_out_of_place_are_noticed(sealed: Story, directory: Path) -> None:
    data, frames = sealed.files[sealed.journal], sealed.frames
    first, second, last = frames[1], frames[2], frames[-1]
    parts = {frame: data[frame.offset : frame.offset + frame.length] for frame in frames}
    swapped = parts[second] + parts[first]
    joined = data[: first.offset] + swapped + data[second.offset + second.length :]
    # Two frames of one size would hide nothing of this: the chain of checksums names the order.
    removed = data[: first.offset] + data[second.offset :]
    for other in (joined, removed + bytes(first.length)):
        assert reopen(directory, sealed.damaged(sealed.journal, other), sealed) is None
    # A frame that comes a second time stands where nothing was synced: it is no loss.
    end = last.offset + last.length
    again = data[:end] + parts[last] + data[end + last.length :]
    assert reopen(directory, sealed.damaged(sealed.journal, again), sealed) in (None, sealed.lsn)


# -- a journal that a crash cut: only what nobody was told of may go -----------------------------


def test_a_torn_frame_that_nobody_was_told_of_goes(
    torn: tuple[Story, Story], directory: Path
) -> None:
    before, after = torn
    data, last = after.files[after.journal], after.frames[-1]
    end = last.offset + last.length
    variants = [zeroed(data, cut, end) for cut in range(last.offset, end, 11)]
    variants += [zeroed(data, last.offset, cut) for cut in range(last.offset + 1, end, 37)]
    variants += [flipped(data, offset) for offset in range(last.offset, end, 13)]
    # Sectors reach the disk in any order, so the head of a frame may be missing, its end there.
    boundaries = range(last.offset // 512 * 512, end, 512)
    variants += [zeroed(data, max(start, last.offset), start + 512) for start in boundaries]
    for variant in variants:
        if variant != data:
            files = after.damaged(after.journal, variant)
            assert reopen(directory, files, after, before.lsn) == before.lsn
    assert reopen(directory, after.files, after, before.lsn) == after.lsn
    # No crash shortens a file of a fixed size, so here a refusal is as good.
    for cut in range(last.offset, end, 97):
        files = after.damaged(after.journal, data[:cut])
        assert reopen(directory, files, after, before.lsn) in (None, before.lsn)


def test_after_a_torn_frame_the_ledger_goes_on(torn: tuple[Story, Story], directory: Path) -> None:
    before, after = torn
    data, last = after.files[after.journal], after.frames[-1]
    # A shorter frame is written over the torn one, whose rest must not be taken for a frame.
    for cut in range(last.offset + 1, last.offset + last.length, 61):
        torn_end = data[:cut] + bytes(len(data) - cut)
        tail = zeroed(data, last.offset, last.offset + 512)
        for variant in (torn_end, tail):
            write_files(directory, after.damaged(after.journal, variant))
            for round in range(2):
                with open_small(directory) as ledger:
                    assert ledger.statistics().lsn_applied == before.lsn + round
                    outcome = ledger.transfer("world", "bob", 1, key=f"after-{round}")
                    assert outcome.id == before.lsn + 1 + round
            with open_small(directory) as ledger:
                assert balances_of(ledger)["bob"] == before.balances["bob"] + 2
                assert ledger.audit().ok


@pytest.mark.slow
def test_damage_before_the_last_frame_of_a_crash_is_noticed(
    torn: tuple[Story, Story], directory: Path
) -> None:
    _, after = torn
    data, last = after.files[after.journal], after.frames[-1]
    for offset in range(HEADER_BYTES, last.offset, 7):
        files = after.damaged(after.journal, flipped(data, offset))
        assert reopen(directory, files, after) is None, f"the flip at {offset} went unnoticed"


def test_stale_bytes_after_the_end_are_no_history(
    torn: tuple[Story, Story], directory: Path
) -> None:
    before, after = torn
    data, frames = before.files[before.journal], before.frames
    end = before.end
    rubbish = [
        b"\xff" * 4096,
        b"LCFR" + bytes(124),
        # Whole and valid frames, but of another place: a checksum alone would let them in.
        data[frames[-1].offset : end],
        data[frames[0].offset : frames[2].offset],
    ]
    for stale in rubbish:
        for gap in (0, ALIGNMENT, 4096):
            place = end + gap
            changed = data[:place] + stale + data[place + len(stale) :]
            files = before.damaged(before.journal, changed)
            assert reopen(directory, files, before) == before.lsn
    assert after.end > end


# -- descriptors -----------------------------------------------------------------------------------


def take_all_descriptors() -> list[int]:
    """Open files until there are no more descriptors."""
    taken: list[int] = []
    with suppress(OSError):
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    return taken


@contextmanager
def few_descriptors() -> Iterator[None]:
    """Let this process have few more descriptors than it uses, so that they are soon taken."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (used + 64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_journal_rolls_over_when_all_descriptors_are_taken(directory: Path) -> None:
    with open_small(directory) as ledger, few_descriptors():
        open_funded(ledger, ["alice"], 0)
        taken = take_all_descriptors()
        try:
            transfers = sum(
                len(ledger.transfer_batch(many_rows(40_000, start=start)))
                for start in range(0, 240_000, 40_000)
            )
        finally:
            for descriptor in taken:
                os.close(descriptor)
        assert len(journal_files(directory)) > 2
        assert ledger.failure is None and ledger.balance("alice") == transfers


def null_descriptors() -> set[int]:
    """Return the descriptors of /dev/null, without opening anything to find out."""
    null, found = os.stat("/dev/null"), set()
    for descriptor in range(256):
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), null):
                found.add(descriptor)
    return found


def test_a_descriptor_that_was_snatched_is_waited_for(directory: Path) -> None:
    before = null_descriptors()
    with open_small(directory) as ledger, few_descriptors():
        open_funded(ledger, ["alice"], 0)
        (reserved,) = null_descriptors() - before
        taken = take_all_descriptors()
        # What is held back for the journal goes to somebody else, as when two threads open at once.
        taken.append(os.dup2(taken[0], reserved))
        giver = threading.Timer(0.3, lambda: os.close(taken.pop(0)))
        giver.start()
        try:
            for start in range(0, 120_000, 40_000):
                ledger.transfer_batch(many_rows(40_000, start=start))
            assert ledger.failure is None
        finally:
            giver.join()
            for descriptor in taken:
                os.close(descriptor)
        assert len(journal_files(directory)) > 1


def test_what_is_printed_never_gets_into_the_journal(directory: Path) -> None:
    program = (
        "import os, sys, ledgercore\n"
        "for number in (0, 1, 2): os.close(number)\n"
        f"with ledgercore.open({str(directory)!r}, segment_bytes=4 << 20) as ledger:\n"
        "    for number in (0, 1, 2):\n"
        "        target = os.readlink(f'/proc/self/fd/{number}') if os.path.exists("
        "f'/proc/self/fd/{number}') else ''\n"
        "        if 'journal' in target or 'seal' in target: os._exit(3)\n"
        "os._exit(0)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=DEADLINE_S).returncode == 0
