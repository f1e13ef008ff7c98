"""The types of replay.pyx, as Python sees it."""

import numpy as np
import numpy.typing as npt

from .ledger import Ledger

RECORD: np.dtype[np.void]
KEY_ENTRY: np.dtype[np.void]
PROBLEMS: dict[int, str]

class Replay:
    """Applies frames to a ledger up to `until_lsn`; stops at the first record that is wrong."""

    ledger: Ledger
    until_lsn: int
    problem: int
    problem_lsn: int
    transfers: int
    refusals: int
    records: int

    def __init__(self, ledger: Ledger, until_lsn: int = ...) -> None: ...
    @property
    def lsn(self) -> int: ...
    @property
    def problem_text(self) -> str: ...

def dump_accounts(ledger: Ledger, start: int, count: int) -> tuple[npt.NDArray[np.void], bytes]: ...
def dump_keys(ledger: Ledger) -> npt.NDArray[np.void]: ...
def key_records(rows: npt.NDArray[np.void]) -> npt.NDArray[np.void]: ...
def end_record(ledger: Ledger, records_before: int) -> npt.NDArray[np.void]: ...
def count_keys(ledger: Ledger) -> int: ...
def last_lsn(ledger: Ledger) -> int: ...
def set_key_ttl(ledger: Ledger, key_ttl_ns: int) -> None: ...
