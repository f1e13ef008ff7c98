"""The types of transfers_arrow.pyx. The docstrings there are its reference."""

from typing import Any

from ledgercore import Submission

COLUMN_NAMES: tuple[str, ...]

class ColumnFault(Exception):
    column: str
    code: str
    row: int | None
    value: bytes | int | None

    def __init__(
        self, column: str, code: str, row: int | None = None, value: bytes | int | None = None
    ) -> None: ...

class CompressedStream(Exception): ...

def check_stream(body: bytes) -> int: ...
def add_columns(submission: Submission, stream: Any, client: bytes) -> None: ...
def encode_outcomes(
    submission: Submission, names: list[bytes]
) -> tuple[bytes, bytes, bytes, bytes, bytes]: ...
