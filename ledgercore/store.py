"""What a store is: where the journal and the snapshots of one ledger are kept, and who writes them.

Recovery, lookups, snapshots and the audit are written against this module and know no files;
file_store.py is the store that a data directory is. This module owns the contract, and what passes
from one side to the other. It reads and writes nothing.

A journal is a chain of chapters. A chapter is a header and the frames under it (src/frame.h), each
of which names the checksum of the one before; so all stores share the walk over frames, the replay
and the checks of the chain, and differ only in where the bytes lie.

Errors. What the system does not let be read or written is DirectoryUnusable, or MemoryUnavailable.
What was read and contradicts itself is JournalDamaged, which names the place and, where it has one,
the LSN. What a newer program wrote is FormatTooNew: it is never changed.

Threads. `claim`, `writer`, `start_maintenance` and `release` are called by the thread that opens or
closes the ledger, one after the other. What reads (`chapters`, `check_end`, `find`, `snapshots`)
may be called by any thread, and by a process that has no claim, beside the one that writes: such a
process sees the journal as it was at some moment of its call, and more where the journal went on
meanwhile.

Durability. What a journal says is synced (`Journal.sync`, journal.pxd) outlives a power cut, as
does a snapshot from the return of `put` on. What `chapters` shows after a claim is durable as well,
so that it may be answered from; without a claim it may still be lost.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from .errors import JournalDamaged
from .frames import Scan, SegmentHeader
from .journal import Journal
from .ledger import Ledger
from .types import ScrubState

SHOWN_BYTES = 16
"""How much of what is no frame is shown."""


@dataclass(frozen=True, slots=True)
class Named:
    """The checksum of the frame at an LSN, which depends on all frames before it.

    `place` is where that stands, in the words of messages. LSN 0 names nothing.
    """

    place: str
    lsn: int
    crc: int

    def compare(self, chapter: str, crc: int | None) -> None:
        """Raise JournalDamaged unless this is the checksum; None where no frame ends there."""
        if self.lsn > 0 and crc != self.crc:
            raise JournalDamaged(
                f"{self.place}: this is of another history than {chapter}, where LSN {self.lsn}"
                f" {'is within a frame' if crc is None else 'has another checksum'}"
            )


class Damage(JournalDamaged):
    """Damage at a known place of a chapter: what a repair needs to cut it off."""

    def __init__(self, place: str, offset: int, lsn: int, reason: str, scan: Scan) -> None:
        super().__init__(f"{place}: offset {offset}, LSN {lsn}: {reason}")
        self.place = place
        self.offset = offset
        self.lsn = lsn
        self.reason = reason
        self.scan = scan


class Chapter(Protocol):
    """A part of the journal: a header, and the frames under it, which are read when asked for."""

    @property
    def place(self) -> str:
        """What it is called in messages."""

    @property
    def header(self) -> SegmentHeader:
        """Its header: the salt of its frames, its first LSN, the checksum before, the lifetime."""

    @property
    def start(self) -> int:
        """The offset of its first frame, which messages count from."""

    @property
    def size(self) -> int:
        """How many bytes there are to read at most."""

    @property
    def synced(self) -> Named:
        """What the store itself says was synced, wherever in the journal that is."""

    def read(self) -> Iterator[memoryview]:
        """Yield the bytes from `start` on, in pieces of whole frames in their order.

        Behind the last frame the last piece may go on with what is none. A view can be used for as
        long as it is kept, and holds a descriptor or memory for as long: so keep few.
        """


def damage_at(chapter: Chapter, scan: Scan, rest: memoryview, reason: str) -> Damage:
    """The damage where a walk over a chapter ended: the reason, and the bytes that are there."""
    shown = bytes(rest[:SHOWN_BYTES]).hex(" ") or "the end of the file"
    return Damage(chapter.place, scan.offset, scan.next_lsn, f"{reason}; there is: {shown}", scan)


@dataclass(slots=True)
class Recovered:
    """A recovered ledger, and the end of its journal, where a writer continues.

    `header` is of the last chapter, `offset` where its next frame goes and `last_offset` where its
    last one begins, 0 if there is none. `first_lsn` is where reading the journal began; of what
    came before only the snapshot tells. `notes` names the snapshots that were passed over, and why.
    """

    ledger: Ledger
    lsn: int
    header: SegmentHeader
    offset: int
    previous_crc: int
    last_offset: int = 0
    records: int = 0
    transfers: int = 0
    refusals: int = 0
    torn_bytes: int = 0
    snapshot_lsn: int = 0
    first_lsn: int = 1
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


class StoredSnapshots(Protocol):
    """The snapshots of a store, each called by the LSN that it is of."""

    def lsns(self) -> list[int]:
        """The LSNs of the snapshots, the newest first."""

    def place(self, lsn: int) -> str:
        """What the snapshot of an LSN is called in messages, there or not."""

    def read_header(self, lsn: int) -> SegmentHeader | None:
        """The head of a snapshot; None where it is not sound, or gone. Raises FormatTooNew."""

    def read(self, lsn: int) -> memoryview:
        """All bytes of a snapshot; none where it is gone."""

    def put(
        self, lsn: int, parts: Iterable[bytes], check: Callable[[str, memoryview], None]
    ) -> None:
        """Keep a snapshot, which is durable and in the list once this returns, and not before.

        `check` is called with the place and the bytes as they were read back. Where it raises, or
        anything fails, the list stays as it was.
        """

    def drop(self, lsn: int) -> None:
        """Remove a snapshot."""


class StoreOptions(Protocol):
    """What a store must be told of how a ledger is to run; options.Options says what each means."""

    @property
    def key_ttl_ns(self) -> int: ...
    @property
    def accept_clock(self) -> int: ...
    @property
    def segment_bytes(self) -> int: ...
    @property
    def snapshot_every(self) -> int: ...
    @property
    def accounts_max(self) -> int: ...
    @property
    def keys_max(self) -> int: ...
    @property
    def scrub_interval_s(self) -> int: ...
    @property
    def scrub_bytes_per_s(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to write, held until `release`. `is_new`: the ledger was made by this claim."""

    is_new: bool


