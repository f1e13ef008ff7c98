"""The memory of nonces under any sequence of requests, clocks, kills, power cuts and damage."""

import logging
import math
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ledgercore.service.access import nonce_file
from ledgercore.service.access.nonce_file import RESERVE_S
from ledgercore.service.access.nonce_records import NEVER, RECORD, RECORDS_OFFSET
from ledgercore.service.access.nonces import NonceMemory
from tests.service.access.test_nonces import Clock
from tests.support.disks import Disk, LatePool

SHORT_S = 4
CLIENTS, NONCES = st.sampled_from("ab"), st.sampled_from("xyz")


class AnySequence(RuleBasedStateMachine):
    """Whatever clock, disk and power do, nothing passes twice, and who is honest passes."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())
        self.path = self.folder / "nonces"
        self.boot = self.folder / "boot_id"
        self.boots = 0
        self.clock = Clock(1000.0)
        self.passed: set[tuple[str, str, int]] = set()
        # What power cuts and damage have closed, and the latest moment of it all.
        self.closed_s = NEVER
        self.latest_s = 0
        self.fresh = 0
        self.disk = Disk()
        self.pool = LatePool()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(nonce_file, "os", self.disk)
        self.patch.setattr(nonce_file, "ThreadPoolExecutor", lambda *_: self.pool)
        logging.getLogger("ledgercore").disabled = True
        self.boot_anew()
        self.open()

    def boot_anew(self) -> None:
        self.boots += 1
        self.boot.write_text(f"00000000-0000-0000-0000-{self.boots:012x}\n")

    def open(self) -> None:
        self.memory = NonceMemory(
            self.path, window_s=SHORT_S, clock=self.clock, boot_id_path=self.boot
        )

    def kill(self) -> None:
        # What was not synced yet is still in the cache of the kernel.
        self.pool.futures.clear()
        self.disk.kill()

    @rule(client=CLIENTS, nonce=NONCES, lead_s=st.integers(-SHORT_S - 1, SHORT_S + 1))
    def remember(self, client: str, nonce: str, lead_s: int) -> None:
        second = math.floor(self.clock.now_s) + lead_s
        if self.memory.remember(client, nonce, second):
            assert abs(second - self.clock.now_s) <= SHORT_S
            assert (client, nonce, second) not in self.passed
            self.passed.add((client, nonce, second))

    @rule()
    def replay(self) -> None:
        assert not any(self.memory.remember(*request) for request in sorted(self.passed))

    @rule()
    def honest(self) -> None:
        """Tell that what is signed after all that was accepted passes; but see `closed_s`."""
        second = math.floor(self.clock.now_s)
        latest_s = max((second for _, _, second in self.passed), default=NEVER)
        if second > max(latest_s, self.closed_s):
            self.fresh += 1
            assert self.memory.remember("honest", f"{self.fresh}", second)
            self.passed.add(("honest", f"{self.fresh}", second))

    @rule(step_s=st.one_of(st.sampled_from([0.25, 0.5, 1, 2, 5, 10]), st.integers(-12, 12)))
    def tick(self, step_s: float) -> None:
        self.clock.now_s = max(100.0, self.clock.now_s + step_s)

    @rule()
    def finish_sync(self) -> None:
        self.pool.work()

    @rule()
    def restart(self) -> None:
        closed_s, is_syncing = self.memory.closed_s, bool(self.pool.futures)
        latest_s = max((second for _, _, second in self.passed), default=0)
        self.kill()
        self.open()
        if is_syncing:
            # As after a power cut, from which it cannot be told.
            assert self.memory.closed_s <= max(latest_s, self.latest_s) + RESERVE_S
            self.closed_s = max(self.closed_s, self.memory.closed_s)
        else:
            assert self.memory.closed_s <= closed_s

    @rule(half=st.integers(1, RECORD.size - 1))
    def restart_with_half_a_record(self, half: int) -> None:
        self.kill()
        with self.path.open("ab") as file:
            file.write(b"x" * half)
        self.open()
        self.closed_s = max(self.closed_s, self.memory.closed_s)

    @rule(data=st.data())
    def cut_power(self, data: st.DataObject) -> None:
        latest_s = max((second for _, _, second in self.passed), default=0)
        self.kill()
        synced, whole = self.disk.synced(self.path), self.path.read_bytes()
        assert len(synced) >= RECORDS_OFFSET
        kept = data.draw(st.integers(len(synced), len(whole)), label="bytes kept")
        left = synced + whole[len(synced) : kept]
        if data.draw(st.booleans(), label="state too"):
            left = whole[:RECORDS_OFFSET] + left[RECORDS_OFFSET:]
        if data.draw(st.booleans(), label="as zeros"):
            left += bytes(len(whole) - kept)
        self.path.write_bytes(left)
        if (
            data.draw(st.booleans(), label="another boot")
            or left[:RECORDS_OFFSET] != synced[:RECORDS_OFFSET]
        ):
            self.boot_anew()
        self.open()
        # Nothing is closed beyond what a reservation reaches.
        assert self.memory.closed_s <= max(latest_s, self.latest_s) + RESERVE_S
        self.closed_s = max(self.closed_s, self.memory.closed_s)

    @rule(place=st.floats(0, 0.999), is_cut=st.booleans())
    def damage(self, place: float, is_cut: bool) -> None:
        self.kill()
        data = bytearray(self.path.read_bytes())
        data[int(place * (len(data) - len(data) % RECORD.size))] ^= 0x40
        self.path.write_bytes(data)
        if is_cut:
            self.boot_anew()
        self.open()
        self.closed_s = max(self.closed_s, self.memory.closed_s)

    @rule(place=st.floats(0, 0.999), is_shorter=st.booleans())
    def take_out(self, place: float, is_shorter: bool) -> None:
        """Let a record, or all from it on, be missing, within one boot."""
        self.kill()
        data = self.path.read_bytes()
        count = (len(data) - RECORDS_OFFSET) // RECORD.size
        start = RECORDS_OFFSET + int(place * count) * RECORD.size
        self.path.write_bytes(
            data[:start] + data[start + RECORD.size if is_shorter else len(data) :]
        )
        self.open()
        self.closed_s = max(self.closed_s, self.memory.closed_s)

    @invariant()
    def note_time(self) -> None:
        self.latest_s = max(self.latest_s, math.ceil(self.clock.now_s), self.closed_s)

    def teardown(self) -> None:
        self.kill()
        self.patch.undo()
        logging.getLogger("ledgercore").disabled = False
        shutil.rmtree(self.folder)


AnySequence.TestCase.settings = settings(max_examples=200, stateful_step_count=40, deadline=None)
test_any_sequence = AnySequence.TestCase
