"""Where a server listens: every address of its name, on one port."""

import errno
import socket
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from ledgercore.service.http import listeners
from ledgercore.service.http.listeners import (
    CannotListen,
    find_places,
    is_loopback,
    listen,
    spell_place,
)
from tests.support.servers import Server


def test_localhost_is_both_families() -> None:
    assert find_places("localhost")[:2] == [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")]
    listeners = listen("localhost", 0)
    with ExitStack() as stack:
        for listener in listeners:
            stack.enter_context(listener)
        assert [listener.family for listener in listeners] == [socket.AF_INET, socket.AF_INET6]
        (port,) = {listener.getsockname()[1] for listener in listeners}
        assert [spell_place(one) for one in listeners] == [f"127.0.0.1:{port}", f"[::1]:{port}"]
        for host in ("127.0.0.1", "::1"):
            with socket.create_connection((host, port)):
                pass


def test_one_address_is_one_socket() -> None:
    (listener,) = listen("127.0.0.1", 0)
    with listener:
        # What connections inherit.
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        assert not listener.getblocking()


def test_a_port_that_one_family_has_not_free_is_not_taken() -> None:
    with socket.socket(socket.AF_INET6) as holder:
        holder.bind(("::1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(CannotListen, match=f"^port {port} of localhost is in use$"):
            listen("localhost", port)
        # What was taken of the other family was given back.
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_a_family_that_the_machine_has_not_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    real = listeners._listen_at

    def refuse(family: int, *rest: object) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EADDRNOTAVAIL, "Cannot assign requested address")
        return real(family, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(listeners, "_listen_at", refuse)
    (listener,) = listen("localhost", 0)
    with listener:
        assert listener.family == socket.AF_INET
    with pytest.raises(CannotListen, match=r"^port 0 of ::1 Cannot assign requested address$"):
        listen("::1", 0)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_what_is_no_address_of_this_machine(host: str) -> None:
    with pytest.raises(CannotListen, match=f"^port 0 of {host} "):
        listen(host, 0)


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("0.0.0.0", False),
        ("::", False),
        ("example.com", False),
    ],
)
def test_what_only_this_machine_reaches(host: str, is_ours: bool) -> None:
    assert is_loopback(host) is is_ours


def test_a_server_answers_on_both_families_of_localhost(tmp_path: Path) -> None:
    with Server(tmp_path / "ledger", "--host=localhost", "--demo-accounts=2") as server:
        first = server.url
        urls = [word for word in server.stdout.split() if "://" in word]
        assert urls == [first, first.replace("127.0.0.1", "[::1]")]
        for url in urls:
            assert httpx.get(f"{url}/accounts/acct-0").status_code == 200
        assert server.stop() == 0 and server.complaints == []
