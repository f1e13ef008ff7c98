"""The victim of test_logged_time.py: a ledger whose clocks are stepped under it.

Run as `python -m tests.support.stepped_clock SCENARIO DIRECTORY` with stepped_clock.c preloaded. It
owns the clocks' file, and ends with an error where what a scenario claims does not hold.
"""

import mmap
import os
import struct
import sys
import time
from pathlib import Path

import pytest

import ledgercore
from ledgercore import Engine, Status
from tests.support.histories import crash_copy, open_funded, open_small

SECOND = 10**9
HOUR = 3600 * SECOND
DAY = 24 * HOUR
YEAR = 365 * DAY
NEAR = 10 * SECOND
"""What a busy machine may take between two lines here."""


class Clocks:
    """The steps of the wall clock, and of the time since the boot."""

    def __init__(self) -> None:
        with open(os.environ["STEPPED_CLOCK"], "r+b") as file:
            self._map = mmap.mmap(file.fileno(), 16)

    def set(self, *, wall_ns: int, boot_ns: int = 0) -> None:
        """Set both off by so much against the machine's own."""
        real = time.clock_gettime_ns(time.CLOCK_REALTIME) - struct.unpack("<q", self._map[:8])[0]
        self._map[:] = struct.pack("<qq", wall_ns, boot_ns)
        assert abs(time.time_ns() - wall_ns - real) < NEAR, "the clock is not stepped"


def pay(ledger: Engine, key: str) -> ledgercore.Outcome:
    return ledger.transfer("world", "alice", 1, key=key)


def step_forward_for_one_request(clocks: Clocks, directory: Path) -> None:
    """Two hours ahead for one request, a lifetime of one hour: the key moves no money again."""
    with open_small(directory, key_ttl_s=3600) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = pay(ledger, "k")
        clocks.set(wall_ns=2 * HOUR)
        again, other = pay(ledger, "k"), pay(ledger, "other")
        assert (again.id, again.replayed) == (first.id, True)
        clocks.set(wall_ns=0)
        assert pay(ledger, "k").replayed and ledger.balance("alice") == 2
        assert other.time_ns - first.time_ns < NEAR
        # And a lifetime is over when that much time has passed, whatever the wall clock says.
        clocks.set(wall_ns=0, boot_ns=HOUR)
        assert pay(ledger, "k").status is Status.KEY_EXPIRED
        assert pay(ledger, "late").time_ns - first.time_ns >= HOUR


def step_ahead_and_back(clocks: Clocks, directory: Path) -> None:
    """A start with a clock that is years ahead: time goes on, and keys expire."""
    clocks.set(wall_ns=10 * YEAR)
    with open_small(directory, key_ttl_s=3600) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = pay(ledger, "first")
    clocks.set(wall_ns=0)
    with pytest.raises(ledgercore.ClockRefused, match="accept"):
        open_small(directory, key_ttl_s=3600)
    with open_small(directory, key_ttl_s=3600, accept_clock=1) as ledger:
        second = pay(ledger, "second")
        assert 0 < second.time_ns - first.time_ns < NEAR and pay(ledger, "first").replayed
        clocks.set(wall_ns=2 * HOUR, boot_ns=2 * HOUR)
        third = pay(ledger, "third")
        passed = third.time_ns - second.time_ns
        assert abs(passed - 9 * 2 * HOUR // 10) < NEAR, "nine tenths of the time pass"
        assert pay(ledger, "second").status is Status.KEY_EXPIRED
        assert abs(ledger.statistics().clock_lead_ns - 10 * YEAR) < HOUR


def work_off_a_lead(clocks: Clocks, directory: Path) -> None:
    """Two hours ahead are worked off in twenty, over restarts too; then the clocks agree."""
    clocks.set(wall_ns=2 * HOUR)
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        pay(ledger, "before")
    for hours, left in [(0, 20), (5, 15), (15, 5), (20, 0), (30, 0)]:
        clocks.set(wall_ns=hours * HOUR, boot_ns=hours * HOUR)
        with open_small(directory) as ledger:
            lead_ns = ledger.statistics().clock_lead_ns
            assert abs(lead_ns - left * HOUR // 10) < NEAR, (hours, lead_ns)
            clock_ns = time.time_ns()
            assert abs(pay(ledger, f"at-{hours}").time_ns - clock_ns - lead_ns) < NEAR


def step_while_it_runs(clocks: Clocks, directory: Path) -> None:
    """Set back in a run, the lead is worked off in the run; set forward, nothing is aged."""
    with open_small(directory, key_ttl_s=3600) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = pay(ledger, "first")
        clocks.set(wall_ns=-HOUR, boot_ns=2 * SECOND)
        pay(ledger, "looks")
        clocks.set(wall_ns=-HOUR + 10 * HOUR, boot_ns=2 * SECOND + 10 * HOUR)
        last = pay(ledger, "last")
        assert abs(last.time_ns - first.time_ns - 9 * HOUR) < NEAR
        assert abs(ledger.statistics().clock_lead_ns) < NEAR
        clocks.set(wall_ns=10 * HOUR + YEAR, boot_ns=2 * SECOND + 10 * HOUR)
        assert abs(ledger.statistics().clock_lead_ns + YEAR) < 2 * HOUR
        assert pay(ledger, "last").replayed and pay(ledger, "new").time_ns - last.time_ns < NEAR
    # A restart in the same boot does not follow a clock that was set forward either.
    with open_small(directory, key_ttl_s=3600) as ledger:
        assert pay(ledger, "last").replayed


def killed_after_a_step(clocks: Clocks, directory: Path) -> None:
    """Set back in a run that is killed: the next start ages no key by what was held back."""
    killed = directory.with_name("killed")
    with open_small(directory, key_ttl_s=3600) as ledger:
        open_funded(ledger, ["alice"], 0)
        clocks.set(wall_ns=-2 * HOUR, boot_ns=2 * SECOND)
        pay(ledger, "looks")
        clocks.set(wall_ns=10 * HOUR - 2 * HOUR, boot_ns=2 * SECOND + 10 * HOUR)
        first = pay(ledger, "k")
        crash_copy(directory, killed)
    with open_small(killed, key_ttl_s=3600) as ledger:
        again = pay(ledger, "k")
        assert (again.id, again.replayed) == (first.id, True), again
        assert pay(ledger, "next").time_ns - first.time_ns < NEAR


def boot_anew(clocks: Clocks, directory: Path) -> None:
    """Over a boot the wall clock is believed, but never behind what was logged."""
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = pay(ledger, "first")
    # A clock file of another boot, as far as the program can tell: time since the boot is less.
    clocks.set(wall_ns=5 * DAY, boot_ns=-time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 2)
    with open_small(directory) as ledger:
        second = pay(ledger, "second")
        assert abs(second.time_ns - first.time_ns - 5 * DAY) < NEAR
    clocks.set(wall_ns=5 * DAY - HOUR, boot_ns=-3 * time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 2)
    with open_small(directory) as ledger:
        assert 0 < pay(ledger, "third").time_ns - second.time_ns < NEAR
        assert abs(ledger.statistics().clock_lead_ns - HOUR) < NEAR


SCENARIOS = {
    scenario.__name__: scenario
    for scenario in (
        step_forward_for_one_request,
        step_ahead_and_back,
        work_off_a_lead,
        step_while_it_runs,
        killed_after_a_step,
        boot_anew,
    )
}

if __name__ == "__main__":
    SCENARIOS[sys.argv[1]](Clocks(), Path(sys.argv[2]))
