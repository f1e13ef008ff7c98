"""What the engine's tests share: small ledgers, copies as `kill -9` leaves them, comparisons.

Run as a script it is the victim of the fault tests: a process that transfers and tells each
acknowledged key on its standard output, before it dies.
"""

import select
import shutil
import struct
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import ledgercore

SEGMENT_BYTES = 4 << 20
"""The smallest journal file."""

SMALL: dict[str, Any] = {
    "accounts_max": 1024,
    "keys_max": 1 << 18,
    "batch_max": 256,
    "segment_bytes": SEGMENT_BYTES,
    "snapshot_every": 0,
}
"""Small tables and files, for tests that open a ledger hundreds of times."""

PADDING_ROWS = 2000
"""What the victim writes beside each transfer: 128 kB, so 32 transfers fill a journal file."""

LONGEST: tuple[Any, ...] = ("", "x" * 64, "y" * 64, 1, "m" * 256)
"""A transfer that takes as much of the journal as one can, behind its key: 448 bytes."""


def open_small(directory: str | Path | None, **options: Any) -> ledgercore.Engine:
    """Open a ledger with small tables."""
    return ledgercore.open(directory, **(SMALL | options))


def open_funded(ledger: ledgercore.Engine, ids: Sequence[str], funds: int) -> None:
    """Open `world` and the accounts, and give each its funds."""
    ledger.open_account("world", asset="USD/2", floor=None)
    for id in ids:
        ledger.open_account(id, asset="USD/2")
        if funds:
            outcome = ledger.transfer("world", id, funds, key=f"fund-{id}")
            assert outcome.status is ledgercore.Status.APPLIED


def batch_of(
    ledger: ledgercore.Engine, rows: Iterable[tuple[str, int, int, int]], client: str = ""
) -> npt.NDArray[np.void]:
    """Rows (key, from slot, to slot, amount) as a batch; the empty key is the missing one."""
    listed = list(rows)
    batch = np.zeros(len(listed), ledgercore.TRANSFER)
    for row, (key, source, target, amount) in zip(batch, listed, strict=True):
        row["key"] = ledger.fingerprint(key, client) if key else bytes(16)
        row["from"], row["to"], row["amount"] = source, target, amount
    return batch


def listing(directory: Path) -> dict[str, tuple[int, int]]:
    """Each file below `directory` with its size and time of change."""
    found = {}
    for path in sorted(directory.rglob("*")):
        try:
            facts = path.stat()
        except FileNotFoundError:  # The engine's background thread renames what it has prepared.
            continue
        found[str(path.relative_to(directory))] = (facts.st_size, facts.st_mtime_ns)
    return found


def crash_copy(directory: Path, target: Path) -> Path:
    """Copy an open ledger's directory as `kill -9` would leave it at one moment.

    A copy during which a file changed is not a moment that ever was, so it is taken again.
    """
    while True:
        before = listing(directory)
        with suppress(shutil.Error):
            shutil.copytree(directory, target)
        if listing(directory) == before and listing(target).keys() == before.keys():
            return target
        shutil.rmtree(target)


def journal_files(directory: Path) -> list[Path]:
    """The files of the journal, oldest first."""
    return sorted(directory.rglob("*.segment"))


def wait_readable(ledger: ledgercore.Engine) -> None:
    """Wait until `ledger.completed` has something to return."""
    ready, _, _ = select.select([ledger.fileno()], [], [], 30)
    assert ready, "nothing has completed for 30 seconds"


def history_of(ledger: ledgercore.Engine) -> dict[int, ledgercore.Transfer]:
    """The transfers that the ledger holds, by id: all of a short history, both ends of a long."""
    last = ledger.statistics().lsn_applied
    lsns = {*range(1, min(last, 200) + 1), *range(max(1, last - 100), last + 1)}
    found = {lsn: ledger.find_transfer(lsn) for lsn in sorted(lsns)}
    return {lsn: transfer for lsn, transfer in found.items() if transfer is not None}


def balances_of(ledger: ledgercore.Engine) -> dict[str, int]:
    """Every account's balance, by its id."""
    return {account.id: account.balance for account in ledger.accounts(0, 1_000_000)}


def fill_segment(ledger: ledgercore.Engine, directory: Path, prefix: str) -> list[str]:
    """Send the longest refusals until the journal goes on in a new file; returns their keys."""
    before, keys = len(journal_files(directory)), list[str]()
    while len(journal_files(directory)) == before:
        submission = ledger.new_submission()
        while not submission.is_full:
            keys.append(f"{prefix}-{len(keys)}")
            client, *payload = LONGEST
            submission.add(client, keys[-1], *payload)
        ledger.submit(submission, 0)
        wait_readable(ledger)
        assert ledger.completed() == [submission] and not submission.failed
    return keys


def tell(ledger: ledgercore.Engine, number: int, padding: int) -> None:
    """Transfer, and tell the key once the transfer is acknowledged.

    `padding` rows beside it fill the journal, so that a few dozen steps see it begin a new file.
    """
    outcome = ledger.transfer("world", "alice", 1 + number, key=f"key-{number}")
    print(f"key-{number} {outcome.id} {outcome.replayed:d}", flush=True)
    rows = np.zeros(padding, ledgercore.TRANSFER)
    rows["key"] = [struct.pack("<QQ", number + 1, row) for row in range(padding)]
    rows["to"], rows["amount"] = 2, 1
    assert not ledger.transfer_batch(rows)["status"].any()


def victim(directory: Path, count: int, padding: int) -> int:
    """Transfer `count` times; 1, and one line on standard error, where the engine fails."""
    try:
        with open_small(directory) as ledger:
            open_funded(ledger, ["alice", "bob"], 0)
            print("open", flush=True)
            for number in range(count):
                try:
                    tell(ledger, number, padding)
                except (ledgercore.EngineFailed, ledgercore.OutcomeUnknown):
                    # A failed engine must stay failed, for new keys and for old ones.
                    for other in (number, number + 1, 0):
                        with suppress(ledgercore.EngineFailed):
                            tell(ledger, other, padding)
                            print("acknowledged after the failure", flush=True)
                    raise
    except ledgercore.LedgerError as failure:
        print(f"{type(failure).__name__}: {failure}", file=sys.stderr, flush=True)
        return 1
    print("closed", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(victim(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
