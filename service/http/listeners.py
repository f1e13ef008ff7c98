"""The sockets that a server listens on: every address of its name, on one port.

This module owns which addresses those are, and that the port is taken before anything else is
touched. It never accepts a connection.
"""

import errno
import ipaddress
import socket

BACKLOG = 1024
PORT_TRIES_MAX = 16
LOCALHOST = "localhost"
LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
MISSING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What a machine says of an address of a family that it does not have."""

Place = tuple[int, str]
"""A family, and an address of it."""


class CannotListen(Exception):
    """The port cannot be taken. The message is one line that names it."""


def is_loopback(host: str) -> bool:
    """Return whether a host can only be reached from this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == LOCALHOST


def find_places(host: str) -> list[Place]:
    """Return the addresses of a host; of `localhost` those of both families. Raises OSError."""
    found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places = [(int(family), str(address[0])) for family, _, _, _, address in found]
    # What the file of hosts says of it may be one family, and browsers try the other first.
    own = [(int(family), name) for family, name in LOOPBACKS] if host == LOCALHOST else []
    return list(dict.fromkeys([*own, *places]))


def listen(host: str, port: int) -> list[socket.socket]:
    """Listen at every address of a host; with port 0 on a free one, the same for all.

    A family that the machine does not have is left out. Raises CannotListen.
    """
    try:
        places = find_places(host)
        for _ in range(PORT_TRIES_MAX - 1 if port == 0 else 0):
            try:
                return _listen_all(places, port)
            except OSError as error:
                # What is free for one family may be in use for the other.
                if error.errno != errno.EADDRINUSE:
                    raise
        return _listen_all(places, port)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EADDRINUSE else str(error.strerror)
        raise CannotListen(f"port {port} of {host} {reason}") from None


def _listen_all(places: list[Place], port: int) -> list[socket.socket]:
    listeners: list[socket.socket] = []
    missing: OSError | None = None
    try:
        for family, address in places:
            try:
                listeners.append(_listen_at(family, address, port, len(places) > 1))
            except OSError as error:
                if error.errno not in MISSING:
                    raise
                missing = error
                continue
            port = listeners[0].getsockname()[1]
        if not listeners and missing is not None:
            raise missing
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _listen_at(family: int, address: str, port: int, is_one_of_many: bool) -> socket.socket:
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it: an answer is never held back for the next one.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if family == socket.AF_INET6 and is_one_of_many:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        # From here on the port is taken, whoever else has bound it and not yet listened.
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def spell_place(listener: socket.socket) -> str:
    """Return where a socket listens, as it stands in an address."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
