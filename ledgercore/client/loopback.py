"""Whether an address is of this machine, whose requests no proxy may see.

This module owns that question, and what httpx is told for such an address. It resolves no name.

httpx takes proxies from the environment (HTTP_PROXY, ALL_PROXY), and sends them calls for this
machine as well unless NO_PROXY names it. A key and an amount would then go to somebody else, who
would look for the ledger on a machine of their own.
"""

import socket
from ipaddress import ip_address
from typing import Any

import httpx

_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
"""Names of this machine (RFC 6761, 6.3), and those that Debian and others have for it."""


def is_loopback(host: str) -> bool:
    """Return whether a host of a URL, with or without brackets, is this machine itself.

    It is for `localhost` and all names below it, the loopback addresses however they are spelled,
    and the address of no interface, to which a connection stays here too.
    """
    name = host.lower().removesuffix(".")
    if name in _NAMES or name.endswith(".localhost"):
        return True
    try:
        address = ip_address(name.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        try:
            # As a resolver reads it: 127.1, 0x7f000001.
            address = ip_address(socket.inet_aton(name))
        except (OSError, ValueError):
            return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_loopback or address.is_unspecified


def make_options(url: httpx.URL | str) -> dict[str, Any]:
    """Return what a client of httpx is to be given so that it goes to a URL directly, if it must.

    Certificates that the environment names count all the same.
    """
    if not is_loopback(httpx.URL(url).host):
        return {}
    return {"trust_env": False, "verify": httpx.create_ssl_context()}
