"""Recovery: from the files of a directory to a ledger and the place where its journal goes on.

State = newest valid snapshot + the journal after it. Everything is checked on the way, and what
contradicts itself is refused with file, offset and LSN, never skipped. A torn tail is the one thing
that is let go: the last frame, if nothing says that it was ever synced.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .directory import DataDirectory, explained, map_file
from .errors import InvalidArgument, JournalDamaged
from .frames import (
    FRAME_ALIGNMENT,
    KIND_SNAPSHOT,
    SEGMENT_HEADER_BYTES,
    Scan,
    Seal,
    SegmentHeader,
    find_end,
    find_witness,
    read_segment_header,
    scan_frames,
)
from .ledger import Ledger
from .replay import Replay, set_key_ttl

Progress = Callable[[int, int], None]
Segment = tuple[Path, SegmentHeader]

TOO_SMALL = {"keys_max", "accounts_max"}


@dataclass(frozen=True, slots=True)
class Capacity:
    """How large the tables of a ledger are."""

    accounts_max: int
    keys_max: int
    ring_records: int
    keys_reserved: int = 0


@dataclass(slots=True)
class Recovered:
    """A ledger as its files tell it, and the tail of its journal."""

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
    seconds: float = 0.0


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
        """Return the recovered ledger; raises JournalDamaged, InvalidArgument."""
        started = time.perf_counter()
        seal = self.seal or self.directory.read_seal()
        if seal is None:
            raise JournalDamaged(f"{self.directory.seal}: there is no valid seal in it")
        segments = self.list_segments(seal)
        replay = self.load_newest_snapshot(segments)
        snapshot_lsn = replay.lsn
        recovered = self.replay_segments(segments, replay, seal)
        recovered.snapshot_lsn = snapshot_lsn
        recovered.seconds = time.perf_counter() - started
        return recovered

    # -- segments ---------------------------------------------------------------------------------

    def list_segments(self, seal: Seal) -> list[Segment]:
        """The segments in their order; raises JournalDamaged where one is missing or foreign."""
        segments: list[Segment] = []
        for path in self.directory.segment_paths():
            header = self.directory.read_header(path)
            if header.ledger_id != seal.ledger_id:
                raise JournalDamaged(f"{path}: offset 0: this segment is of another ledger")
            if segments and header.number != segments[-1][1].number + 1:
                raise JournalDamaged(f"{path}: segment {segments[-1][1].number + 1} is missing")
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
    ) -> Recovered:
        """Apply all segments after the snapshot, checking the chain from each to the next."""
        # A segment is skipped where the next one shows that the snapshot covers all of it.
        first = 0
        while first + 1 < len(segments) and segments[first + 1][1].first_lsn <= replay.lsn + 1:
            first += 1
        chosen = segments[first:]
        path, header = chosen[0]
        if header.first_lsn > replay.lsn + 1:
            raise JournalDamaged(f"{path}: LSN {replay.lsn + 1} is missing before this segment")
        scan = Scan(SEGMENT_HEADER_BYTES, header.previous_crc, header.first_lsn)
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
                data = map_file(path)
            scan = self.scan_segment(path, header, data, replay, seal)
            done += len(data)
            if self.progress is not None:
                self.progress(done, total)
        torn = 0
        if not self.sealed_only and (self.until_lsn is None or replay.lsn < self.until_lsn):
            torn = self.check_tail(path, header, data, scan, seal)
            if replay.lsn != scan.next_lsn - 1:
                self.refuse(path, data, scan, f"a snapshot goes on to LSN {replay.lsn}")
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
        )

    def scan_segment(
        self, path: Path, header: SegmentHeader, data: memoryview, replay: Replay, seal: Seal
    ) -> Scan:
        scan = scan_frames(
            data,
            header.salt,
            SEGMENT_HEADER_BYTES,
            header.previous_crc,
            header.first_lsn,
            replay=replay,
            sealed_lsn=seal.synced_lsn,
        )
        if replay.problem:
            self.refuse_record(path, scan, replay)
        if scan.sealed_crc is not None and scan.sealed_crc != seal.frame_crc:
            self.refuse(path, data, scan, "the journal is not the one that the seal was made for")
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
        witness = find_witness(data[:frames_end], scan.offset, header.salt, scan.next_lsn)
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
        )
        return Replay(ledger) if self.until_lsn is None else Replay(ledger, self.until_lsn)

    def load_newest_snapshot(self, segments: list[Segment]) -> Replay:
        """A replay that stands at the newest usable snapshot, or at nothing.

        A bad snapshot is passed over with a note: the journal can make it again, as long as it
        reaches back far enough, which `replay_segments` checks.
        """
        header = segments[0][1]
        paths = self.directory.snapshot_paths() if self.snapshots is None else self.snapshots
        for path in paths:
            replay = self.fresh_replay(header.hash_key, header.key_ttl_ns)
            problem = load_snapshot(path, header.ledger_id, replay)
            if problem is None and (self.until_lsn is None or replay.lsn <= self.until_lsn):
                return replay
            self.notes.append(f"{path}: passed over: {problem or 'newer than asked for'}")
        return self.fresh_replay(header.hash_key, header.key_ttl_ns)


def settle_tail(directory: DataDirectory, recovered: Recovered) -> None:
    """Put on the disk for good what was recovered, before anybody is told of it or builds on it.

    The last frame is written again, in case its sync had failed; what a torn one left behind it
    goes. Only for who holds the lock.
    """
    path = directory.segment_paths()[-1]
    directory.rewrite(path, recovered.last_offset or recovered.offset, recovered.offset)
    directory.clear_tail(path, recovered.offset)


def load_snapshot(path: Path, ledger_id: bytes, replay: Replay | None) -> str | None:
    """Take a snapshot into `replay` (or only check its frames); returns what is wrong with it."""
    data = memoryview(path.read_bytes())
    header = read_segment_header(data) if len(data) else None
    if header is None or header.kind != KIND_SNAPSHOT or header.ledger_id != ledger_id:
        return "this is no snapshot of this ledger"
    if replay is not None:
        set_key_ttl(replay.ledger, header.key_ttl_ns)
    scan = scan_frames(data, header.salt, SEGMENT_HEADER_BYTES, 0, 1, replay=replay)
    if replay is not None and replay.problem:
        return f"record {replay.problem_lsn}: {replay.problem_text}"
    if scan.offset != len(data):
        return f"offset {scan.offset}: this is no frame of it"
    if replay is not None and replay.lsn != header.first_lsn:
        return "it ends before its end"
    return None
