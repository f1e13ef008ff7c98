"""Ledgers whose files are about to be damaged, and what may come of it.

There are two good ends: all that was acknowledged is there, or JournalDamaged, which names the file
and leaves every byte as it was. The frames are found by the format's specification (src/frame.h),
read here a second time.
"""

import shutil
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import ledgercore
from ledgercore import Status
from tests.support.histories import (
    balances_of,
    batch_of,
    crash_copy,
    history_of,
    open_funded,
    open_small,
)

Files = dict[str, bytes]
HEADER_BYTES, FRAME_BYTES, ALIGNMENT = 4096, 128, 64


class Frame(NamedTuple):
    """Where a frame stands in its file, and the LSNs that it holds."""

    offset: int
    length: int
    first_lsn: int
    count: int  # type: ignore[assignment]  # A tuple can count, and nobody here has it do so.


def frames_of(data: bytes) -> list[Frame]:
    """The frames of a journal file, by the layout that its head comment specifies."""
    found, offset = [], HEADER_BYTES
    while data[offset : offset + 4] == b"LCFR":
        (first_lsn,) = struct.unpack_from("<Q", data, offset + 16)
        count, length = struct.unpack_from("<II", data, offset + 24)
        found.append(Frame(offset, length, first_lsn, count))
        offset += length
    return found


@dataclass
class Story:
    """The files of a ledger, and what was acknowledged by then."""

    files: Files
    history: dict[int, ledgercore.Transfer]
    balances: dict[str, int]
    lsn: int

    @property
    def journal(self) -> str:
        """The name of the newest journal file with frames."""
        return self.journals[-1]

    @property
    def journals(self) -> list[str]:
        """The journal files with frames, oldest first."""
        names = sorted(name for name in self.files if name.endswith(".segment"))
        return [name for name in names if frames_of(self.files[name])]

    @property
    def frames(self) -> list[Frame]:
        return frames_of(self.files[self.journal])

    @property
    def end(self) -> int:
        return self.frames[-1].offset + self.frames[-1].length

    def damaged(self, name: str, data: bytes) -> Files:
        return self.files | {name: data}


def read_files(directory: Path) -> Files:
    """Every file of a ledger but the lock, which holds nothing, and what is still being made."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "lock" and path.suffix != ".tmp"
    }


def write_files(directory: Path, files: Files) -> Path:
    """Make a directory hold these files and no others."""
    shutil.rmtree(directory, ignore_errors=True)
    (directory / "snapshots").mkdir(parents=True)
    for name, data in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return directory


@contextmanager
def directory_in_memory() -> Iterator[Path]:
    """A directory for thousands of openings, where syncing costs nothing.

    No test of damage depends on a sync: what it damages was written long before.
    """
    memory = Path("/dev/shm")
    home = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        yield home / "ledger"
    finally:
        shutil.rmtree(home)


def tell(ledger: ledgercore.Engine, directory: Path, copy: Path) -> Story:
    """The story of an open ledger, its files as `kill -9` would leave them now."""
    lsn = ledger.statistics().lsn_applied
    history, balances = history_of(ledger), balances_of(ledger)
    return Story(read_files(crash_copy(directory, copy)), history, balances, lsn)


def write_history(ledger: ledgercore.Engine) -> None:
    """Thirty transfers in groups of several sizes: memos, refusals, an unknown name."""
    open_funded(ledger, ["alice", "bob"], 100)
    for group in range(4):
        rows = [(f"{group}-{row}", 1, 2, 1 + row) for row in range(5)]
        ledger.transfer_batch(batch_of(ledger, rows))
        ledger.transfer("bob", "alice", 3, key=f"memo-{group}", memo="rent " * (1 + 9 * group))
    assert ledger.transfer("bob", "ghost", 1, key="lost").status is Status.TARGET_NOT_FOUND
    assert ledger.transfer("bob", "alice", 10**6, key="big").status is Status.INSUFFICIENT_FUNDS


def sealed_story(home: Path) -> Story:
    """A ledger that was closed cleanly."""
    directory = home / "ledger"
    with open_small(directory) as ledger:
        write_history(ledger)
        story = tell(ledger, directory, home / "copy")
    story.files = read_files(directory)
    return story


def balances_at(story: Story, lsn: int) -> dict[str, int]:
    """The balances after the first `lsn` entries, from the transfers alone."""
    balances = dict.fromkeys(story.balances, 0)
    for id, transfer in story.history.items():
        if id <= lsn and transfer.status is Status.APPLIED:
            balances[transfer.source] -= transfer.amount
            balances[transfer.target] += transfer.amount
    return balances


def reopen(directory: Path, files: Files, story: Story, least: int | None = None) -> int | None:
    """Open damaged files: the LSN that was recovered, or None if the engine refused.

    What is recovered must be the story's beginning, and must reach `least` (all by default).
    """
    write_files(directory, files)
    message = ""
    try:
        ledger = open_small(directory)
    except ledgercore.JournalDamaged as refusal:
        message = str(refusal)
    if message:
        assert read_files(directory) == files, "a refusal must leave the evidence as it was"
        assert any(name in message for name in [*files, "seal"]), message
        return None
    with ledger:
        lsn = ledger.statistics().lsn_applied
        least = story.lsn if least is None else least
        assert least <= lsn <= story.lsn, f"recovered {lsn}, {least} were acknowledged"
        recovered = {id: ledger.find_transfer(id) for id in story.history if id <= lsn}
        assert recovered == {id: told for id, told in story.history.items() if id <= lsn}
        assert balances_of(ledger).items() <= balances_at(story, lsn).items()
        assert ledger.audit().ok
    return lsn


def flipped(data: bytes, offset: int) -> bytes:
    """The data with one bit another; which bit changes from byte to byte."""
    return data[:offset] + bytes([data[offset] ^ 1 << offset % 8]) + data[offset + 1 :]


def flip_file(path: Path, offset: int) -> bytes:
    """Flip a bit of a file; returns the damaged bytes."""
    damaged = flipped(path.read_bytes(), offset)
    path.write_bytes(damaged)
    return damaged


def zeroed(data: bytes, start: int, end: int) -> bytes:
    return data[:start] + bytes(end - start) + data[end:]
