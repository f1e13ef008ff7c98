"""The types of reply.pyx. The docstrings there are its reference."""

from ledgercore import Status, Submission

JSON_TYPE: str
REPLAYED: str

def list_headers(status: Status) -> list[tuple[bytes, bytes]]: ...
def encode_body(submission: Submission, index: int) -> bytes: ...
def encode_reply(submission: Submission, index: int) -> bytes: ...
