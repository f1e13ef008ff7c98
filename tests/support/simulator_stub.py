"""A ledger over HTTP that can drop, delay and lie, for the tests of the simulator.

It keeps its promises unless it is told not to, in plain Python and one process, and notes what it
was asked. It is no reference for anything: the ledger's own model is tests/support/model.py.
"""

import asyncio
import json
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

URN = "urn:ledgercore:problem:"
ACCOUNTS = 20
FUNDS = 1_000


@dataclass
class Request:
    """A request as the stub has read it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def key(self) -> str:
        return self.headers.get("idempotency-key", "")


@dataclass
class Reply:
    """What the stub answers; a status of 0 hangs up instead."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes = b""

    def encode(self) -> bytes:
        if self.raw:
            return self.raw
        head = f"HTTP/1.1 {self.status} X\r\ncontent-length: {len(self.body)}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in self.headers.items())
        return head.encode() + b"\r\n" + self.body


HANG_UP = Reply(0)
GARBLED = Reply(201, raw=b"HTTP/1.1 201 X\r\ncontent-length: x\r\n\r\n")


def make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object, in which no name may appear twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name appears twice")
    return members


def problem(status: int, name: str, **members: Any) -> Reply:
    body = {"type": URN + name, "title": name, "status": status, **members}
    headers = {"retry-after": str(members["retry_after"])} if "retry_after" in members else {}
    return Reply(status, json.dumps(body).encode(), headers)


class StubLedger:
    """A ledger on a free port for the length of an `async with` block.

    `before` may answer a transfer in the place of the ledger, `after` may change its answer; both
    take the request, and `after` the answer. `tries` counts how often each key was asked.
    """

    def __init__(self, accounts: int = ACCOUNTS) -> None:
        self.balances = {f"acct-{number}": FUNDS for number in range(accounts)}
        self.stored: dict[str, tuple[bytes, Reply]] = {}
        self.requests: dict[str, list[Request]] = defaultdict(list)
        self.tries: Counter[str] = Counter()
        self.applied = 0
        self.before: Callable[[Request], Reply | None] = lambda request: None
        self.after: Callable[[Request, Reply], Reply] = lambda request, reply: reply
        self.delay_s = 0.0
        self.is_audit_ok = True
        self.metrics: dict[str, Any] | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            while (request := await self._read(reader)) is not None:
                reply = await self._answer(request)
                if reply.status == 0:
                    break
                writer.write(reply.encode())
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self._connections.discard(task)
            writer.transport.abort()

    async def _read(self, reader: asyncio.StreamReader) -> Request | None:
        head = await reader.readuntil(b"\r\n\r\n")
        try:
            first, *lines = head.decode().split("\r\n")
            method, target, _ = first.split(" ")
            fields = [line.partition(":") for line in lines if line]
            headers = {name.lower(): value.strip() for name, _, value in fields}
            if len(headers) < len(fields):
                headers.pop("idempotency-key", None)
            body = await reader.readexactly(int(headers.get("content-length", 0)))
        except (UnicodeDecodeError, ValueError):
            return None
        return Request(method, target, headers, body, asyncio.get_running_loop().time())

    async def _answer(self, request: Request) -> Reply:
        if request.target == "/transfer":
            self.requests[request.key].append(request)
            self.tries[request.key] += 1
            if self.delay_s:
                await asyncio.sleep(self.delay_s)
            return self.before(request) or self.after(request, self.transfer(request))
        if request.target.startswith("/accounts/"):
            return Reply(200 if request.target.rpartition("/")[2] in self.balances else 404, b"{}")
        if request.target.startswith("/accounts?"):
            listed = [{"id": name, "balance": value} for name, value in self.balances.items()]
            return Reply(200, json.dumps({"accounts": listed, "next": None}).encode())
        if request.target.startswith("/idempotency-keys/"):
            return self.tell_key(request.target.rpartition("/")[2])
        if request.target == "/audit":
            sums = {"USD/2": 0 if self.is_audit_ok else 7}
            body = {"ok": self.is_audit_ok, "sums": sums, "violations": []}
            return Reply(200, json.dumps(body).encode())
        if request.target == "/metrics" and self.metrics is not None:
            return Reply(200, json.dumps(self.metrics).encode())
        return Reply(200, b"{}") if request.target == "/readyz" else problem(404, "not-found")

    def transfer(self, request: Request) -> Reply:
        """Apply a transfer once per key, or refuse it."""
        try:
            body = json.loads(request.body, object_pairs_hook=make_object)
            source, target, amount = body["from"], body["to"], body["amount"]
            assert type(amount) is int
            assert amount > 0
            assert len(body) == 3
            assert {source, target} <= self.balances.keys()
        except (ValueError, KeyError, TypeError, RecursionError, AssertionError):
            return problem(400, "malformed")
        is_json = request.headers.get("content-type") == "application/json"
        if request.method != "POST" or not is_json or not 0 < len(request.key) < 256:
            return problem(400, "malformed")
        if request.key in self.stored:
            first, reply = self.stored[request.key]
            if first != request.body:
                return problem(422, "idempotency-key-reused")
            return Reply(reply.status, reply.body, {"idempotent-replayed": "true"})
        if self.balances[source] < amount:
            reply = problem(422, "insufficient-funds", outcome="refused")
        else:
            self.move(body)
            reply = Reply(201, json.dumps({"id": self.applied, **body}).encode())
        self.stored[request.key] = (request.body, reply)
        return reply

    def move(self, body: dict[str, Any]) -> None:
        """Move the money, whatever the key."""
        self.applied += 1
        self.balances[body["from"]] -= body["amount"]
        self.balances[body["to"]] += body["amount"]

    def tell_key(self, key: str) -> Reply:
        """Tell what became of a key."""
        if key not in self.stored:
            return Reply(200, b'{"state":"unseen"}')
        body, reply = self.stored[key]
        state = "applied" if reply.status == 201 else "refused"
        told = {"key": key, "state": state, "transfer": json.loads(body)}
        return Reply(200, json.dumps(told).encode())