class Maintenance(Protocol):
    """The background work of a store while its journal is written, in threads of its own."""

    @property
    def scrub_state(self) -> ScrubState | None:
        """What was read again, and found damaged; None for a store that does not do so itself."""

    def stop(self) -> None:
        """End it, and wait until it has. Can be called again."""


class Store(Protocol):
    """Where one ledger is kept."""

    @property
    def address(self) -> str:
        """What finds the store from another process. It may hold a password, so it is not shown."""

    @property
    def place(self) -> str:
        """The store in the words of messages."""

    def claim(self, options: StoreOptions) -> Claim:
        """Take the right to write, as the only one, and make the ledger where there is none.

        Makes durable what is there. Raises DirectoryLocked where another has the right; whatever
        is raised, nothing is held. It ends with the process, however that ends.
        """

    def chapters(self, after_lsn: int = 0) -> Iterator[Chapter]:
        """Return the chapters in their order, from the one on that holds what follows an LSN.

        It begins earlier where the store names an earlier frame as synced, so that this can be
        checked. There is one at least. All headers were checked against each other, and no frame: a
        chapter that is missing, of another ledger or out of order raises JournalDamaged.
        """

    def check_end(self, chapter: Chapter, scan: Scan) -> int:
        """Tell a torn end from damage, where a walk over the last chapter has ended.

        Returns how many bytes lie behind the last whole frame: of what was never synced, so that
        nobody was told of it. Raises Damage where anything says that it was. A store whose appends
        are whole or not there has no torn ends, and returns 0.
        """

    def writer(self, recovered: Recovered) -> Journal:
        """Return the journal that goes on where recovery has ended, with the claim held.

        Settles the end first: it is durable, and what was torn is gone. Begins a new chapter where
        the options ask for another lifetime of keys. Anchors the time that is logged; raises
        ClockRefused. There is one journal for each claim.
        """

    def find(self, lsn: int) -> tuple[bytes, bytes]:
        """Return the record of an LSN and the text of its frame.

        For what is known to be durable: JournalDamaged is raised where it is not there.
        """

    def snapshots(self) -> StoredSnapshots:
        """Return the snapshots; each is beside the journal, and never in its place."""

    def start_maintenance(self) -> Maintenance:
        """Begin what is to be done beside the writing: room made ahead, snapshots, rereading.

        After `writer`. What goes wrong in it is logged, and does not stop the journal.
        """

    def release(self) -> None:
        """Give the right to write back, after journal and maintenance were stopped.

        In a forked child it closes copies alone, and the parent keeps the right. Can be repeated.
        """


def chapters_after(chapters: list[Chapter], after_lsn: int) -> list[Chapter]:
    """Return the chapters that `Store.chapters` would for this LSN, out of all of them.

    One is left out where the next shows that it holds nothing later, and that the frame which the
    store names as synced comes later too.
    """
    first = 0
    while first + 1 < len(chapters):
        following = chapters[first + 1]
        if following.header.first_lsn > min(after_lsn, following.synced.lsn) + 1:
            break
        first += 1
    return chapters[first:]
