"""Redis as a ledger: one Lua script a transfer, and a log that is synced before each answer."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from typing import Any

from redis import Redis, UnixDomainSocketConnection
from redis.exceptions import BusyLoadingError, ConnectionError

from ..processes import DEADLINE_S, Process
from ..workloads import Call
from .peer import FUNDS, Ask, Peer, PeerFailed, PeerMissing, Settings, make_directory, run_clients

INSTALL = "install redis-server (Debian: apt-get install redis-server)"

Connection: Any = UnixDomainSocketConnection
"""Its annotations are wrong: to a type checker it is abstract."""

# Lua's numbers are doubles, so the check is exact up to 2^53; the sums are Redis's own, int64.
TRANSFER = """
local seen = redis.call('GET', KEYS[1])
if seen then
    return tonumber(seen)
end
local balance, floor = unpack(redis.call('HMGET', KEYS[2], 'balance', 'floor'))
if not balance or redis.call('EXISTS', KEYS[3]) == 0 then
    return redis.error_reply('there is no such account')
end
local is_applied = 0
if tonumber(balance) - tonumber(ARGV[1]) >= tonumber(floor) then
    redis.call('HINCRBY', KEYS[2], 'balance', '-' .. ARGV[1])
    redis.call('HINCRBY', KEYS[3], 'balance', ARGV[1])
    is_applied = 1
end
redis.call('SET', KEYS[1], is_applied)
return is_applied
"""


@contextmanager
def open_redis(settings: Settings) -> Iterator[Peer]:
    """Start a Redis server on a Unix socket, with a connection for each client."""
    binary = shutil.which("redis-server")
    if binary is None:
        raise PeerMissing(INSTALL)
    with ExitStack() as stack:
        socket = stack.enter_context(make_directory()) / "redis"
        data = settings.scratch / "redis"
        data.mkdir()
        flags = ("--port", "0", "--unixsocket", str(socket), "--unixsocketperm", "700")
        durable = ("--appendonly", "yes", "--appendfsync", "always", "--save", "")
        command = [binary, *flags, *durable, "--dir", str(data)]
        log = settings.scratch / "redis.log"
        server = stack.enter_context(Process(settings.core, command, log))

        def connect() -> Any:
            """Return a connection that is there: a client that does more would be the limit."""
            connection = Connection(path=str(socket), socket_timeout=DEADLINE_S)
            connection.connect()
            stack.callback(connection.disconnect)
            return connection

        first = server.wait_for(connect, (ConnectionError, BusyLoadingError))
        client: Any = stack.enter_context(closing(Redis(unix_socket_path=str(socket))))
        for setting, text in {"appendonly": "yes", "appendfsync": "always"}.items():
            if client.config_get(setting)[setting] != text:
                raise PeerFailed(f"Redis does not run with {setting} {text}")
        script = client.script_load(TRANSFER)
        with client.pipeline(transaction=False) as pipeline:
            for name in settings.names:
                pipeline.hset(f"account:{name}", mapping={"balance": FUNDS, "floor": 0})
            pipeline.execute()
        connections = [first, *(connect() for _ in range(settings.clients - 1))]
        asks = [make_ask(connection, script) for connection in connections]
        yield Peer(
            "Redis, one Lua script each",
            "on the disk: one sync for the scripts of one turn of its loop (appendfsync always)",
            client.info("server")["redis_version"],
            settings.clients,
            asks[0],
            partial(run_clients, asks, settings.load_core, is_embedded=False),
            partial(read_balances, client, settings.names),
        )


def make_ask(connection: Any, script: str) -> Ask:
    """Return what makes calls over a connection."""
    send, read = connection.send_command, connection.read_response

    def ask(call: Call) -> bool:
        source, target, amount, key = call
        send("EVALSHA", script, 3, f"key:{key}", f"account:{source}", f"account:{target}", amount)
        return bool(read())

    return ask


def read_balances(client: Any, names: Sequence[str]) -> dict[str, int]:
    """Return the balance of each account's hash."""
    with client.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.hget(f"account:{name}", "balance")
        balances = pipeline.execute()
    return {name: int(balance) for name, balance in zip(names, balances, strict=True)}
