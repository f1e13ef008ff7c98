"""Recovery: from the journal and snapshots of a store to a ledger, and to where its journal ends.

State = newest valid snapshot + the journal after it. Everything is checked on the way, and what
contradicts itself is refused with place, offset and LSN, never skipped. A torn tail is the one
thing that is let go: the last frame, if nothing says that it was ever synced.

What is read has to be of one history: the store and the snapshot each name the checksum of the
frame at their LSN, which stands for all that came before it, and each chapter that of the frame
before it. The journal is never trimmed, so a chapter that is not there is always a loss.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from .errors import InvalidArgument, JournalDamaged, too_new
from .frames import (
    KIND_SNAPSHOT,
    SEGMENT_HEADER_BYTES,
    Scan,
    SegmentHeader,
    is_newer_segment,
    read_segment_header,
    scan_frames,
)
from .ledger import Ledger
from .replay import Replay, set_key_ttl
from .store import Chapter, Damage, Named, Recovered, Store, chapters_after, damage_at

Progress = Callable[[int, int], None]

TOO_SMALL = {"keys_max", "accounts_max"}
KEYS_ROOM_MIN = 64
"""For how many keys more than twice `keys_max` there is room: the smallest tables held more."""


@dataclass(frozen=True, slots=True)
class Capacity:
    """How large the tables of a ledger are.

    `keys_room` is for how many keys a recovery lays out the table, where that is more than
    `keys_max`, with which nothing new is taken.
    """

    accounts_max: int
    keys_max: int
    ring_records: int
    keys_reserved: int = 0
    keys_room: int = 0


class Recovery:
    """One run of recovery over a store. Reads only, and needs no claim."""

    def __init__(
        self,
        store: Store,
        capacity: Capacity,
        *,
        until_lsn: int | None = None,
        sealed_only: bool = False,
        snapshots: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """`until_lsn` stops there, `sealed_only` before the chapter that is being written.

        `snapshots` are the LSNs of those that may be used, where these are not all.
        """
        self.store = store
        self.capacity = capacity
        self.until_lsn = until_lsn
        self.sealed_only = sealed_only
        self.snapshots = snapshots
        self.progress = progress
        self.notes: list[str] = []

    def run(self) -> Recovered:
        """Return the recovered ledger; raises JournalDamaged, FormatTooNew, InvalidArgument.

        A ledger may hold more keys than `keys_max`: it was run with a larger one, or by a program
        of before, for which that was a hint, and which spread the keys otherwise. They are put in
        all the same, up to twice as many; for each is a promise, and a start that refuses would
        come where the table is full, when it is needed most.
        """
        started = time.perf_counter()
        try:
            recovered = self.recover()
        except InvalidArgument as error:
            if error.field != "keys_max":
                raise
            self.notes.clear()
            room = 2 * self.capacity.keys_max + KEYS_ROOM_MIN
            self.capacity = replace(self.capacity, keys_room=room)
            recovered = self.recover()
        recovered.seconds = time.perf_counter() - started
        return recovered

    def recover(self) -> Recovered:
        """Recover into tables of the present capacity. Raises as `run`."""
        chapters = list(self.store.chapters())
        replay, snapshot = self.load_newest_snapshot(chapters[0].header)
        recovered = self.replay_chapters(chapters_after(chapters, replay.lsn), replay, snapshot)
        recovered.snapshot_lsn = 0 if snapshot is None else snapshot.lsn
        recovered.notes = tuple(self.notes)
        return recovered

    # -- chapters ---------------------------------------------------------------------------------

    def replay_chapters(
        self, chapters: list[Chapter], replay: Replay, snapshot: Named | None
    ) -> Recovered:
        """Apply all chapters after the snapshot, checking the chain from each to the next."""
        first = chapter = chapters[0]
        for named in (first.synced, snapshot):
            if named is not None and named.lsn == first.header.first_lsn - 1:
                named.compare(first.place, first.header.previous_crc)
        scan, rest = begin_scan(first), memoryview(b"")
        total, done = sum(each.size for each in chapters), 0
        for number, chapter in enumerate(chapters):
            header = chapter.header
            if scan.end == "stopped":
                break
            if header.previous_crc != scan.previous_crc or header.first_lsn != scan.next_lsn:
                reason = "the journal breaks off before the end"
                raise damage_at(chapters[number - 1], scan, rest, reason)
            if self.sealed_only and number == len(chapters) - 1:
                break
            if not set_key_ttl(replay.ledger, header.key_ttl_ns):
                raise InvalidArgument("key_ttl_s", "was changed to more than 256 different values")
            scan, rest = self.scan_chapter(chapter, replay, snapshot)
            done += chapter.size
            if self.progress is not None:
                self.progress(done, total)
        torn = 0
        if not self.sealed_only and (self.until_lsn is None or replay.lsn < self.until_lsn):
            torn = self.store.check_end(chapter, scan)
            if snapshot is not None and snapshot.lsn >= scan.next_lsn:
                raise JournalDamaged(
                    f"{snapshot.place}: the snapshot goes on to LSN {snapshot.lsn}, and the journal"
                    f" ends with LSN {scan.next_lsn - 1}: they are not of one history"
                )
        return Recovered(
            ledger=replay.ledger,
            lsn=replay.lsn,
            header=chapter.header,
            offset=scan.offset,
            previous_crc=scan.previous_crc,
            last_offset=scan.last_offset,
            records=replay.records,
            transfers=replay.transfers,
            refusals=replay.refusals,
            torn_bytes=torn,
            first_lsn=first.header.first_lsn,
        )

    def scan_chapter(
        self, chapter: Chapter, replay: Replay, snapshot: Named | None
    ) -> tuple[Scan, memoryview]:
        """Apply the frames of a chapter; returns where they end, and the bytes from there on."""
        synced, header = chapter.synced, chapter.header
        scan, rest = begin_scan(chapter), memoryview(b"")
        for piece in chapter.read():
            step = scan_frames(
                piece,
                header.salt,
                0,
                scan.previous_crc,
                scan.next_lsn,
                replay=replay,
                sealed_lsn=synced.lsn,
                snapshot_lsn=0 if snapshot is None else snapshot.lsn,
            )
            scan, rest = join_scans(scan, step), piece[step.offset :]
            if len(rest):
                break
        if scan.end == "newer":
            raise too_new(f"{chapter.place}: offset {scan.offset}, LSN {scan.next_lsn}")
        # First of all, for behind a snapshot of another history no record makes sense.
        reached_lsn = replay.problem_lsn if replay.problem else scan.next_lsn
        for named, crc in ((synced, scan.sealed_crc), (snapshot, scan.snapshot_crc)):
            if named is not None and header.first_lsn <= named.lsn < reached_lsn:
                named.compare(chapter.place, crc)
        if replay.problem:
            refuse_record(chapter, scan, replay)
        return scan, rest

    # -- snapshots --------------------------------------------------------------------------------

    def fresh_replay(self, hash_key: bytes, key_ttl_ns: int) -> Replay:
        ledger = Ledger(
            accounts_max=self.capacity.accounts_max,
            keys_max=self.capacity.keys_max,
            key_ttl_ns=key_ttl_ns,
            ring_records=self.capacity.ring_records,
            hash_key=hash_key,
            keys_reserved=self.capacity.keys_reserved,
            keys_room=self.capacity.keys_room,
        )
        return Replay(ledger) if self.until_lsn is None else Replay(ledger, self.until_lsn)

    def load_newest_snapshot(self, first: SegmentHeader) -> tuple[Replay, Named | None]:
        """A replay that stands at the newest usable snapshot, and its name; or at nothing.

        A bad snapshot is passed over with a note: the journal can make it again. One of another
        history is not bad, and `replay_chapters` refuses it.
        """
        stored = self.store.snapshots()
        lsns = stored.lsns() if self.snapshots is None else self.snapshots
        # Also of those that are not needed: nothing goes on beside what a newer program wrote.
        headers = {lsn: stored.read_header(lsn) for lsn in lsns}
        for lsn in lsns:
            if self.until_lsn is not None and lsn > self.until_lsn:
                continue
            replay = self.fresh_replay(first.hash_key, first.key_ttl_ns)
            place, found = stored.place(lsn), headers[lsn]
            problem = load_snapshot(place, stored.read(lsn), lsn, first.ledger_id, replay)
            if problem is None and found is not None:
                return replay, Named(place, replay.lsn, found.previous_crc)
            if problem is not None and "keys_max" in problem and self.capacity.keys_room == 0:
                raise InvalidArgument("keys_max", problem)
            self.notes.append(f"{place}: passed over: {problem}")
        return self.fresh_replay(first.hash_key, first.key_ttl_ns), None


def begin_scan(chapter: Chapter) -> Scan:
    """Where a walk over a chapter begins."""
    header = chapter.header
    return Scan(chapter.start, header.previous_crc, header.first_lsn)


def join_scans(before: Scan, step: Scan) -> Scan:
    """One scan of two: the second begins, and counts its offsets, where the first ended."""
    return replace(
        step,
        offset=before.offset + step.offset,
        frames=before.frames + step.frames,
        last_offset=before.offset + step.last_offset if step.frames else before.last_offset,
        sealed_crc=before.sealed_crc if step.sealed_crc is None else step.sealed_crc,
        snapshot_crc=before.snapshot_crc if step.snapshot_crc is None else step.snapshot_crc,
    )


def refuse_record(chapter: Chapter, scan: Scan, replay: Replay) -> None:
    """Raise what is wrong with the record that the replay stopped at."""
    reason, lsn = replay.problem_text, replay.problem_lsn
    if replay.is_newer:
        raise too_new(f"{chapter.place}: offset {scan.offset}, LSN {lsn}: {reason}")
    for name in TOO_SMALL:
        if name in reason:
            raise InvalidArgument(name, f"{reason}; the ledger needs a larger one")
    raise Damage(chapter.place, scan.offset, lsn, reason, scan)


def load_snapshot(
    place: str, data: memoryview, lsn: int, ledger_id: bytes, replay: Replay | None
) -> str | None:
    """Take a snapshot into `replay` (or only check its frames); returns what is wrong with it.

    `data` is all of it, none where it is gone, and `lsn` the one that it is called by. Raises
    FormatTooNew.
    """
    header = read_segment_header(data) if len(data) else None
    if len(data) and is_newer_segment(data):
        raise too_new(f"{place}: offset 0")
    if header is None or header.kind != KIND_SNAPSHOT or header.ledger_id != ledger_id:
        return "this is no snapshot of this ledger"
    if replay is not None:
        set_key_ttl(replay.ledger, header.key_ttl_ns)
    scan = scan_frames(data, header.salt, SEGMENT_HEADER_BYTES, 0, 1, replay=replay)
    if scan.end == "newer" or (replay is not None and replay.is_newer):
        raise too_new(f"{place}: offset {scan.offset}")
    if replay is not None and replay.problem:
        return f"record {replay.problem_lsn}: {replay.problem_text}"
    if scan.offset != len(data):
        return f"offset {scan.offset}: this is no frame of it"
    if replay is not None and replay.lsn != header.first_lsn:
        return "it ends before its end"
    if lsn != header.first_lsn:
        return f"its name says another LSN than {header.first_lsn}, which it is of"
    return None
