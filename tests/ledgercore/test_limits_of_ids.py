"""The last id: far below what an entry of the key table holds, and nothing is taken after it."""

import numpy as np
import pytest

import ledgercore
from ledgercore import Status, accounts
from ledgercore.executor import Executor
from ledgercore.grammar import LSN_MAX
from ledgercore.ledger import Ledger
from ledgercore.replay import last_lsn
from tests.support.making import many_rows


def test_a_ledger_refuses_when_its_ids_are_used_up() -> None:
    assert LSN_MAX == 2**47
    ledger = Ledger(
        accounts_max=16,
        keys_max=1024,
        key_ttl_ns=10**15,
        ring_records=64,
        hash_key=bytes(16),
        last_lsn=LSN_MAX - 4,
    )
    executor = Executor(ledger, None, 1, 1024, 1024)
    executor.open_account(b"world", b"USD/2", None, None, False, True)
    executor.open_account(b"alice", b"USD/2", 0, None, False, True)
    outcomes = np.zeros(3, ledgercore.OUTCOME)
    executor.apply_batch(many_rows(3).view(np.uint8), outcomes.view(np.uint8))
    assert list(outcomes["status"]) == [Status.APPLIED, Status.APPLIED, Status.LEDGER_FULL]
    assert list(outcomes["id"]) == [LSN_MAX - 1, LSN_MAX, 0]
    # What was answered is still answered, and with its own number.
    executor.apply_batch(many_rows(3).view(np.uint8), outcomes.view(np.uint8))
    assert list(outcomes["id"]) == [LSN_MAX - 1, LSN_MAX, 0]
    assert list(outcomes["replayed"]) == [1, 1, 0]
    for change in (
        lambda: executor.open_account(b"bob", b"USD/2", 0, None, False, True),
        lambda: executor.change_account(1, {"frozen": True}),
    ):
        with pytest.raises(ledgercore.CapacityExceeded, match="all its ids"):
            change()
    assert last_lsn(ledger) == LSN_MAX and accounts.account_count(ledger) == 2
