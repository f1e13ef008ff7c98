"""Every kind of damage, and every command: they agree on what is damaged, and one mends it.

A start reads only what no snapshot covers, so it may pass what `verify` finds below one; it never
passes what `verify` finds above.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import ledgercore
from tests.support.damage import (
    Files,
    directory_in_memory,
    flipped,
    frames_of,
    read_files,
    write_files,
    zeroed,
)
from tests.support.histories import balances_of, journal_files, open_small
from tests.support.making import make_long

FIRST, SECOND, LAST = (f"journal/000000000{number}.segment" for number in (1, 2, 3))
NOISE_BYTES = 4096
Damaging = Callable[[Files], Files]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    """A closed ledger of three journal files, with a snapshot in the third, and more behind it."""
    directory = tmp_path_factory.mktemp("kinds") / "ledger"
    make_long(directory)
    ledgercore.compact(directory)
    with open_small(directory) as ledger:
        for number in range(3):
            ledger.transfer("world", "bob", 1, key=f"later-{number}")
    return read_files(directory)


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as directory:
        yield directory


def changed(name: str, change: Callable[[bytes], bytes]) -> Damaging:
    return lambda files: files | {name: change(files[name])}


def without(*names: str) -> Damaging:
    return lambda files: {name: data for name, data in files.items() if name not in names}


def noise(data: bytes) -> bytes:
    """The data with a page of noise in the middle."""
    middle = len(data) // 2
    spoilt = bytes(byte ^ 0x5A for byte in data[middle : middle + NOISE_BYTES])
    return data[:middle] + spoilt + data[middle + NOISE_BYTES :]


def without_last_frame(data: bytes) -> bytes:
    last = frames_of(data)[-1]
    return zeroed(data, last.offset, last.offset + last.length)


def of_snapshot(change: Callable[[bytes], bytes]) -> Damaging:
    def damage(files: Files) -> Files:
        name = next(name for name in files if name.endswith(".snapshot"))
        return files | {name: change(files[name])}

    return damage


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


# What verify and repair find, and whether a start does: it does not read below a snapshot.
COVERED: dict[str, tuple[Damaging, bool]] = {
    "noise": (changed(SECOND, noise), False),
    "noise in the first": (changed(FIRST, noise), False),
    "a page of zeros": (changed(SECOND, lambda data: zeroed(data, 1 << 20, 2 << 20)), False),
    "cut short": (changed(SECOND, half), False),
    "last frame gone": (changed(SECOND, without_last_frame), False),
    "header": (changed(SECOND, lambda data: flipped(data, 50)), True),
    "empty": (changed(SECOND, lambda data: b""), True),
    "missing": (without(SECOND), True),
}
MENDED: dict[str, Damaging] = {
    "noise in the last": changed(LAST, lambda data: flipped(data, frames_of(data)[1].offset + 9)),
    "last frame gone": changed(LAST, without_last_frame),
    "last missing": without(LAST),
    "last header": changed(LAST, lambda data: flipped(data, 20)),
    "last two missing": without(SECOND, LAST),
    "seal missing": without("seal"),
    "seal of zeros": changed("seal", lambda data: bytes(len(data))),
}
FALSE_SNAPSHOTS: dict[str, Damaging] = {
    "snapshot header": of_snapshot(lambda data: flipped(data, 20)),
    "snapshot frame": of_snapshot(lambda data: flipped(data, 5000)),
    "snapshot cut short": of_snapshot(half),
    "snapshot empty": of_snapshot(lambda data: b""),
}
HOPELESS: dict[str, Damaging] = {
    "first missing": without(FIRST),
    "first header": changed(FIRST, lambda data: flipped(data, 50)),
    "all missing": without(FIRST, SECOND, LAST),
}


def finds_damage(directory: Path) -> bool:
    """Whether `verify` says that something is wrong."""
    try:
        return bool(ledgercore.verify(directory).violations)
    except ledgercore.JournalDamaged:
        return True


def starts(directory: Path) -> bool:
    """Whether a ledger opens there; one that does is sound."""
    try:
        with open_small(directory) as ledger:
            assert ledger.audit().ok
    except ledgercore.JournalDamaged:
        return False
    return True


def check_mended(directory: Path) -> None:
    """All agree that nothing is wrong any more."""
    assert not finds_damage(directory)
    assert ledgercore.repair(directory).action == "nothing to repair"
    assert starts(directory)


def test_a_sound_directory_is_sound_to_all(files: Files, directory: Path) -> None:
    check_mended(write_files(directory, files))


@pytest.mark.parametrize(("damage", "is_met"), COVERED.values(), ids=COVERED.keys())
def test_damage_below_a_snapshot(
    files: Files, directory: Path, damage: Damaging, is_met: bool
) -> None:
    damaged = damage(files)
    write_files(directory, damaged)
    assert finds_damage(directory)
    # All that came later is still there: nobody loses it without having said so.
    with pytest.raises(ledgercore.JournalDamaged, match="restore it from a copy"):
        ledgercore.repair(directory)
    assert read_files(directory) == damaged
    assert starts(directory) is not is_met
    write_files(directory, damaged)
    repaired = ledgercore.repair(directory, cut_below_snapshot=True)
    assert repaired.action == "truncated" and repaired.lsns_lost > 0
    check_mended(directory)


@pytest.mark.parametrize("damage", MENDED.values(), ids=MENDED.keys())
def test_damage_above_the_snapshot(files: Files, directory: Path, damage: Damaging) -> None:
    write_files(directory, damage(files))
    assert not starts(directory) and finds_damage(directory)
    repaired = ledgercore.repair(directory)
    assert repaired.action in ("truncated", "seal restored")
    assert (repaired.lsns_lost > 0) is (repaired.action == "truncated")
    check_mended(directory)


@pytest.mark.parametrize("damage", FALSE_SNAPSHOTS.values(), ids=FALSE_SNAPSHOTS.keys())
def test_a_false_snapshot(files: Files, directory: Path, damage: Damaging) -> None:
    write_files(directory, files)
    with open_small(directory) as ledger:
        balances = balances_of(ledger)
    write_files(directory, damage(files))
    assert finds_damage(directory)
    repaired = ledgercore.repair(directory)
    assert (repaired.action, repaired.lsns_lost) == ("snapshot set aside", 0)
    check_mended(directory)
    with open_small(directory) as ledger:
        assert balances_of(ledger) == balances


@pytest.mark.parametrize("damage", HOPELESS.values(), ids=HOPELESS.keys())
def test_damage_that_no_cut_mends(files: Files, directory: Path, damage: Damaging) -> None:
    damaged = damage(files)
    write_files(directory, damaged)
    (directory / "journal").mkdir(exist_ok=True)
    assert not starts(directory) and finds_damage(directory)
    for is_allowed in (False, True):
        with pytest.raises(ledgercore.JournalDamaged):
            ledgercore.repair(directory, cut_below_snapshot=is_allowed)
    assert read_files(directory) == damaged
    assert len(journal_files(directory)) == len([n for n in damaged if n.endswith(".segment")])
