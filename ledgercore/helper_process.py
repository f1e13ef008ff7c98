"""Helper processes of an engine: how they are started, and with which packages.

A helper uses exactly the packages that this process uses, each loaded from its own folder. So
neither the working directory nor a PYTHONPATH says what it imports, and of the environment it gets
only what the interpreter itself may need. Its first lines are here as well: run as a script, this
file is the helper. It ends with the thread that has started it, also where that was killed: nobody
holds the lock for it from then on, and whoever takes it must find the files at rest.

python -P helper_process.py PARENT NUMPY_FOLDER LEDGERCORE_FOLDER HELPER..., where HELPER is one of
snapshot ACCOUNTS_MAX KEYS_MAX
journal-check LSN ACCOUNTS_MAX KEYS_MAX

The address of the store is read from the standard input: it may hold a password, and what stands
among the arguments is shown to everybody by `ps`.
"""

import ctypes
import errno
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

HELPERS = {"snapshot": "ledgercore.snapshots", "journal-check": "ledgercore.journal_check"}
FLAGS = ("-P", "-s")
KEPT = (
    # How the interpreter finds its own libraries, and reads the names of files.
    *("LD_LIBRARY_PATH", "PYTHONHOME", "PYTHONUTF8", "LANG", "LC_ALL", "LC_CTYPE"),
    # Without these a build with a sanitizer does not start.
    *("LD_PRELOAD", "PYTHONMALLOC", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS"),
)
"""What a helper gets of the environment."""
PIPE_BYTES_MAX = 4096
"""What is written at once or not at all, into any pipe (PIPE_BUF); no path is longer."""
PR_SET_PDEATHSIG = 1  # linux/prctl.h
ALONE = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""A helper computes nothing that more threads would be good for, and each reserves memory."""


def start_helper(
    name: str, address: str | os.PathLike[str], *arguments: int
) -> "subprocess.Popen[str]":
    """Start a helper as a process of its own. Raises OSError where none can be started."""
    words = [str(os.getpid()), *find_packages(), name, *map(str, arguments)]
    with open(hold_in_pipe(os.fsencode(address)), "rb") as said:
        return subprocess.Popen(
            [sys.executable, *FLAGS, __file__, *words],
            stdin=said,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env={key: os.environ[key] for key in KEPT if key in os.environ} | ALONE,
        )


def hold_in_pipe(data: bytes) -> int:
    """Return a descriptor from which some bytes can be read, and then the end. Raises OSError.

    They are no more than a pipe holds, so nobody has to read while they are written.
    """
    if len(data) > PIPE_BYTES_MAX:
        raise OSError(errno.ENAMETOOLONG, f"the address of the store has {len(data)} bytes")
    reading, writing = os.pipe()
    try:
        os.write(writing, data)
    finally:
        os.close(writing)
    return reading


def find_packages() -> tuple[str, str]:
    """The folders of numpy and of this package, as this process has loaded them."""
    numpy = importlib.import_module("numpy").__file__
    return str(Path(numpy or "").parent), str(Path(__file__).resolve().parent)


def describe_end(process: "subprocess.Popen[str]", problem: str) -> str:
    """Return in one line how a helper failed, from its exit and what it wrote to stderr."""
    if process.returncode < 0:
        number = -process.returncode
        known = number in {each.value for each in signal.Signals}
        name = signal.Signals(number).name if known else str(number)
        hint = ", as when memory runs out" if number == signal.SIGKILL else ""
        return f"the helper process was ended by {name}{hint}"
    lines = problem.strip().splitlines()
    return lines[-1] if lines else f"the helper process ended with {process.returncode}"


def end_with_parent(parent: int) -> None:
    """Let this process be ended with the thread that has started it, and now if that is over."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


def load_package(name: str, folder: str) -> None:
    """Import a package from its folder, without a search."""
    spec = importlib.util.spec_from_file_location(
        name, f"{folder}/__init__.py", submodule_search_locations=[folder]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{folder}: there is no package {name} here")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)


def main(arguments: list[str]) -> int:
    """Load the packages, and run the helper that the arguments name."""
    parent, numpy, ledgercore, name, *rest = arguments
    end_with_parent(int(parent))
    load_package("numpy", numpy)
    load_package("ledgercore", ledgercore)
    module = importlib.import_module(HELPERS[name])
    return int(module.main([os.fsdecode(sys.stdin.buffer.read()), *rest]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
