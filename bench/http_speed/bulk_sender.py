"""Sends large requests over a few connections, each of which waits for its answer.

This module owns plain sockets, a thread for each: with ten requests in a second and connection, an
event loop would add copies and save nothing. It neither makes requests nor reads answers.
"""

import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

from ..http import END_OF_HEAD, measure_answer
from ..machine import run_on
from .loads import LoadFailed

ANSWER_BYTES_MAX = 1 << 22
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Sent:
    """Every answer, in the order in which they came, and what it took to get them."""

    answers: list[bytes]
    seconds: float
    cpu_share: float


def send_all(core: int, url: str, connections: int, requests: Sequence[bytes]) -> Sent:
    """Send all requests, from a core, and return their answers. Raises LoadFailed."""
    parts = urlsplit(url)
    address = parts.hostname or "127.0.0.1", parts.port or 80
    left = Queue(requests)
    with ExitStack() as stack, run_on(core):
        sockets = [
            stack.enter_context(socket.create_connection(address, TIMEOUT_S))
            for _ in range(connections)
        ]
        pool = stack.enter_context(ThreadPoolExecutor(connections))
        started_s, cpu_started_s = time.perf_counter(), time.process_time()
        futures = [pool.submit(send_some, connection, left) for connection in sockets]
        try:
            answers = [answer for future in futures for answer in future.result()]
        except OSError as error:
            raise LoadFailed(f"{url}: a connection failed: {error}") from None
        seconds = time.perf_counter() - started_s
        cpu_s = time.process_time() - cpu_started_s
    return Sent(answers, seconds, cpu_s / seconds)


class Queue:
    """Requests that several threads take one by one."""

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = iter(requests)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._lock:
            return next(self._requests)


def send_some(connection: socket.socket, requests: Iterator[bytes]) -> list[bytes]:
    """Send requests until there are none left, and return their answers."""
    buffer = bytearray(ANSWER_BYTES_MAX)
    answers = []
    for request in requests:
        connection.sendall(request)
        answers.append(receive(connection, buffer))
    return answers


def receive(connection: socket.socket, buffer: bytearray) -> bytes:
    """Return one answer, which has to fit in the buffer. Raises ConnectionError if it is cut."""
    view = memoryview(buffer)
    filled, length = 0, 0
    while not length or filled < length:
        got = connection.recv_into(view[filled:])
        if not got:
            raise ConnectionError("the server hung up, or an answer was too long")
        filled += got
        # The end of the head is looked for until it is there, and never in the body.
        if not length and buffer.find(END_OF_HEAD, 0, filled) >= 0:
            length = measure_answer(bytes(view[:filled]))
    return bytes(view[:length])
