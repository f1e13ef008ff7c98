"""Engines that a program leaves open: closed at its end, by the process that has opened them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ledgercore
from ledgercore import closing
from tests.histories import open_small
from tests.support import ROOT

DEADLINE_S = 60.0

# The engine is where nothing of the interpreter's own end reaches it.
LEAVES_OPEN = """
import sys
from pathlib import Path
from tests.histories import open_funded, open_small
sys.kept = [open_small(Path(path)) for path in sys.argv[1:]]
for ledger in sys.kept:
    open_funded(ledger, ["alice"], 5)
"""


def run(program: str, *arguments: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, with the warnings that Python keeps to itself."""
    return subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", program, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
    )


def read_seal(directory: Path) -> dict[str, Any]:
    seal = ledgercore.inspect(directory).seal
    assert seal is not None
    return seal


def test_what_is_left_open_is_closed_with_a_warning(tmp_path: Path) -> None:
    directories = [tmp_path / "one", tmp_path / "two"]
    ended = run(LEAVES_OPEN, *directories)
    assert ended.returncode == 0, ended.stderr
    for directory in directories:
        assert f"at {directory}> was never closed" in ended.stderr
        assert read_seal(directory)["clean"]
    assert "Error" not in ended.stderr and "ignored" not in ended.stderr


def test_one_that_cannot_be_closed_keeps_no_other_open(tmp_path: Path) -> None:
    program = LEAVES_OPEN + "sys.kept[1].close = None"
    directories = [tmp_path / name for name in ("one", "two", "three")]
    ended = run(program, *directories)
    assert ended.stderr.count("TypeError: 'NoneType'") == 1
    assert read_seal(directories[0])["clean"] and read_seal(directories[2])["clean"]


def test_what_is_closed_says_nothing(tmp_path: Path) -> None:
    ended = run(LEAVES_OPEN + "ledger.close()", tmp_path / "one")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_nothing_is_said_when_modules_are_gone_before_the_engine(tmp_path: Path) -> None:
    # As the interpreter does at its end, in an order that is its own.
    program = LEAVES_OPEN + (
        "ledger.close()\n"
        "for name in [name for name in sys.modules if name.startswith('ledgercore.')]:\n"
        "    names = vars(sys.modules[name]) if name != 'ledgercore.closing' else {}\n"
        "    names.update({one: None for one in names if not one.startswith('__')})\n"
        "del ledger, sys.kept\n"
    )
    ended = run(program, tmp_path / "one")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_gone_is_not_kept(directory: Path) -> None:
    before = len(closing._engines)
    with open_small(directory) as ledger:
        assert len(closing._engines) == before + 1
    del ledger
    assert len(closing._engines) == before


def test_a_forked_child_closes_no_engine_of_its_parent(directory: Path) -> None:
    with open_small(directory):
        child = os.fork()
        if child == 0:
            os._exit(len(closing._engines))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(closing._engines) >= 1
