"""Addresses of this machine, and that no proxy of the environment sees a call for them."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from click.testing import CliRunner

from ledgercore.client import AsyncLedgerClient, LedgerClient, LedgerClientError, RetryPolicy
from ledgercore.client.loopback import is_loopback, make_options
from ledgercore.service.cli.serve import main
from ledgercore.service.telemetry.collector import Collector, PostFailed, parse_address

VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
POLICY = RetryPolicy(attempts_max=1, deadline_s=5)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LocalHost",
        "localhost.",
        "ledger.localhost",
        "a.b.localhost.",
        "ip6-localhost",
        "127.0.0.1",
        "127.255.3.4",
        "127.1",
        "2130706433",
        "0x7f000001",
        "::1",
        "[::1]",
        "0:0:0:0:0:0:0:1",
        "::ffff:127.0.0.1",
        "[::ffff:7f00:1]",
        "::1%lo",
        "0.0.0.0",
        "::",
    ],
)
def test_this_machine(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "ledger",
        "localhost.example",
        "localhost.com.",
        "notlocalhost",
        "127.0.0.1.example",
        "128.0.0.1",
        "10.0.0.1",
        "::2",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "1",
        "127.0.0.256",
    ],
)
def test_another_machine(host: str) -> None:
    assert not is_loopback(host)


# -- real proxies ---------------------------------------------------------------------------------


class Listener:
    """A server that answers 503 to all, and counts who has come."""

    def __init__(self, family: socket.AddressFamily, host: str) -> None:
        self.heads: list[bytes] = []
        self._socket = socket.create_server((host, 0), family=family)
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                with connection:
                    self.heads.append(connection.recv(65_536))
                    connection.sendall(
                        b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n"
                        b"connection: close\r\n\r\n"
                    )

    def close(self) -> None:
        # Somebody who waits in accept is not told of a close.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listener]:
    """Put a proxy into the environment, for all that is not named."""
    proxy = Listener(socket.AF_INET, "127.0.0.1")
    for name in VARIABLES:
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    yield proxy
    proxy.close()


@pytest.fixture(params=["127.0.0.1", "localhost", "::1"])
def near(request: pytest.FixtureRequest) -> Iterator[tuple[str, Listener]]:
    """Listen on this machine, and say by which address."""
    is_new = ":" in request.param
    if is_new and not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    listener = Listener(
        socket.AF_INET6 if is_new else socket.AF_INET, request.param if is_new else "127.0.0.1"
    )
    host = f"[{request.param}]" if is_new else request.param
    yield f"http://{host}:{listener.port}", listener
    listener.close()


def ask(kind: str, url: str) -> None:
    """Send one request in one of the ways in which we do; it is not answered well."""
    if kind == "client":
        with LedgerClient(url, policy=POLICY) as client, pytest.raises(LedgerClientError):
            client.account("a")
    elif kind == "async client":

        async def run() -> None:
            async with AsyncLedgerClient(url, policy=POLICY) as client:
                with pytest.raises(LedgerClientError):
                    await client.account("a")

        asyncio.run(run())
    elif kind == "command":
        done = CliRunner().invoke(main, ["admin", "limits", "show", f"--url={url}"])
        assert done.exit_code == 1
    else:
        collector = Collector(parse_address(url))
        with pytest.raises(PostFailed):
            collector.post(b"", 5)
        collector.close()


@pytest.mark.parametrize("kind", ["client", "async client", "command", "collector"])
def test_no_proxy_sees_what_is_for_this_machine(
    kind: str, near: tuple[str, Listener], proxy: Listener
) -> None:
    url, listener = near
    ask(kind, url)
    assert len(listener.heads) == 1 and proxy.heads == []
    # And what is for another machine goes its way.
    ask(kind, "http://ledger.example:8000")
    assert len(proxy.heads) == 1 and b"ledger.example" in proxy.heads[0]


@pytest.mark.parametrize("kind", ["client", "async client", "command", "collector"])
def test_a_proxy_that_cannot_be_used_is_in_nobody_s_way(
    kind: str, near: tuple[str, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "socks5://127.0.0.1:1")
    url, listener = near
    ask(kind, url)
    assert len(listener.heads) == 1


def test_what_the_environment_says_of_certificates_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/none/certificates.pem")
    with pytest.raises(FileNotFoundError):
        make_options("https://localhost")
    assert make_options(httpx.URL("https://ledger.example")) == {}
