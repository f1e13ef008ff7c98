"""The check of the journal against memory, by a replay in a helper process.

The engine copies its balances at an LSN, and the replay says what they have to be.
"""

import hashlib
import json
import os
import sys
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .accounts import copy_state
from .errors import JournalDamaged, LedgerError
from .headroom import check_helper_fits
from .helper_process import describe_end, start_helper
from .opening import store_at
from .recovery import Capacity, Recovery
from .store import Store

RING_RECORDS_MIN = 1024
DAMAGED = 3
"""How the helper exits where the journal is damaged; any other end says nothing of the journal."""


def digest_state(balances: npt.NDArray[np.int64], rows: npt.NDArray[np.void]) -> str:
    """Return the SHA-256 of all balances and of all limits, in the order of the slots."""
    digest = hashlib.sha256(balances.tobytes())
    for field in ("floor", "ceiling", "id_hash", "flags"):
        digest.update(np.ascontiguousarray(rows[field]).tobytes())
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay of the journal in a helper process has found.

    `digest` is of its state at the LSN that was asked for; `problem` says why there is none, and
    `is_damage` that the journal itself is to blame: otherwise it was not read to its end, and
    nothing is known of it. `first_lsn` is where reading began, behind what a snapshot tells.
    """

    digest: str | None
    problem: str = ""
    is_damage: bool = False
    first_lsn: int = 1


def replay_in_helper(store: Store, lsn: int, capacity: Capacity) -> ReplayReport:
    """Return what a helper process finds when it replays the journal up to `lsn`."""
    try:
        check_helper_fits()
        process = start_helper(
            "journal-check", store.address, lsn, capacity.accounts_max, capacity.keys_max
        )
    except OSError as error:
        return ReplayReport(
            None, f"the helper process cannot be started: {error.strerror or error}"
        )
    output, problem = process.communicate()
    if process.returncode != 0:
        is_damage = process.returncode == DAMAGED
        return ReplayReport(None, describe_end(process, problem), is_damage)
    answer = json.loads(output)
    if answer["lsn"] != lsn:
        return ReplayReport(None, f"the journal ends at LSN {answer['lsn']}, not at {lsn}", True)
    return ReplayReport(answer["digest"], first_lsn=answer["first_lsn"])


def main(arguments: list[str]) -> int:
    """Print the LSN and the digest of the state that a store's journal leads to."""
    address, (lsn, accounts_max, keys_max) = arguments[0], map(int, arguments[1:4])
    os.nice(10)
    try:
        capacity = Capacity(accounts_max, keys_max, RING_RECORDS_MIN)
        recovered = Recovery(store_at(address), capacity, until_lsn=lsn).run()
    except LedgerError as error:
        sys.stderr.write(f"{error}\n")
        return DAMAGED if isinstance(error, JournalDamaged) else 1
    _, balances, rows = copy_state(recovered.ledger)
    digest = digest_state(balances, rows)
    answer = {"lsn": recovered.lsn, "digest": digest, "first_lsn": recovered.first_lsn}
    sys.stdout.write(json.dumps(answer))
    return 0
