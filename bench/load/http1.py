"""Just enough HTTP/1.1 to write a request and to read its answer, for clients that outrun a server.

This module owns what a request looks like, where an answer ends and what its head says. It never
touches a socket.
"""

from collections.abc import Sequence

import msgspec

from ..workloads import Call

END_OF_HEAD = b"\r\n\r\n"
LENGTH_HEADER = b"content-length:"
ANSWER_BYTES_MAX = 1 << 22
JSON = "application/json"
_STATUS_AT = 9


def make_request(
    method: str, host: str, target: str, body: bytes, headers: str = "", media_type: str = JSON
) -> bytes:
    """Return the bytes of a request; `headers` are more lines of its head, each with its end."""
    if body:
        headers += f"Content-Type: {media_type}\r\nContent-Length: {len(body)}\r\n"
    return f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n".encode() + body


def make_transfer(host: str, call: Call, headers: str = "") -> bytes:
    """Return the bytes of the POST /transfer for one call."""
    source, target, amount, key = call
    body = f'{{"from":"{source}","to":"{target}","amount":{amount}}}'.encode()
    return make_request("POST", host, "/transfer", body, f"{headers}Idempotency-Key: {key}\r\n")


def make_bulk(host: str, calls: Sequence[Call]) -> bytes:
    """Return the bytes of the POST /transfers for many calls."""
    items = [
        {"idempotency_key": key, "from": source, "to": target, "amount": amount}
        for source, target, amount, key in calls
    ]
    return make_request("POST", host, "/transfers", msgspec.json.encode(items))


class AnswerReader:
    """Takes the bytes of one connection part by part, and returns each answer once it is whole."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> bytes | None:
        """Take a part; return the whole answer, or None while more of it is to come.

        Raises ValueError for an answer whose end cannot be known, that is too long, or that has
        more behind it than was asked for: the connection cannot be trusted from there on.
        """
        held = self._held
        if held:
            held += data
        length = measure_answer(held or data)
        have = len(held or data)
        if have < length <= ANSWER_BYTES_MAX:
            if not held:
                held += data
            return None
        if have != length:
            raise ValueError("an answer that is too long, or that nobody asked for")
        if not held:
            return data
        answer = bytes(held)
        held.clear()
        return answer


def measure_answer(buffer: bytes | bytearray) -> int:
    """Return how long the answer is that the buffer begins with; too long while that is unknown.

    Raises ValueError for an answer whose end cannot be known.
    """
    head_end = buffer.find(END_OF_HEAD)
    if head_end < 0:
        return len(buffer) + 1
    head = buffer[:head_end].lower()
    start = head.find(LENGTH_HEADER)
    if start < 0:
        raise ValueError("an answer without a Content-Length")
    start += len(LENGTH_HEADER)
    stop = head.find(b"\r\n", start)
    length = int(head[start:] if stop < 0 else head[start:stop])
    return head_end + len(END_OF_HEAD) + length


def read_status(answer: bytes) -> int:
    """Return the status of an answer; ValueError if there is none where it has to be."""
    if not answer.startswith(b"HTTP/1."):
        raise ValueError("an answer that is not HTTP/1")
    return int(answer[_STATUS_AT : _STATUS_AT + 3])


def split_answer(answer: bytes) -> tuple[bytes, bytes]:
    """Return the head and the body of a whole answer."""
    head_end = answer.find(END_OF_HEAD)
    return answer[:head_end], answer[head_end + len(END_OF_HEAD) :]


def find_header(head: bytes, name: bytes) -> str | None:
    """Return the value of a header, None if it is not there; `name` is in small letters."""
    start = head.lower().find(b"\r\n" + name + b":")
    if start < 0:
        return None
    start += len(name) + 3
    stop = head.find(b"\r\n", start)
    return (head[start:] if stop < 0 else head[start:stop]).strip().decode("latin-1")
