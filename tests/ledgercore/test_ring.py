"""The ring as a memory: a record is told whole, or not at all, however fast it is overwritten."""

import struct
import threading

import numpy as np

from ledgercore import TRANSFER, Status
from ledgercore.executor import Executor
from ledgercore.ledger import Ledger
from ledgercore.replay import last_lsn, recent_record
from tests.support.making import many_rows

ROWS = 4096
ROUNDS = 60


def make_ledger(**options: int) -> Ledger:
    """A ledger without a journal whose ring has two slots."""
    sizes = {"accounts_max": 16, "keys_max": 1 << 18, "key_ttl_ns": 10**15, "ring_records": 2}
    return Ledger(**sizes | options, hash_key=bytes(16))


def test_a_record_is_never_a_mixture_of_two() -> None:
    """Each record's key and amount follow from its LSN, so that parts of two would show."""
    ledger = make_ledger()
    executor = Executor(ledger, None, 1, 1024, ROWS)
    rows = [np.array(many_rows(ROWS, start=round * ROWS)) for round in range(ROUNDS)]
    for number, row in enumerate(rows):
        row["amount"] = np.arange(number * ROWS + 1, (number + 1) * ROWS + 1)
        row["from"], row["to"] = 3, 4

    def transfer() -> None:
        for row in rows:
            executor.apply_batch(row.view(np.uint8), np.zeros(24 * ROWS, np.uint8))

    writer = threading.Thread(target=transfer)
    writer.start()
    whole = 0
    try:
        while writer.is_alive():
            lsn = last_lsn(ledger)
            record = recent_record(ledger, lsn)
            if record is not None:
                told, _, status, key, _, amount = struct.unpack_from(
                    "<QBBxxxxxxQQxxxxxxxxq", record
                )
                assert (told, key, amount) == (lsn, lsn, lsn) and status == Status.SOURCE_NOT_FOUND
                whole += 1
    finally:
        writer.join()
    assert whole > 0 and last_lsn(ledger) == ROWS * ROUNDS
    assert recent_record(ledger, last_lsn(ledger) - 2) is None and recent_record(ledger, 0) is None


def test_a_record_is_there_until_its_slot_is_taken() -> None:
    ledger = make_ledger()
    executor = Executor(ledger, None, 1, 1024, ROWS)
    rows = many_rows(3)
    assert rows.dtype == TRANSFER
    for row in range(3):
        executor.apply_batch(rows[row : row + 1].view(np.uint8), np.zeros(24, np.uint8))
        assert recent_record(ledger, row + 1) is not None
    assert recent_record(ledger, 1) is None and recent_record(ledger, 2) is not None
