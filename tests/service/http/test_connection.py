"""The native way beside the ordinary one: order, pieces, pauses, and the same bytes."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sanic.http.constants import Stage

from ledgercore import EngineFailed, QueueFull
from ledgercore.service.runtime.lifecycle import State
from tests.support.feeding import feed, mask_ids, open_fed, wait_in_loop
from tests.support.local import PROTOCOLS, LocalServer, local_serving, mask, serve_both_ways

END = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
HEALTHY = b'{"status":"ok"}'
MIXED = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n"
SEGMENTS = 4


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LocalServer]]:
    """Serve in both ways, from ledgers that are alike."""
    data = tmp_path_factory.mktemp("protocol")
    options: dict[str, Any] = {"demo_accounts": 40, "durability": "memory", "segments": SEGMENTS}
    with serve_both_ways(data, **options) as servers:
        yield servers


@pytest.fixture(scope="module")
def native(servers: dict[str, LocalServer]) -> LocalServer:
    return servers["native"]


def post(key: str, *lines: str, source: str = "acct-0", amount: int = 1, body: str = "") -> bytes:
    """Return a transfer as bytes; plain, unless the lines make it something else."""
    body = body or f'{{"from":"{source}","to":"acct-1","amount":{amount}}}'
    head = ["POST /transfer HTTP/1.1", "Host: localhost", *lines, f"Content-Length: {len(body)}"]
    if not any(line.lower().startswith("content-type:") for line in lines):
        head.append("Content-Type: application/json")
    if key:
        head.append(f"Idempotency-Key: {key}")
    return "\r\n".join([*head, "", body]).encode()


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def chunked(key: str) -> bytes:
    body = '{"from":"acct-0","to":"acct-1","amount":1}'
    head = f"POST /transfer HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: {key}\r\n"
    head += "Content-Type: application/json\r\n"
    return f"{head}Transfer-Encoding: chunked\r\n\r\n{len(body):x}\r\n{body}\r\n0\r\n\r\n".encode()


def plain_requests(prefix: str) -> bytes:
    key_within = f'{{"idempotency_key":"{prefix}-2","from":"acct-9","to":"acct-1","amount":2}}'
    requests = [
        post(f"{prefix}-1"),
        post("", body=key_within),
        post(f"{prefix}-3", source="nobody"),
        post(f"{prefix}-1", "Connection: keep-alive", "User-Agent: a b"),
        post(f"{prefix}-1", amount=2),
    ]
    return b"".join([*requests, END])


def mixed_requests(prefix: str) -> bytes:
    requests = [
        MIXED,
        post(f"{prefix}-1"),
        post(f'"{prefix}-2"', source="acct-5"),
        chunked(f"{prefix}-3"),
        get("/idempotency-keys/none"),
        post(f"{prefix}-4", body='{"from":"acct-0"'),
        post(f"{prefix}-5", source="acct-7"),
        post(f"{prefix}-1", "X-Other: a"),
    ]
    return b"".join([*requests, END])


def state_of(server: LocalServer) -> tuple[int, int]:
    """Return the last LSN, and what the account has that the tests pay to."""
    engine = server.lifecycle.engine
    return engine.statistics().lsn_applied, engine.peek_account("acct-1").balance


# -- pieces ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("requests", [plain_requests, mixed_requests])
def test_every_split_in_two(native: LocalServer, requests: Any) -> None:
    whole, changes = run_pieces(native, requests(f"{requests.__name__}-whole"), ())
    assert whole.endswith(HEALTHY) and changes[0] > 2
    length = len(requests("00000"))
    for at in range(1, length):
        answers, changed = run_pieces(native, requests(f"{requests.__name__[0]}{at:04}"), (at,))
        assert (answers, changed) == (whole, changes), at


def run_pieces(
    server: LocalServer, data: bytes, cuts: tuple[int, ...]
) -> tuple[bytes, tuple[int, int]]:
    """Return the masked answers to what is cut at these places, and what the ledger has gained."""
    before = state_of(server)
    ends = [*cuts, len(data)]
    pieces = [data[start:end] for start, end in zip([0, *cuts], ends, strict=True)]
    transport = server.run(feed(server, pieces))
    after = state_of(server)
    # What is plain never reaches Sanic, however it is cut; the last request is not.
    assert data.startswith(MIXED) or transport.count_ordinary == 1
    return mask_ids(transport.written), (after[0] - before[0], after[1] - before[1])


@pytest.mark.parametrize("requests", [plain_requests, mixed_requests])
def test_byte_by_byte(native: LocalServer, requests: Any) -> None:
    name = requests.__name__
    whole = run_pieces(native, requests(f"{name}-a"), ())
    data = requests(f"{name}-b")
    assert run_pieces(native, data, tuple(range(1, len(data)))) == whole
    # Through a socket, where the kernel decides what comes together.
    with native.connect() as connection:
        data = requests(f"{name}-c")
        connection.send(*(data[at : at + 1] for at in range(len(data))))
        assert mask_ids(connection.read_to_end()) == whole[0]


@given(st.lists(st.integers(1, len(mixed_requests("00000")) - 1), unique=True, max_size=8))
@settings(max_examples=100)
def test_any_pieces(servers: dict[str, LocalServer], cuts: list[int]) -> None:
    native = servers["native"]
    fresh = f"{state_of(native)[0]:05}"
    answers, changed = run_pieces(native, mixed_requests(fresh), tuple(sorted(cuts)))
    assert answers.endswith(HEALTHY) and answers.count(b"HTTP/1.1 ") == 9
    assert changed == (4, 4)


# -- pipelines -------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [2, 3, 8, 31, 64])
@pytest.mark.parametrize("sources", [1, 32])
def test_pipelines_are_answered_in_order(native: LocalServer, count: int, sources: int) -> None:
    """Where the sources are many, they are of several segments, which end at their own times."""
    name = f"pipeline-{sources}-{count}"
    with native.connect() as connection:
        connection.send(
            b"".join(
                post(f"{name}-{n}", source=f"acct-{n % sources + 2}", amount=n + 1)
                for n in range(count)
            )
        )
        answers = connection.read_answers(count)
    assert [answer.status for answer in answers] == [201] * count
    assert [int(answer.body.split(b'"amount":')[1].split(b",")[0]) for answer in answers] == [
        n + 1 for n in range(count)
    ]
    if sources > 1:
        engine = native.lifecycle.engine
        assert len({engine.segment_of(f"acct-{n + 2}") for n in range(sources)}) == SEGMENTS


@pytest.mark.parametrize("pattern", ["fs", "sf", "ffss", "sfsf", "fgfg", "cfcf", "gfcsffgc" * 8])
def test_mixtures_are_answered_in_order(native: LocalServer, pattern: str) -> None:
    """Fast, slow, chunked and GETs, in one write."""
    name, requests = f"mixture-{pattern}", []
    for n, kind in enumerate(pattern):
        key = f"{name}-{n}"
        requests.append(
            {
                "f": post(key, amount=n + 1, source=f"acct-{n % 32}" if n % 32 != 1 else "acct-0"),
                "s": post(key, "X-Slow: a", amount=n + 1),
                "c": chunked(key),
                "g": get(f"/idempotency-keys/{n}"),
            }[kind]
        )
    with native.connect() as connection:
        connection.send(b"".join(requests))
        answers = connection.read_answers(len(pattern))
    for n, (kind, answer) in enumerate(zip(pattern, answers, strict=True)):
        assert answer.status == (200 if kind == "g" else 201)
        told = f'"key":"{n}"' if kind == "g" else f'"amount":{1 if kind == "c" else n + 1},'
        assert told.encode() in answer.body


def test_what_follows_a_close_is_not_run(native: LocalServer) -> None:
    with native.connect() as connection:
        connection.send(post("close-1") + post("close-2", "Connection: close") + post("close-3"))
        assert [answer.status for answer in connection.read_answers(2)] == [201, 201]
        assert connection.read_answer() is None
    assert native.get("/idempotency-keys/close-3")["state"] == "unseen"


def test_connections_stay_open(native: LocalServer) -> None:
    with native.connect() as connection:
        for n in range(20):
            connection.send(post(f"open-{n}") if n % 3 else get("/healthz"))
            (answer,) = connection.read_answers(1)
            assert answer.headers["connection"] == "keep-alive"


# -- pauses ----------------------------------------------------------------------------------------


def test_a_request_that_pauses_is_sanics(
    native: LocalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledgercore.service.http.connection.PARTIAL_S", 0.001)

    async def pause(at: int) -> bytes:
        transport = await open_fed(native)
        data = post("pause") + END
        transport.protocol.data_received(data[:at])
        assert transport.protocol.http.stage is Stage.IDLE
        await wait_in_loop(lambda: transport.protocol.http.stage is not Stage.IDLE)
        transport.protocol.data_received(data[at:])
        await transport.closed.wait()
        return transport.written

    for at in (1, 30, len(post("pause")) - 1):
        answers = native.run(pause(at))
        assert answers.startswith(b"HTTP/1.1 201") and answers.endswith(HEALTHY)


def test_a_request_that_never_ends_runs_out_of_time(
    servers: dict[str, LocalServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledgercore.service.http.connection.PARTIAL_S", 0.001)
    answers = []
    for server in servers.values():
        with server.connect() as connection:
            connection.send(post("stalled")[:60])
            answers.append(mask(connection.read_to_end()))
    assert answers[0] == answers[1] and b"problem:request-timeout" in answers[0]


# -- refusals, byte by byte as the ordinary way has them -------------------------------------------


def same_answers(servers: dict[str, LocalServer], data: bytes) -> bytes:
    """Return what both ways answer, and check that it is the same."""
    native, ordinary = (server.run(feed(server, [data])).written for server in servers.values())
    # The twins are asked the same, but not only here: their ids differ.
    assert mask_ids(native) == mask_ids(ordinary)
    return native


@pytest.mark.parametrize("state", [State.OPENING, State.STOPPING, State.FAILED])
def test_a_ledger_that_takes_nothing(
    servers: dict[str, LocalServer], state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    for server in servers.values():
        monkeypatch.setattr(server.lifecycle, "state", state)
        monkeypatch.setattr(server.lifecycle, "is_ready", False)
    answers = same_answers(servers, post(f"state-{state.name}") * 2 + END)
    assert answers.startswith(b"HTTP/1.1 503 ")
    # A server that stops closes with its first answer.
    assert answers.count(b"HTTP/1.1 503 ") == (1 if state is State.STOPPING else 2)


class Refusing:
    """An engine that takes nothing."""

    def __init__(self, engine: Any, error: Exception) -> None:
        self._engine = engine
        self._error = error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def submit(self, *_: Any) -> None:
        raise self._error


def test_a_full_queue(servers: dict[str, LocalServer], monkeypatch: pytest.MonkeyPatch) -> None:
    for server in servers.values():
        batcher: Any = server.lifecycle.batcher
        monkeypatch.setattr(batcher, "_engine", Refusing(batcher._engine, QueueFull("full")))
    answers = same_answers(servers, post("full") * 3 + END)
    assert answers.count(b"HTTP/1.1 503 ") == 3 and b":queue-full" in answers
    monkeypatch.undo()
    assert b"201 Created" in same_answers(servers, post("full") + END)


def test_an_engine_that_fails(
    servers: dict[str, LocalServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    for server in servers.values():
        batcher: Any = server.lifecycle.batcher
        monkeypatch.setattr(batcher, "_engine", Refusing(batcher._engine, EngineFailed("x")))
        monkeypatch.setattr(batcher, "_on_failure", lambda: None)
    answers = same_answers(servers, post("failed") + END)
    assert answers.startswith(b"HTTP/1.1 503 ") and b":journal-failed" in answers


def test_a_key_that_is_used_again(servers: dict[str, LocalServer]) -> None:
    first = post("again", amount=3) + post("again", amount=3) + post("again", amount=4) + END
    answers = same_answers(servers, first)
    assert answers.count(b"idempotent-replayed: true") == 1
    assert b":idempotency-key-reused" in answers


@pytest.mark.parametrize(
    "body",
    [
        '{"from":"nobody","to":"acct-1","amount":1}',
        '{"from":"acct-0","to":"nobody","amount":1}',
        '{"from":"acct-0","to":"acct-0","amount":1}',
        '{"from":"acct-0","to":"acct-1","amount":9223372036854775807}',
        '{"from":"acct-0","to":"acct-1","amount":1,"memo":"a \\" b"}',
        '{"from":"acct-0","to":"acct-1","amount":1,"memo":"a b"}',
        ' { "amount" : 1 , "to" : "acct-1" , "from" : "acct-0" } ',
    ],
)
def test_outcomes(servers: dict[str, LocalServer], body: str) -> None:
    same_answers(servers, post(f"outcome-{abs(hash(body))}", body=body) * 2 + END)


def test_keys_that_are_full(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Which keys still find room is each table's own; what the others are told is not."""
    data = tmp_path_factory.mktemp("full")
    options: dict[str, Any] = {"demo_accounts": 2, "keys_max": 16, "durability": "memory"}
    told = set()
    with local_serving():
        for way in ("native", "ordinary"):
            with LocalServer(data / way, PROTOCOLS[way], **options) as server:
                requests = b"".join(post(f"k-{n}") for n in range(1000))
                answers = server.run(feed(server, [requests, END])).written.split(b"HTTP/1.1 ")[1:]
            full = {mask(answer) for answer in answers if b":keys-full" in answer}
            assert len(answers) == 1001 and len(full) == 1
            told |= full
    assert len(told) == 1
