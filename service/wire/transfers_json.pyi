"""The types of transfers_json.pyx. The docstrings there are its reference."""

from typing import Any

from ledgercore import Submission

def read_plain_transfer(body: bytes) -> dict[str, Any] | None: ...
def add_transfers(submission: Submission, body: bytes, client: bytes) -> bool: ...
