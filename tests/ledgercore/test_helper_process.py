"""Processes beside an engine: they import what the engine imports, whatever lies around."""

import json
import os
import select
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ledgercore.helper_process import KEPT, describe_end, start_helper
from tests.support.histories import open_funded, open_small
from tests.support.waiting import DEADLINE_S, wait_until

ROOT = Path(__file__).resolve().parents[2]
SPY = """
import os, sys
with open(os.environ.get("SPIED", {told!r}), "a") as file:
    file.write(__name__ + chr(10))
raise SystemExit("imported a stranger")
"""


@pytest.fixture
def hostile(tmp_path: Path) -> tuple[Path, Path]:
    """A folder with modules of the names that a helper imports, and where they tell of it."""
    told, folder = tmp_path / "told", tmp_path / "hostile"
    folder.mkdir()
    names = ("numpy", "json", "hashlib", "ledgercore", "struct", "usercustomize", "logging")
    for name in names:
        (folder / f"{name}.py").write_text(SPY.format(told=str(told)))
    return folder, told


def end(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    output, problem = process.communicate(timeout=60)
    return process.returncode, output, problem


def test_nothing_of_the_working_directory_or_the_path_is_imported(
    directory: Path, hostile: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, told = hostile
    with open_small(directory) as ledger:
        open_funded(ledger, ["alice"], 5)
        monkeypatch.chdir(folder)
        monkeypatch.setenv("PYTHONPATH", str(folder))
        monkeypatch.setenv("PYTHONUSERBASE", str(folder))
        monkeypatch.setenv("PYTHONSTARTUP", str(folder / "json.py"))
        monkeypatch.setenv("HOME", str(folder))
        audit = ledger.audit(journal=True)
        assert audit.ok and audit.journal_checked
        with start_helper("snapshot", directory, 1024, 1024) as process:
            assert end(process) == (0, "", "")
    assert not told.exists()


def test_a_folder_beside_the_package_is_not_searched(directory: Path, tmp_path: Path) -> None:
    """Where it runs from a checkout, its parent folder holds whatever somebody put there."""
    tree, told = tmp_path / "tree", tmp_path / "told"
    tree.mkdir()
    (tree / "ledgercore").symlink_to(ROOT / "ledgercore")
    for name in ("numpy", "json", "hashlib"):
        (tree / f"{name}.py").write_text(SPY.format(told=str(told)))
    open_small(directory).close()
    numpy = Path(sys.modules["numpy"].__file__ or "").parent
    script = tree / "ledgercore" / "helper_process.py"
    words: list[str | Path] = [numpy, script.parent, "journal-check", "0", "64", "64"]
    done = subprocess.run(
        [sys.executable, "-P", script, str(os.getpid()), *words],
        input=str(directory),
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tree,
        env={name: os.environ[name] for name in KEPT if name in os.environ},
    )
    assert done.returncode == 0 and json.loads(done.stdout)["lsn"] == 0, done.stderr
    assert not told.exists()


def test_the_environment_is_not_passed_on(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold passwords, and the helper's is in /proc for as long as it runs."""
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\nenv\npwd\n")
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("LEDGERCORE_SECRET", "hush")
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    with start_helper("journal-check", directory, 0, 64, 64) as process:
        _, output, _ = end(process)
    *lines, place = output.splitlines()
    names = {line.partition("=")[0] for line in lines}
    # PWD and its like are the shell's own.
    assert names <= {
        *KEPT,
        "OPENBLAS_NUM_THREADS",
        "OMP_NUM_THREADS",
        "PWD",
        "OLDPWD",
        "SHLVL",
        "_",
    }
    assert "LC_ALL=C.UTF-8" in lines and "hush" not in output and place == "/"


def test_the_address_is_not_among_the_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may hold a password, and everybody may read the arguments of a process."""
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\necho "$@"\ncat\n')
    program.chmod(0o700)
    monkeypatch.setattr(sys, "executable", str(program))
    address = "postgresql://ledger:hush@host/db"
    with start_helper("journal-check", address, 7, 64, 65) as process:
        _, output, _ = end(process)
    words, said = output.splitlines()
    assert words.endswith(" journal-check 7 64 65") and "hush" not in words and said == address


def test_an_address_that_is_no_path_is_told(tmp_path: Path) -> None:
    address = "x" * 4097
    with pytest.raises(OSError, match="the address of the store has 4097 bytes"):
        start_helper("journal-check", address, 0, 64, 64)


def test_a_helper_finds_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    directory = tmp_path / os.fsdecode(b"\xff\n")
    open_small(directory).close()
    with start_helper("journal-check", str(directory), 0, 64, 64) as process:
        assert end(process)[0] == 0


def test_a_helper_is_of_the_build_that_starts_it(tmp_path: Path) -> None:
    """A variant of the build runs by PYTHONPATH, beside an install of another one."""
    package = tmp_path / "tree" / "ledgercore"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("import numpy\n")
    (package / "journal_check.py").write_text(
        "def main(arguments):\n    print('variant')\n    return 0\n"
    )
    shutil.copy(ROOT / "ledgercore" / "helper_process.py", package)
    program = (
        "from ledgercore.helper_process import start_helper;"
        "print(start_helper('journal-check', '/nowhere').communicate()[0], end='')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout == "variant\n", done.stderr


def test_a_helper_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    """Else it would go on to replace snapshots, beside whoever has the lock by then."""
    (tmp_path / "journal").mkdir()
    seal = tmp_path / "seal"
    os.mkfifo(seal)
    program = (
        "from ledgercore.helper_process import start_helper;"
        f"start_helper('journal-check', {str(tmp_path)!r}, 0, 64, 64).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT) as parent:
        try:
            # It reads the seal, of which there is never any more.
            writer = wait_until(lambda: open_for_reader(seal), "the helper is at work")
        finally:
            parent.kill()
    try:
        watched = select.poll()
        watched.register(writer, 0)
        assert watched.poll(DEADLINE_S * 1000) == [(writer, select.POLLERR)], "it goes on"
    finally:
        os.close(writer)


def open_for_reader(pipe: Path) -> int | None:
    """Open a pipe for writing where somebody reads it."""
    with suppress(OSError):
        return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
    return None


def test_how_a_helper_failed_is_told_in_one_line() -> None:
    for script, told in [
        ("kill -KILL $$", "the helper process was ended by SIGKILL, as when memory runs out"),
        ("kill -BUS $$", "the helper process was ended by SIGBUS"),
        ("exit 7", "the helper process ended with 7"),
        ("echo first >&2; echo MemoryError >&2; exit 1", "MemoryError"),
    ]:
        # With the preloaded library of a sanitizer the shell would survive a signal.
        with subprocess.Popen(
            ["/bin/sh", "-c", script], stderr=subprocess.PIPE, text=True, env={}
        ) as process:
            _, problem = process.communicate()
        assert describe_end(process, problem) == told
