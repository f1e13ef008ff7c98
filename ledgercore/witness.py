"""The journal against memory: another process replays the journal and tells what it comes to.

The engine photographs its balances at an LSN, and this says what they have to be.
"""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .accounts import photograph
from .directory import DataDirectory
from .errors import LedgerError
from .recovery import Capacity, Recovery

RING_RECORDS_MIN = 1024
ROOT = Path(__file__).resolve().parent.parent


def digest_state(balances: npt.NDArray[np.int64], rows: npt.NDArray[np.void]) -> str:
    """Return the SHA-256 of all balances and of all limits, in the order of the slots."""
    digest = hashlib.sha256(balances.tobytes())
    for field in ("floor", "ceiling", "id_hash", "flags"):
        digest.update(np.ascontiguousarray(rows[field]).tobytes())
    return digest.hexdigest()


def start_helper(name: str, *arguments: object) -> "subprocess.Popen[str]":
    """Start a helper of this package (see `__main__.py`) as a process of its own."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return subprocess.Popen(
        [sys.executable, "-m", "ledgercore", name, *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )


def ask_witness(directory: DataDirectory, lsn: int, capacity: Capacity) -> tuple[str | None, str]:
    """Return (digest, "") of the journal's state at `lsn`, or (None, what is wrong with it)."""
    process = start_helper("witness", directory.path, lsn, capacity.accounts_max, capacity.keys_max)
    output, problem = process.communicate()
    if process.returncode != 0:
        return None, problem.strip() or f"the witness ended with {process.returncode}"
    answer = json.loads(output)
    if answer["lsn"] != lsn:
        return None, f"the journal ends at LSN {answer['lsn']}, not at {lsn}"
    return answer["digest"], ""


def main(arguments: list[str]) -> int:
    """Print the LSN and the digest of the state that a directory's journal leads to."""
    path, (lsn, accounts_max, keys_max) = arguments[0], map(int, arguments[1:4])
    os.nice(10)
    try:
        capacity = Capacity(accounts_max, keys_max, RING_RECORDS_MIN)
        recovered = Recovery(DataDirectory(path), capacity, until_lsn=lsn).run()
    except LedgerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _, balances, rows = photograph(recovered.ledger)
    sys.stdout.write(json.dumps({"lsn": recovered.lsn, "digest": digest_state(balances, rows)}))
    return 0
