"""The check of `Host` and `Origin`: which names a server accepts, and whose pages may write.

This module owns what `Host`, `Origin` and `Sec-Fetch-Site` have to say. A browser sends requests to
this machine for any page that wants it to, and without keys this machine may do everything. So
nothing is changed for the page of another origin, and nothing done that costs much, whether there
are keys or not; and no name is answered to but those of hosts.py. It never looks at who asks.

A request of HTTP/1.0 without a Host is answered: it names nobody, and a browser always names one.
"""

import re

from ..wire.problems import FOREIGN_ORIGIN, MISDIRECTED, NOT_STORED, Problem
from ..wire.sanic_types import AnyRequest
from .hosts import HostNames

SAFE = frozenset(("GET", "HEAD", "OPTIONS"))
"""The methods that change nothing."""

COSTLY = re.compile(r"/audit|/metrics/stream|/debug/pprof/.+").fullmatch
"""Which addresses change nothing and yet cost much: a page could ask for them again and again."""

PROBES = ("/healthz", "/readyz")
"""What is asked for by whatever runs a server that others reach, under an address of its own."""

_OWN_SITES = frozenset(("same-origin", "none"))
_PORTS = {"http": ":80", "https": ":443"}


def check_origin(request: AnyRequest, names: HostNames, is_open: bool | None) -> None:
    """Raise the problem that a request is whose host or origin it must not have.

    `is_open` says that nobody is asked for a key; None that this is not known yet: until then
    nothing is told that is anybody's.
    """
    headers = request.headers
    hosts = [text.strip(" \t") for text in headers.getall("host", ())]
    target = request.raw_url
    if not target.startswith(b"/") and b"://" in target:
        # The target counts, and Host does not (RFC 9112, 3.2.2); but neither may be a strange one.
        authority = target.split(b"://", 1)[1].replace(b"?", b"/").partition(b"/")[0]
        hosts.append(authority.decode("latin-1"))
    if is_open is not None:
        is_known = all(names.accepts(host, is_open) for host in hosts)
        if not is_known and (is_open or request.path not in PROBES):
            raise Problem(MISDIRECTED, "Ask for localhost, or start the server with --allow-host.")
    if request.method not in SAFE or (request.method != "OPTIONS" and COSTLY(request.path)):
        _check_page(request, hosts[-1] if hosts else "")


def _check_page(request: AnyRequest, host: str) -> None:
    """Refuse what the page of another origin asks for, as its browser tells."""
    headers = request.headers
    sites = [site.strip(" \t").lower() for site in headers.getall("sec-fetch-site", ())]
    origins = [origin.strip(" \t") for origin in headers.getall("origin", ())]
    if _OWN_SITES.issuperset(sites):
        own = {_spell("https" if _has_tls(request) else "http", host)}
        if sites == ["same-origin"]:
            # Behind a proxy that ends TLS the page is of https; no page can say this of itself.
            own.add(_spell("https", host))
        if all(_spell(*origin.split("://", 1)) in own for origin in origins):
            return
    raise Problem(FOREIGN_ORIGIN, f"A page of another origin asks for it. {NOT_STORED}.")


def _has_tls(request: AnyRequest) -> bool:
    transport = request.transport
    return transport is not None and transport.get_extra_info("sslcontext") is not None


def _spell(scheme: str, authority: str = "") -> str:
    """Return an origin as it is compared: without case, and without the port of its scheme."""
    scheme = scheme.lower()
    return f"{scheme}://{authority.lower().removesuffix(_PORTS.get(scheme, ':'))}"
