"""Logged time: it runs with the time since the boot, and the wall clock cannot age or freeze it."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ledgercore
from ledgercore.ledger import Ledger
from ledgercore.logged_time import (
    LEAD_NS_MAX,
    choose_start,
    decode_clock,
    encode_clock,
    read_boot_id,
    read_lead_ns,
    read_logged_ns,
    start_clock,
)
from tests.support.histories import listing, open_funded, open_small
from tests.support.servers import ROOT
from tests.support.stepped_clock import SCENARIOS

BOOT, OTHER = b"b" * 16, b"o" * 16
SECOND = 10**9
HOUR = 3600 * SECOND


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that steps the clocks."""
    library = tmp_path_factory.mktemp("clock") / "stepped_clock.so"
    compiler = sysconfig.get_config_var("CC").split()[0]
    source = ROOT / "tests/support/stepped_clock.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return library


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_steps_of_the_clock(shim: Path, tmp_path: Path, scenario: str) -> None:
    offsets = tmp_path / "offsets"
    offsets.write_bytes(bytes(16))
    preloaded = ":".join(filter(None, [os.environ.get("LD_PRELOAD"), str(shim)]))
    told = subprocess.run(
        [sys.executable, "-m", "tests.support.stepped_clock", scenario, tmp_path / "ledger"],
        cwd=ROOT,
        env={**os.environ, "LD_PRELOAD": preloaded, "STEPPED_CLOCK": str(offsets)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    ("known", "wall_ns", "newest_ns", "start_ns"),
    [
        # No file, or one of another boot: the wall clock, but never behind what was logged.
        (None, 50 * HOUR, 0, 50 * HOUR),
        (None, 50 * HOUR, 51 * HOUR, 51 * HOUR),
        ((OTHER, 0, 10 * HOUR, 0), 50 * HOUR, 9 * HOUR, 50 * HOUR),
        # Of this boot: it goes on, whatever the wall clock says.
        ((BOOT, 0, 10 * HOUR, 0), 50 * HOUR, 9 * HOUR, 17 * HOUR),
        ((BOOT, 0, 10 * HOUR, 0), 16 * HOUR, 9 * HOUR, 17 * HOUR),
        # A stale file does not let time go back.
        ((BOOT, 0, 10 * HOUR, 0), 50 * HOUR, 18 * HOUR, 18 * HOUR),
        # A lead is worked off on the way: five of the seven hours at nine tenths.
        ((BOOT, 0, 10 * HOUR, 5 * HOUR), 50 * HOUR, 0, 16 * HOUR + HOUR // 2),
        # The time since the boot went back, so it is another boot, whatever its id says.
        ((BOOT, 8 * HOUR, 10 * HOUR, 0), 50 * HOUR, 9 * HOUR, 50 * HOUR),
    ],
)
def test_where_time_starts(
    known: tuple[bytes, int, int, int] | None, wall_ns: int, newest_ns: int, start_ns: int
) -> None:
    assert choose_start(known, BOOT, 7 * HOUR, wall_ns, newest_ns) == start_ns


def test_a_boot_without_an_id_is_another_boot_each_time() -> None:
    known = (bytes(16), 0, 10 * HOUR, 0)
    assert choose_start(known, bytes(16), 7 * HOUR, 50 * HOUR, 0) == 50 * HOUR


def test_a_lead_of_more_than_a_day_is_refused_unless_it_is_accepted() -> None:
    newest_ns = 1000 * HOUR
    wall_ns = newest_ns - LEAD_NS_MAX
    assert choose_start(None, BOOT, 0, wall_ns, newest_ns) == newest_ns
    with pytest.raises(ledgercore.ClockRefused, match="1970-02-11T16:00:00Z"):
        choose_start(None, BOOT, 0, wall_ns - 1, newest_ns)
    assert choose_start(None, BOOT, 0, wall_ns - 1, newest_ns, True) == newest_ns
    # Accepted, the wall clock counts within a boot as well, where it is ahead.
    known = (BOOT, 0, newest_ns, 0)
    assert choose_start(known, BOOT, 0, newest_ns + HOUR, newest_ns, True) == newest_ns + HOUR


def test_the_file_is_read_as_it_was_written_and_every_flip_is_seen() -> None:
    data = encode_clock(BOOT, 1, 2, 3)
    assert len(data) == 64 and decode_clock(data) == (BOOT, 1, 2, 3)
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert decode_clock(bytes(flipped)) is None
    for length in (0, 63, 65):
        assert decode_clock(data.ljust(65, b"\0")[:length]) is None


def test_a_lost_or_damaged_file_costs_the_anchor_and_nothing_else(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        first = ledger.transfer("world", "alice", 1, key="first")
    for data in (None, b"", b"damaged" * 9):
        (directory / "clock").unlink() if data is None else (directory / "clock").write_bytes(data)
        with open_small(directory) as ledger:
            assert ledger.transfer("world", "alice", 1, key="first").replayed
            assert ledger.transfer("world", "alice", 1, key=repr(data)).time_ns > first.time_ns
        assert decode_clock((directory / "clock").read_bytes()) is not None


def test_a_clock_of_a_newer_program_is_left_as_it_is(directory: Path) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
    newer = b"LCCLOCK2" + (directory / "clock").read_bytes()[8:]
    (directory / "clock").write_bytes(newer)
    before = listing(directory / "journal"), listing(directory / "snapshots")
    with pytest.raises(ledgercore.FormatTooNew, match="clock: this was written by a newer"):
        open_small(directory)
    assert (listing(directory / "journal"), listing(directory / "snapshots")) == before
    assert (directory / "clock").read_bytes() == newer


def test_a_boot_has_an_id(tmp_path: Path) -> None:
    assert len(read_boot_id()) == 16 and read_boot_id() == read_boot_id() != bytes(16)
    assert read_boot_id(tmp_path / "nothing") == bytes(16)
    (tmp_path / "odd").write_text("no id\n")
    assert read_boot_id(tmp_path / "odd") == bytes(16)


def test_the_time_of_a_ledger_never_goes_back_at_its_start() -> None:
    ledger = Ledger(
        accounts_max=2, keys_max=64, key_ttl_ns=SECOND, ring_records=64, hash_key=bytes(16)
    )
    before_ns = read_logged_ns(ledger)
    saved = decode_clock(start_clock(ledger))
    assert saved is not None and saved[0] == read_boot_id() and saved[2] >= before_ns
    assert read_logged_ns(ledger) >= saved[2] and abs(read_lead_ns(ledger)) < SECOND
