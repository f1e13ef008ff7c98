"""What is sent and not read, and what is read: how much of it a server has in its memory."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from ledgercore.service.admission.body_budget import BYTES_UNDER_WAY_MAX
from ledgercore.service.admission.unread_answers import UNREAD_BYTES_MAX, Unread
from ledgercore.service.wire.bulk import BODY_BYTES_MAX, ITEMS_MAX
from tests.support.keyed import spell, spell_transfer
from tests.support.local import PROTOCOLS, LocalServer, RawConnection, local_serving
from tests.support.servers import Server
from tests.support.waiting import wait_until

MIB = 1 << 20
JSON = "Content-Type: application/json"


class ScriptedTransport:
    """A connection that leaves so much unread, and remembers whether it was ended."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.is_aborted = False

    def get_write_buffer_size(self) -> int:
        return self.size

    def abort(self) -> None:
        self.is_aborted = True


# -- the count -------------------------------------------------------------------------------------


def test_those_go_who_have_read_nothing_for_longest() -> None:
    unread = Unread(100)
    transports = [ScriptedTransport(30) for _ in range(5)]
    for transport in transports[:3]:
        unread.note(transport)
    assert unread.bytes == 90 and not any(each.is_aborted for each in transports)
    # The second has read; the first was given more, and is the oldest all the same.
    unread.end(transports[1])
    transports[0].size = 40
    unread.note(transports[0])
    assert unread.bytes == 70
    unread.note(transports[3])
    assert unread.bytes == 100 and unread.cut_count == 0
    unread.note(transports[4])
    assert [each.is_aborted for each in transports] == [True, False, False, False, False]
    assert unread.bytes == 90 and unread.cut_count == 1
    # Its end is told once more when the connection is lost.
    unread.end(transports[0])
    for transport in transports:
        unread.end(transport)
        unread.end(transport)
    assert unread.bytes == 0


def test_one_that_is_larger_than_all_may_be_goes() -> None:
    unread = Unread(100)
    transport = ScriptedTransport(101)
    unread.note(transport)
    assert transport.is_aborted and unread.bytes == 0


# -- every way of asking ---------------------------------------------------------------------------


def spell_many(way: str) -> bytes:
    """Return requests of a connection whose answers are some hundred thousand bytes."""
    if way == "native":
        # The same each time: what is answered is a repeat.
        return spell_transfer("k") * 1000
    target = {"accounts": "/accounts?limit=1000", "page": "/openapi.json"}[way]
    return spell("GET", target) * 4


@pytest.mark.parametrize("way", ["native", "accounts", "page"])
def test_whatever_is_asked_for_those_go_who_do_not_read(tmp_path: Path, way: str) -> None:
    options = {"demo_accounts": 1000, "durability": "memory"}
    with (
        local_serving(),
        LocalServer(tmp_path / "ledger", PROTOCOLS["native"], **options) as server,
    ):
        # So that little is in the hands of the system.
        server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        unread = server.lifecycle.unread
        unread.bytes_max = MIB
        with ExitStack() as stack:
            silent: list[Any] = []
            while unread.cut_count == 0:
                assert len(silent) < 100
                connection = stack.enter_context(server.connect(receive_bytes=2048))
                connection.send(spell_many(way))
                silent.append(connection)
                # Each is counted before the next comes, so that it is the first which goes.
                wait_until(
                    lambda: len(unread._sizes) == len(silent) or unread.cut_count > 0,
                    "a client that does not read",
                )
            assert MIB // 2 < unread.bytes <= MIB
            assert server.ask(spell_transfer("other")).status == 201
            # The first gets no more than what was on its way, and the last is whole.
            assert len(silent[0].read_to_end()) < len(spell_many(way)) + 100_000
            first = silent[-1].read_answer()
            assert first is not None and first.status in (200, 201)
        wait_until(lambda: unread.bytes == 0, "all to be gone")


# -- the memory of a server ------------------------------------------------------------------------


def read_memory(server: Server, name: str = "VmHWM") -> int:
    """Return a figure of the memory of a server in bytes; VmHWM is the most that there was."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    flags = ("--durability=memory", "--demo-accounts=2", "--workers-max=1")
    with Server(tmp_path / "ledger", *flags) as server:
        assert server.url
        yield server


def connect(server: Server, **options: int) -> RawConnection:
    host, _, port = server.url.removeprefix("http://").partition(":")
    return RawConnection((host, int(port)), **options)


def spell_answer_of(rows: int) -> bytes:
    """Return a request for so many transfers, which are the same each time it is sent."""
    items = [
        {"idempotency_key": f"k-{row}", "from": "acct-0", "to": "acct-1", "amount": 1}
        for row in range(rows)
    ]
    return spell("POST", "/transfers", JSON, body=json.dumps(items).encode())


def test_answers_that_nobody_reads_are_bounded(server: Server) -> None:
    """Of eighty clients that ask for 9 MB each, and read nothing."""
    request = spell_answer_of(ITEMS_MAX)
    with connect(server) as reader, ExitStack() as stack:
        reader.send(request)
        (answer,) = reader.read_answers(1)
        assert answer.status == 200 and len(answer.body) > 7 * MIB
        before = read_memory(server)
        silent = [stack.enter_context(connect(server, receive_bytes=4096)) for _ in range(80)]
        for connection in silent:
            connection.send(request)

        # Who reads is answered, now or as soon as those are gone who do not.
        def is_answered() -> bool:
            reader.send(request)
            (told,) = reader.read_answers(1)
            assert told.status == 200 or told.problem == "queue-full"
            return told.status == 200

        wait_until(is_answered, "an answer", 90)
        # What is read from bodies under way comes on top of what is unread, and they are told apart
        # from neither by the allocator.
        assert read_memory(server) - before < UNREAD_BYTES_MAX + BYTES_UNDER_WAY_MAX
        assert server.process.poll() is None


def test_a_body_that_is_too_long_is_not_kept(server: Server) -> None:
    """Of three hundred clients that send 2 MB each where 16 KiB are the most, all but a byte."""
    body = b'{"from":"' + b"x" * 1_999_980 + b'"}'
    request = spell("POST", "/transfer", JSON, "Idempotency-Key: k", "X-Other: a", body=body)
    before = read_memory(server)
    with ExitStack() as stack:
        connections = [stack.enter_context(connect(server)) for _ in range(300)]
        for connection in connections:
            connection.send(request[:-1])
        for connection in connections:
            connection.send(request[-1:])
            (answer,) = connection.read_answers(1)
            assert answer.status == 400
            assert json.loads(answer.body)["errors"][0]["code"] == "too-large"
    # Of each half a MiB, which is what one turn of the loop may read from a socket, and what a
    # connection and its request take besides.
    assert read_memory(server) - before < len(connections) * 600 * 1024


def test_bodies_beyond_the_bound_are_answered_and_not_reset(server: Server) -> None:
    """Of two dozen uploads of 64 MiB at once."""
    body = b"[" + b" " * (BODY_BYTES_MAX - 2) + b"]"
    request = spell("POST", "/transfers", JSON, body=body)
    found: list[tuple[int, str]] = []

    def upload() -> None:
        with connect(server) as connection:
            connection.send(request)
            answer = connection.read_answer()
            found.append((0, "reset") if answer is None else (answer.status, answer.problem))

    before = read_memory(server)
    threads = [threading.Thread(target=upload) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(found) <= {(200, ""), (503, "queue-full")} and len(found) == 24
    assert found.count((200, "")) >= 1
    assert read_memory(server) - before < BYTES_UNDER_WAY_MAX + BODY_BYTES_MAX
