"""The names that a server answers to.

This module owns which they are, and how they are read from a setting. Without keys they are names
of this machine and what was allowed: a page whose own name comes to mean this machine (DNS
rebinding) could do everything else. With keys it is any name, unless names are allowed, and then
those and this machine's. It never looks at a request.
"""

import re
from collections.abc import Iterable
from ipaddress import ip_address

_match_name = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?|\[[0-9a-f:.]+\]").fullmatch
_match_host = re.compile(r"(\[[^\]]*\]|[^:]*)(?::[0-9]*)?").fullmatch


class HostNames:
    """The host names that a request may name."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = frozenset(allowed)

    def accepts(self, host: str, is_open: bool) -> bool:
        """Return whether a request may name this host, with or without a port.

        `is_open` says that nobody is asked for a key.
        """
        if not is_open and not self._allowed:
            return True
        found = _match_host(host.strip(" \t").lower())
        if found is None:
            return False
        name = found[1].removesuffix(".")
        return name in self._allowed or _is_this_machine(name)


def _is_this_machine(name: str) -> bool:
    # RFC 6761, 6.3: these never mean anything else, and no resolver is asked for them.
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def read_names(text: str) -> list[str]:
    """Return the names in a list, with commas or spaces. Raises ValueError for a wrong one."""
    names = [name.lower().removesuffix(".") for name in text.replace(",", " ").split()]
    for name in names:
        if not _match_name(name):
            raise ValueError(f"{name!r} is no name of a host; it has neither a scheme nor a port")
    return names
