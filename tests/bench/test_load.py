"""The clients of the benchmarks: requests as they should be, answers whole, failures told once."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from bench.load.http1 import (
    ANSWER_BYTES_MAX,
    AnswerReader,
    find_header,
    make_bulk,
    make_transfer,
    read_status,
    split_answer,
)
from bench.load.link import LOST, NO_CONNECTION, UNREADABLE, Link, find_address
from bench.load.loops import ClosedLoop, OpenLoop, run_closed_loop

DEADLINE_S = 30.0
ANSWER = b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\nbody"
CALL = ("a", "b", 7, "k-1")

Respond = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serve(respond: Respond) -> AsyncIterator[str]:
    """Yield the URL of a server that hands over each request, its head and its body."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(find_header(head, b"content-length") or 0)
                await respond(head + await reader.readexactly(length), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


class Receiver:
    """Keeps what it is told, and lets it be awaited."""

    def __init__(self) -> None:
        self.told: asyncio.Queue[tuple[object, ...]] = asyncio.Queue()

    def receive_answer(self, status: int, answer: bytes) -> None:
        self.told.put_nowait((status, split_answer(answer)[1]))

    def receive_failure(self, failure: str, reason: str) -> None:
        self.told.put_nowait((failure, reason))


# -- requests and answers -------------------------------------------------------------------------


def test_requests_are_whole() -> None:
    head, body = split_answer(make_transfer("host:1", CALL, "X-More: 1\r\n"))
    assert head.startswith(b"POST /transfer HTTP/1.1\r\nHost: host:1\r\n")
    assert find_header(head, b"idempotency-key") == "k-1"
    assert find_header(head, b"x-more") == "1"
    assert find_header(head, b"content-length") == str(len(body))
    assert json.loads(body) == {"from": "a", "to": "b", "amount": 7}
    head, body = split_answer(make_bulk("host:1", [CALL, CALL]))
    assert head.startswith(b"POST /transfers HTTP/1.1\r\n")
    assert find_header(head, b"content-length") == str(len(body))
    assert json.loads(body) == [
        {"idempotency_key": "k-1", "from": "a", "to": "b", "amount": 7}
    ] * 2  # fmt: skip


@pytest.mark.parametrize("size", [1, 5, len(ANSWER) - 1, len(ANSWER)])
def test_an_answer_is_whole_whatever_its_parts(size: int) -> None:
    reader = AnswerReader()
    for _ in range(2):
        parts = [ANSWER[at : at + size] for at in range(0, len(ANSWER), size)]
        *early, last = [reader.feed(part) for part in parts]
        assert last == ANSWER and set(early) <= {None}
    assert read_status(ANSWER) == 201


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (ANSWER + b"H", "nobody asked for"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "without a Content-Length"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % ANSWER_BYTES_MAX, "too long"),
        (bytes(ANSWER_BYTES_MAX), "too long"),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_none(answer: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        AnswerReader().feed(answer)


# -- links ----------------------------------------------------------------------------------------


async def test_a_link_opens_its_connection_again() -> None:
    async def refuse(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno")

    async with serve(refuse) as url:
        receiver = Receiver()
        link = Link(await find_address(url), receiver, DEADLINE_S)
        for _ in range(2):
            link.send(make_transfer("host", CALL))
            async with asyncio.timeout(DEADLINE_S):
                assert await receiver.told.get() == (400, b"no")
        link.hang_up()
        assert receiver.told.empty()


@pytest.mark.parametrize(
    ("answer", "failure", "said"),
    [
        (b"", LOST, ""),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 9\r\n\r\nhalf", LOST, ""),
        (b"HTTP/1.1 200 OK\r\n\r\n", UNREADABLE, "Content-Length"),
        (b"SMTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", UNREADABLE, "not HTTP/1"),
    ],
)
async def test_a_failure_is_told_once(answer: bytes, failure: str, said: str) -> None:
    async def fail(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with serve(fail) as url:
        receiver = Receiver()
        link = Link(await find_address(url), receiver, DEADLINE_S)
        link.send(make_transfer("host", CALL))
        async with asyncio.timeout(DEADLINE_S):
            name, reason = await receiver.told.get()
        assert name == failure and said in str(reason)
        link.hang_up()
        assert receiver.told.empty()


async def test_nobody_to_connect_to_is_told(unused_tcp_port: int) -> None:
    receiver = Receiver()
    address = await find_address(f"http://127.0.0.1:{unused_tcp_port}")
    Link(address, receiver, DEADLINE_S).send(b"")
    async with asyncio.timeout(DEADLINE_S):
        assert (await receiver.told.get())[0] == NO_CONNECTION


# -- loops ----------------------------------------------------------------------------------------


async def test_answers_are_kept_in_the_order_of_their_requests() -> None:
    held: list[tuple[bytes, asyncio.StreamWriter]] = []

    async def answer_in_reverse(request: bytes, writer: asyncio.StreamWriter) -> None:
        held.append((split_answer(request)[1], writer))
        if len(held) == 3:
            for body, other in reversed(held):
                other.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            held.clear()

    calls = [("a", "b", amount, "k") for amount in range(1, 7)]
    requests = [make_transfer("host", call) for call in calls]
    async with serve(answer_in_reverse) as url, ClosedLoop(url, 3) as loop:
        for _ in range(2):
            course = await loop.run(iter(requests), deadline_s=DEADLINE_S, is_keeping=True)
            bodies = [json.loads(split_answer(answer)[1]) for answer in course.answers]
            assert [body["amount"] for body in bodies] == [1, 2, 3, 4, 5, 6]
            assert (len(course.latencies_s), course.statuses, course.lost) == (6, {200: 6}, 0)


async def test_a_closed_loop_has_a_deadline() -> None:
    async def say_nothing(request: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    async with serve(say_nothing) as url:
        with pytest.raises(TimeoutError):
            await run_closed_loop(url, 1, iter([make_transfer("host", CALL)]), deadline_s=0.05)


async def test_what_waits_for_a_client_is_late_from_when_it_was_due() -> None:
    released = asyncio.Event()

    async def answer_once_released(request: bytes, writer: asyncio.StreamWriter) -> None:
        await released.wait()
        writer.write(ANSWER)

    async with serve(answer_once_released) as url, OpenLoop(url, 1) as loop:
        asyncio.get_running_loop().call_later(0.05, released.set)
        requests = iter([make_transfer("host", CALL)] * 3)
        course = await loop.run(requests, [0.0, 0.001, 0.002], DEADLINE_S)
    assert course.statuses == {201: 3}
    # The second and the third were sent only when the first was answered.
    assert min(course.latencies_s) > 0.045
    assert len(course.lateness_s) == 1
    assert course.seconds > 0.05


async def test_an_open_loop_ends_when_a_request_is_lost() -> None:
    async def hang_up(request: bytes, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with serve(hang_up) as url, OpenLoop(url, 2) as loop:
        requests = iter([make_transfer("host", CALL)] * 2)
        course = await loop.run(requests, [0.0, 3600.0], DEADLINE_S)
    assert (course.lost, course.statuses) == (1, {})
