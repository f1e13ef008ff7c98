"""Which peers there are, and which of them this machine has.

This module owns their names. A peer's module is imported only when it is asked for, since it may
need a library that is not there.
"""

from collections.abc import Iterable
from contextlib import ExitStack
from importlib import import_module

from .peer import Peer, PeerMissing, Settings

PEERS = {
    "sqlite": "sqlite:SqlitePeer",
    "postgres": "postgres:PostgresPeer",
    "redis": "redis:RedisPeer",
    "go": "over_http:GoPeer",
    "service": "over_http:ServicePeer",
    "engine": "engine:EnginePeer",
    "batches": "engine:BatchPeer",
}
"""The module and the class of each peer, in the order of the table."""


def open_peer(name: str, settings: Settings) -> Peer:
    """Open a peer. Raises PeerMissing, saying how to install it, and PeerFailed."""
    module, _, peer = PEERS[name].partition(":")
    try:
        made: Peer = getattr(import_module(f"{__package__}.{module}"), peer)(settings)
    except ModuleNotFoundError as error:
        hint = "pip install '.[peers]', from the root of the project"
        raise PeerMissing(f"needs the Python library {error.name}: {hint}") from error
    return made


def open_peers(
    names: Iterable[str], settings: Settings, stack: ExitStack
) -> tuple[dict[str, Peer], dict[str, str]]:
    """Open the peers that are there; return them, and how to install each of the others."""
    found: dict[str, Peer] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            found[name] = stack.enter_context(open_peer(name, settings))
        except PeerMissing as error:
            missing[name] = str(error)
    return found, missing
