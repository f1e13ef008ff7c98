"""Recovery: from the files of a directory to a ledger and the place where its journal goes on.

State = newest valid snapshot + the journal after it. Everything is checked on the way, and what
contradicts itself is refused with file, offset and LSN, never skipped. A torn tail is the one thing
that is let go: the last frame, if nothing says that it was ever synced.

The files have to be of one history: the seal and the snapshot each name the checksum of the frame
at their LSN, which stands for all that came before it, and each segment that of the frame before
it. The journal is never trimmed, so a segment that is not there is always a loss.
"""

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .directory import DataDirectory, explained, map_file, segment_name, too_new
from .errors import InvalidArgument, JournalDamaged
from .frames import (
    FRAME_ALIGNMENT,
    KIND_SNAPSHOT,
    SEGMENT_HEADER_BYTES,
    Scan,
    Seal,
    SegmentHeader,
    find_end,
    find_later_synced,
    is_newer_segment,
    read_segment_header,
    scan_frames,
)
from .ledger import Ledger
from .replay import Replay, set_key_ttl

Progress = Callable[[int, int], None]
Segment = tuple[Path, SegmentHeader]

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


@dataclass(slots=True)
class Recovered:
    """A ledger as its files tell it, and the tail of its journal.

    `first_lsn` is where reading the journal began; of what came before only the snapshot tells.
    `notes` names the snapshots that were passed over, and why.
    """

    ledger: Ledger
    lsn: int
    header: SegmentHeader
    offset: int
    previous_crc: int
    seal: Seal
    last_offset: int = 0
    records: int = 0
    transfers: int = 0
    refusals: int = 0
    torn_bytes: int = 0
    snapshot_lsn: int = 0
    first_lsn: int = 1
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Named:
    """A file that names the frame at an LSN by its checksum, and so all that came before it."""

    path: Path
    lsn: int
    crc: int

    def compare(self, segment: Path, crc: int | None) -> None:
        """Raise JournalDamaged unless this is the checksum; None where no frame ends there."""
        if self.lsn > 0 and crc != self.crc:
            raise JournalDamaged(
                f"{self.path}: this is of another history than {segment}, where LSN {self.lsn}"
                f" {'is within a frame' if crc is None else 'has another checksum'}"
            )


class Damage(JournalDamaged):
    """Damage at a known place: what `repair` needs to cut it off."""

    def __init__(self, path: Path, offset: int, lsn: int, reason: str, scan: Scan) -> None:
        super().__init__(f"{path}: offset {offset}, LSN {lsn}: {reason}")
        self.path = path
        self.offset = offset
        self.lsn = lsn
        self.reason = reason
        self.scan = scan


