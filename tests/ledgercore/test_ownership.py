"""An engine belongs to one process: closed at its end, an error in a child, without a copy."""

import copy
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ledgercore
from ledgercore import EngineForked, Status, ownership
from ledgercore.ownership import ForkedEngine, keep_here
from tests.support.children import in_child
from tests.support.histories import open_funded, open_small
from tests.support.making import poll
from tests.support.servers import ROOT

CALLS: dict[str, Callable[[ledgercore.Engine], Any]] = {
    "transfer": lambda ledger: ledger.transfer("world", "alice", 1, key="child"),
    "transfer_batch": lambda ledger: ledger.transfer_batch(np.zeros(0, ledgercore.TRANSFER)),
    "submission": lambda ledger: ledger.new_submission(),
    "account": lambda ledger: ledger.account("alice"),
    "balances": lambda ledger: ledger.balances,
    "open_account": lambda ledger: ledger.open_account("new", asset="USD/2"),
    "find_key": lambda ledger: ledger.find_key("k"),
    "audit": lambda ledger: ledger.audit(),
    "completed": lambda ledger: ledger.completed(),
    "fileno": lambda ledger: ledger.fileno(),
    "statistics": lambda ledger: ledger.statistics(),
    "failure": lambda ledger: ledger.failure,
    "close": lambda ledger: ledger.close(),
    "with": lambda ledger: ledger.__enter__(),
}


def read_seal(directory: Path) -> dict[str, Any]:
    seal = ledgercore.inspect(directory).seal
    assert seal is not None
    return seal


@pytest.mark.parametrize("durability", ["sync", "memory"])
@pytest.mark.parametrize("call", CALLS)
def test_every_call_of_a_child_is_an_error(directory: Path, durability: str, call: str) -> None:
    def work() -> None:
        with pytest.raises(EngineForked):
            CALLS[call](ledger)

    with open_small(directory, durability=durability) as ledger:
        open_funded(ledger, ["alice"], 5)
        assert in_child(work) == 0
        assert ledger.transfer("world", "alice", 1, key="parent").status is Status.APPLIED


def test_the_end_of_a_child_touches_nothing(directory: Path) -> None:
    """Its copy is dropped, and its block left, while the parent transfers on."""
    ledger: Any = None

    def work() -> None:
        nonlocal ledger
        with pytest.raises(RuntimeError, match="of the child's own"), ledger_block():
            raise RuntimeError("of the child's own")
        assert "another process" in repr(ledger) and isinstance(ledger, ForkedEngine)
        ledger = None

    def ledger_block() -> Any:
        class Block:
            def __enter__(self) -> None: ...
            def __exit__(self, *_: object) -> None:
                ledger.__exit__(*_)

        return Block()

    ledger = open_small(directory)
    open_funded(ledger, ["alice"], 5)
    # The parent itself writes one more seal, when its journal comes to rest.
    newest = ledger.statistics().lsn_durable
    poll(lambda: read_seal(directory)["synced_lsn"] == newest, "the seal of the parent")
    seal = (directory / "seal").read_bytes()
    assert in_child(work) == 0
    assert (directory / "seal").read_bytes() == seal
    last = ledger.transfer("world", "alice", 1, key="after")
    ledger.close()
    assert ledgercore.verify(directory).lsn == last.id


SCRIPT = """
import os, sys, ledgercore
engine = ledgercore.open(sys.argv[1], accounts_max=64, keys_max=1024, segment_bytes=4 << 20)
engine.open_account("world", asset="USD/2", floor=None)
engine.open_account("alice", asset="USD/2")
if os.fork() == 0:
    sys.exit(0)  # by the way that runs every finaliser
os.wait()
engine.transfer("world", "alice", 1, key="after")
os.kill(os.getpid(), 9)
"""


def test_a_child_that_ends_orderly_writes_no_seal(directory: Path) -> None:
    """With the seal of an old LSN, marked clean, a rotten end would be cut off in silence."""
    subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT, directory], cwd=ROOT, check=False)
    seal = read_seal(directory)
    assert seal["synced_lsn"] == 0 or not seal["clean"], "only the first one may be clean"
    with open_small(directory) as ledger:
        assert ledger.balance("alice") == 1


def test_the_lock_ends_with_the_parent_though_a_child_lives(directory: Path) -> None:
    reading, writing = os.pipe()
    ledger = open_small(directory)
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    try:
        with pytest.raises(ledgercore.DirectoryLocked):
            open_small(directory)
        ledger.close()
        open_small(directory).close()
    finally:
        os.close(writing)
        os.close(reading)
        os.waitpid(child, 0)


def test_a_child_holds_no_lock_when_its_parent_is_killed(directory: Path) -> None:
    """The child stays behind with the pipe, and the ledger can be opened."""
    script = SCRIPT.replace("    sys.exit(0)", "    os.read(0, 1); os._exit(0)").replace(
        "os.wait()", ""
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, directory], cwd=ROOT, stdin=subprocess.PIPE
    ) as process:
        process.wait()

        def is_free() -> bool:
            with suppress(ledgercore.DirectoryLocked), open_small(directory) as ledger:
                return ledger.balance("alice") == 1
            return False

        # The child lets go of its descriptors as soon as it runs.
        poll(is_free, "the ledger can be opened")


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
def test_an_engine_has_no_copy(directory: Path, copying: Callable[[Any], Any]) -> None:
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 0)
        with pytest.raises(TypeError, match="no copy"):
            copying(ledger)
        assert ledger.transfer("world", "alice", 1, key="k").status is Status.APPLIED
        assert keep_here(ledger) is ledger


# -- at the exit of the process -------------------------------------------------------------------

DEADLINE_S = 60.0

# The engine is where nothing of the interpreter's own end reaches it.
LEAVES_OPEN = """
import sys
from pathlib import Path
from tests.support.children import in_child
from tests.support.histories import open_funded, open_small
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
        "    names = vars(sys.modules[name]) if name != 'ledgercore.ownership' else {}\n"
        "    names.update({one: None for one in names if not one.startswith('__')})\n"
        "del ledger, sys.kept\n"
    )
    ended = run(program, tmp_path / "one")
    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_gone_is_not_kept(directory: Path) -> None:
    before = len(ownership._engines)
    with open_small(directory) as ledger:
        assert len(ownership._engines) == before + 1
    del ledger
    assert len(ownership._engines) == before


def test_a_forked_child_closes_no_engine_of_its_parent(directory: Path) -> None:
    with open_small(directory):
        child = os.fork()
        if child == 0:
            os._exit(len(ownership._engines))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert len(ownership._engines) >= 1
