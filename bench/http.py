"""Just enough HTTP/1.1 to take an answer from a socket, for clients that must outrun a server.

This module owns where an answer ends and what its head says. It never reads a socket itself.
"""

END_OF_HEAD = b"\r\n\r\n"
LENGTH_HEADER = b"content-length:"
_STATUS_AT = 9


def measure_answer(buffer: bytes) -> int:
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
