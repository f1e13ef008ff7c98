"""What becomes of large blocks of memory that were let go of, by the memory of a process."""

import subprocess
import sys

import pytest

from tests.support.servers import ROOT

MIB = 1 << 20

PROGRAM = """
import sys
from pathlib import Path

from ledgercore.service.process.allocation import return_large_blocks


def read_memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS:")).split()[1]) // 1024


if sys.argv[1] == "returned":
    return_large_blocks()
before = read_memory()
bytes(31 << 20)  # What glibc learns from.
kept = []
for _ in range(3):
    # As bodies that grow, with something between them that lives on.
    blocks = [bytearray(b"x" * (12 << 20)) for _ in range(20)]
    kept += [b"y" * 4096 for _ in range(200)]
    del blocks[::2]
    kept += [b"y" * 4096 for _ in range(200)]
    del blocks
print(read_memory() - before)
"""


@pytest.mark.parametrize("how", ["kept", "returned"])
def test_large_blocks_are_returned(how: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, how], cwd=ROOT, capture_output=True, text=True, check=True
    )
    # What is kept without it is the reason for it: once it is little, this module can go.
    assert (int(run.stdout) < 20) == (how == "returned"), run.stdout
