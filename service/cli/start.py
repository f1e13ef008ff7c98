"""The entry point of the command, before anything that takes time to import.

This module owns what has to stand from the first line on: the standard descriptors, the least of
address space, and for `serve` the handlers of signals and queued writers in the place of
`sys.stdout` and `sys.stderr`; and how the process ends. It never reads an argument but the name of
the command.
"""

import os
import resource
import sys

from ..process.signals import SIGNALS

ADDRESS_SPACE_MIN_BYTES = 384 << 20
"""With less, an import ends in a traceback, or in a signal."""


def main() -> None:
    """Run the command, and exit as it says."""
    open_standard_descriptors()
    refuse_little_address_space()
    # Nothing here multiplies matrices, and each thread that could would reserve memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    if "serve" not in sys.argv[1:2]:
        SIGNALS.unblock()
        from .serve import main as run_command

        run_command(prog_name="ledgercore")
        return
    SIGNALS.install()
    from ..process import standard_streams

    sys.stdout, sys.stderr = (
        standard_streams.Stream(standard_streams.STDOUT),
        standard_streams.Stream(standard_streams.STDERR),
    )
    try:
        from .serve import main as run_command

        run_command(prog_name="ledgercore")
    except Exception:
        # Told here, where it still reaches somebody.
        sys.excepthook(*sys.exc_info())
        sys.exit(1)
    finally:
        SIGNALS.ignore_all()
        standard_streams.flush_all()


def refuse_little_address_space() -> None:
    """Exit with one line where the limit of address space is below what Python and numpy need."""
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY and limit < ADDRESS_SPACE_MIN_BYTES:
        sys.exit(
            f"ledgercore: this process may have {limit >> 20} MiB of address space (ulimit -v), and"
            f" needs {ADDRESS_SPACE_MIN_BYTES >> 20} at the least"
        )


def open_standard_descriptors() -> None:
    """Open those of the first three that are closed, on nothing.

    Else the next file or socket would get their numbers, and whatever is printed with them.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