class Recovery:
    """One run of recovery over a directory. Reads only."""

    def __init__(
        self,
        directory: DataDirectory,
        capacity: Capacity,
        *,
        until_lsn: int | None = None,
        sealed_only: bool = False,
        seal: Seal | None = None,
        snapshots: list[Path] | None = None,
        progress: Progress | None = None,
    ) -> None:
        """`until_lsn` stops there, `sealed_only` before the segment that is being written.

        A `seal`, or a list of `snapshots`, that is given counts in the place of the directory's.
        """
        self.directory = directory
        self.capacity = capacity
        self.until_lsn = until_lsn
        self.sealed_only = sealed_only
        self.snapshots = snapshots
        self.seal = seal
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
        seal = self.seal or self.directory.read_seal()
        if seal is None:
            raise JournalDamaged(f"{self.directory.seal}: there is no valid seal in it")
        segments = self.list_segments(seal)
        replay, snapshot = self.load_newest_snapshot(segments)
        recovered = self.replay_segments(segments, replay, seal, snapshot)
        recovered.snapshot_lsn = 0 if snapshot is None else snapshot.lsn
        recovered.notes = tuple(self.notes)
        return recovered

    # -- segments ---------------------------------------------------------------------------------

    def list_segments(self, seal: Seal) -> list[Segment]:
        """The segments in their order; raises JournalDamaged where one is missing or foreign."""
        segments: list[Segment] = []
        for number, path in enumerate(self.directory.segment_paths(), 1):
            header = self.directory.read_header(path)
            if header.ledger_id != seal.ledger_id:
                raise JournalDamaged(f"{path}: offset 0: this segment is of another ledger")
            if header.number != number:
                missing = self.directory.journal / segment_name(number)
                raise JournalDamaged(f"{missing}: this segment is missing before {path}")
            before = segments[-1][1] if segments else replace(header, first_lsn=1)
            begins_well = number > 1 or (header.first_lsn, header.previous_crc) == (1, 0)
            if (
                not begins_well
                or header.first_lsn < before.first_lsn
                or header.hash_key != before.hash_key
            ):
                raise JournalDamaged(f"{path}: offset 0: this segment is of another history")
            segments.append((path, header))
        if not segments or segments[-1][1].number < seal.segment:
            raise JournalDamaged(
                f"{self.directory.journal}: segment {seal.segment} is missing, which the seal names"
            )
        return segments

    def replay_segments(
        self,
        segments: list[Segment],
        replay: Replay,
        seal: Seal,
        snapshot: Named | None,
    ) -> Recovered:
        """Apply all segments after the snapshot, checking the chain from each to the next."""
        sealed = Named(self.directory.seal, seal.synced_lsn, seal.frame_crc)
        # A segment is skipped where the next one shows that the snapshot covers all of it, and
        # that the frame which the seal names comes later.
        needed_lsn = min(replay.lsn, seal.synced_lsn) + 1
        first = 0
        while first + 1 < len(segments) and segments[first + 1][1].first_lsn <= needed_lsn:
            first += 1
        chosen = segments[first:]
        path, header = chosen[0]
        scan = Scan(SEGMENT_HEADER_BYTES, header.previous_crc, header.first_lsn)
        for named in (sealed, snapshot):
            if named is not None and named.lsn == header.first_lsn - 1:
                named.compare(path, header.previous_crc)
        data = memoryview(b"")
        total, done = sum(path.stat().st_size for path, _ in chosen), 0
        for number, (path, header) in enumerate(chosen):
            if scan.end == "stopped":
                break
            if header.previous_crc != scan.previous_crc or header.first_lsn != scan.next_lsn:
                reason = "the journal breaks off before the end"
                self.refuse(chosen[number - 1][0], data, scan, reason)
            if self.sealed_only and number == len(chosen) - 1:
                break
            if not set_key_ttl(replay.ledger, header.key_ttl_ns):
                raise InvalidArgument("key_ttl_s", "was changed to more than 256 different values")
            with explained(path):
                data = map_file(path, is_read_through=True)
            scan = self.scan_segment(path, header, data, replay, sealed, snapshot)
            done += len(data)
            if self.progress is not None:
                self.progress(done, total)
        torn = 0
        if not self.sealed_only and (self.until_lsn is None or replay.lsn < self.until_lsn):
            torn = self.check_tail(path, header, data, scan, seal)
            if snapshot is not None and snapshot.lsn >= scan.next_lsn:
                raise JournalDamaged(
                    f"{snapshot.path}: the snapshot goes on to LSN {snapshot.lsn}, and the journal"
                    f" ends with LSN {scan.next_lsn - 1}: they are not of one history"
                )
        return Recovered(
            ledger=replay.ledger,
            lsn=replay.lsn,
            header=header,
            offset=scan.offset,
            previous_crc=scan.previous_crc,
            seal=seal,
            last_offset=scan.last_offset,
            records=replay.records,
            transfers=replay.transfers,
            refusals=replay.refusals,
            torn_bytes=torn,
            first_lsn=chosen[0][1].first_lsn,
        )

    def scan_segment(
        self,
        path: Path,
        header: SegmentHeader,
        data: memoryview,
        replay: Replay,
        sealed: Named,
        snapshot: Named | None,
    ) -> Scan:
        scan = scan_frames(
            data,
            header.salt,
            SEGMENT_HEADER_BYTES,
            header.previous_crc,
            header.first_lsn,
            replay=replay,
            sealed_lsn=sealed.lsn,
            snapshot_lsn=0 if snapshot is None else snapshot.lsn,
        )
        if scan.end == "newer":
            raise too_new(f"{path}: offset {scan.offset}, LSN {scan.next_lsn}")
        # First of all, for behind a snapshot of another history no record makes sense.
        reached_lsn = replay.problem_lsn if replay.problem else scan.next_lsn
        for named, crc in ((sealed, scan.sealed_crc), (snapshot, scan.snapshot_crc)):
            if named is not None and header.first_lsn <= named.lsn < reached_lsn:
                named.compare(path, crc)
        if replay.problem:
            self.refuse_record(path, scan, replay)
        return scan

    def check_tail(
        self, path: Path, header: SegmentHeader, data: memoryview, scan: Scan, seal: Seal
    ) -> int:
        """Tell a torn tail from damage; returns how many bytes lie behind the last whole frame."""
        if seal.synced_lsn >= scan.next_lsn:
            self.refuse(path, data, scan, f"the seal says that LSN {seal.synced_lsn} was synced")
        end = find_end(data, scan.offset)
        # A frame may end in zeros, to the next multiple of its alignment.
        frames_end = -(-end // FRAME_ALIGNMENT) * FRAME_ALIGNMENT
        witness = find_later_synced(data[:frames_end], scan.offset, header.salt, scan.next_lsn)
        if witness is not None:
            self.refuse(path, data, scan, f"a later frame, at {witness}, says that it was synced")
        return end - scan.offset

    def refuse(self, path: Path, data: memoryview, scan: Scan, reason: str) -> None:
        """Raise Damage, showing the bytes at hand."""
        shown = bytes(data[scan.offset : scan.offset + 16]).hex(" ") or "the end of the file"
        raise Damage(path, scan.offset, scan.next_lsn, f"{reason}; there is: {shown}", scan)

    def refuse_record(self, path: Path, scan: Scan, replay: Replay) -> None:
        """Raise what is wrong with the record that the replay stopped at."""
        reason = replay.problem_text
        if replay.is_newer:
            raise too_new(f"{path}: offset {scan.offset}, LSN {replay.problem_lsn}: {reason}")
        for name in TOO_SMALL:
            if name in reason:
                raise InvalidArgument(name, f"{reason}; the ledger needs a larger one")
        raise Damage(path, scan.offset, replay.problem_lsn, reason, scan)

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

    def load_newest_snapshot(self, segments: list[Segment]) -> tuple[Replay, Named | None]:
        """A replay that stands at the newest usable snapshot, and its name; or at nothing.

        A bad snapshot is passed over with a note: the journal can make it again. One of another
        history is not bad, and `replay_segments` refuses it.
        """
        header = segments[0][1]
        paths = self.directory.snapshot_paths() if self.snapshots is None else self.snapshots
        # Also of those that are not needed: nothing goes on beside what a newer program wrote.
        headers = {path: self.directory.read_any_header(path) for path in paths}
        for path in paths:
            if self.until_lsn is not None and int(path.stem) > self.until_lsn:
                continue
            replay = self.fresh_replay(header.hash_key, header.key_ttl_ns)
            problem = load_snapshot(path, header.ledger_id, replay)
            found = headers[path]
            if problem is None and found is not None:
                return replay, Named(path, replay.lsn, found.previous_crc)
            if problem is not None and "keys_max" in problem and self.capacity.keys_room == 0:
                raise InvalidArgument("keys_max", problem)
            self.notes.append(f"{path}: passed over: {problem}")
        return self.fresh_replay(header.hash_key, header.key_ttl_ns), None


def settle_tail(directory: DataDirectory, recovered: Recovered) -> None:
    """Put on the disk for good what was recovered, before anybody is told of it or builds on it.

    The last frame is written again, in case its sync had failed; what a torn one left behind it
    goes. Only for who holds the lock.
    """
    path = directory.segment_paths()[-1]
    directory.rewrite(path, recovered.last_offset or recovered.offset, recovered.offset)
    directory.clear_tail(path, recovered.offset)


def load_snapshot(path: Path, ledger_id: bytes, replay: Replay | None) -> str | None:
    """Take a snapshot into `replay` (or only check its frames); returns what is wrong with it.

    Raises FormatTooNew.
    """
    data = memoryview(b"")
    with explained(path), suppress(FileNotFoundError):
        data = map_file(path, is_read_through=True)
    header = read_segment_header(data) if len(data) else None
    if len(data) and is_newer_segment(data):
        raise too_new(f"{path}: offset 0")
    if header is None or header.kind != KIND_SNAPSHOT or header.ledger_id != ledger_id:
        return "this is no snapshot of this ledger"
    if replay is not None:
        set_key_ttl(replay.ledger, header.key_ttl_ns)
    scan = scan_frames(data, header.salt, SEGMENT_HEADER_BYTES, 0, 1, replay=replay)
    if scan.end == "newer" or (replay is not None and replay.is_newer):
        raise too_new(f"{path}: offset {scan.offset}")
    if replay is not None and replay.problem:
        return f"record {replay.problem_lsn}: {replay.problem_text}"
    if scan.offset != len(data):
        return f"offset {scan.offset}: this is no frame of it"
    if replay is not None and replay.lsn != header.first_lsn:
        return "it ends before its end"
    if path.suffix == ".snapshot" and int(path.stem) != header.first_lsn:
        return f"its name says another LSN than {header.first_lsn}, which it is of"
    return None
