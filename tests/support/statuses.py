"""A ledger and, for every status that a request can get, the transfer that gets it.

This module owns which transfers these are. It asserts nothing but that they do.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import ledgercore
from ledgercore import Status, Submission
from tests.support.histories import open_small, wait_readable

INT64_MAX = 2**63 - 1

ASKED: dict[Status, tuple[str, str, int]] = {
    Status.APPLIED: ("world", "alice", 250),
    Status.SOURCE_NOT_FOUND: ("nobody", "alice", 250),
    Status.TARGET_NOT_FOUND: ("alice", "nobody:" + "x" * 57, 250),
    Status.SAME_ACCOUNT: ("alice", "alice", 1),
    Status.ASSET_MISMATCH: ("alice", "euro", 1),
    Status.SOURCE_FROZEN: ("frozen", "alice", 1),
    Status.TARGET_FROZEN: ("alice", "frozen", 1),
    Status.INSUFFICIENT_FUNDS: ("alice", "bob", INT64_MAX),
    Status.CEILING_EXCEEDED: ("world", "bob", 11),
    Status.BALANCE_OVERFLOW: ("world", "rich", 2),
    Status.KEY_REUSED: ("world", "alice", 999),
}
"""What gets each status that a request over HTTP can get from a ledger with room."""


@contextmanager
def open_for_statuses() -> Iterator[ledgercore.Engine]:
    """Yield a ledger with the accounts that these transfers need."""
    with open_small(None, durability="memory") as engine:
        for name in ("world", "rich"):
            engine.open_account(name, asset="USD/2", floor=None)
        engine.open_account("alice", asset="USD/2")
        engine.open_account("bob", asset="USD/2", ceiling=10)
        engine.open_account("frozen", asset="USD/2", frozen=True)
        engine.open_account("euro", asset="EUR/2")
        engine.open_account("mint", asset="USD/2", floor=None)
        engine.transfer("mint", "rich", INT64_MAX - 1, key="fill")
        engine.transfer("world", "alice", 5, key="reused")
        yield engine


def ask(ledger: ledgercore.Engine, status: Status, key: str) -> Submission:
    submission = ledger.new_submission()
    submission.add("", "reused" if status is Status.KEY_REUSED else key, *ASKED[status])
    ledger.submit(submission)
    wait_readable(ledger)
    assert ledger.completed() == [submission]
    assert submission.outcome(0).status is status
    return submission
