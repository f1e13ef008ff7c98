"""The types of reply.pyx. The docstrings there are its reference."""

from ledgercore import Status, Submission

from .integer_forms import IntegerForms

JSON_TYPE: str
REPLAYED: str
NUMBERS: IntegerForms

def list_headers(status: Status) -> list[tuple[bytes, bytes]]: ...
def encode_body(submission: Submission, index: int, forms: IntegerForms = ...) -> bytes: ...
def encode_reply(submission: Submission, index: int, forms: IntegerForms = ...) -> bytes: ...
