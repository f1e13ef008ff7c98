"""The guard of each address: it identifies the client of an ordinary request, and admits it.

This module owns the headers of credentials and deadlines, and that no handler of the ledger runs
for somebody who may not. What a token is worth, and what a client may use, is for admission.pyx,
which the native way asks as well.
"""

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from ipaddress import ip_address
from typing import Any

from sanic import Blueprint
from sanic.response import HTTPResponse

from ledgercore.client.signing import HEADER as SIGNATURE_HEADER

from ..access.key_ring import Scope
from ..wire.json_bodies import make_header_error, refuse
from ..wire.paths import check_parameters
from ..wire.problems import UNAUTHORIZED, Problem
from ..wire.sanic_types import AnyRequest
from .admission import REALM, Admission, Client

TIMEOUT_HEADER = "X-Request-Timeout-Ms"
TIMEOUT_DIGITS_MAX = 8
TOKEN_CHARACTERS_MAX = 255

FORWARDING_START = "x-forwarded-"
FORWARDING = frozenset(
    {
        "forwarded",
        "via",
        "cdn-loop",
        "cf-connecting-ip",
        "client-ip",
        "fastly-client-ip",
        "fly-client-ip",
        "proxy-client-ip",
        "true-client-ip",
        "wl-proxy-client-ip",
        "x-appengine-user-ip",
        "x-azure-clientip",
        "x-client-ip",
        "x-cluster-client-ip",
        "x-envoy-external-address",
        "x-forwarded",
        "x-original-for",
        "x-original-forwarded-for",
        "x-original-host",
        "x-proxyuser-ip",
        "x-real-ip",
        "x-remote-ip",
    }
)
"""What proxies add to a request: Forwarded (RFC 7239), Via (RFC 9110), and what came before."""

Handler = Callable[..., Awaitable[HTTPResponse | None]]
"""What answers a request; None where it has answered already, piece by piece."""


def readable(routes: Blueprint, path: str) -> Callable[[Handler], Handler]:
    """Return the decorator of a GET handler; HEAD gets the same answer without its body."""
    decorate: Callable[[Handler], Handler] = routes.route(path, methods=["GET", "HEAD"])
    return decorate


def admission_of(request: AnyRequest) -> Admission:
    """Return the admission of the app that serves this request. Raises while it is not open."""
    admission: Admission = request.app.ctx.lifecycle.admission
    return admission


def client_of(request: AnyRequest) -> Client:
    """Return the client that sent a guarded request."""
    client: Client = request.ctx.client
    return client


def guard(
    scope: Scope, *, is_charged: bool = True, is_streamed: bool = False
) -> Callable[[Handler], Handler]:
    """Return the decorator that admits only clients whose key has this `scope`.

    `is_charged` takes one request off the limits; without it the handler takes what it costs.
    Where the body `is_streamed`, the handler checks the signature as well, once it is there, and
    what was signed by it: the query. Others have here that of which the address takes nothing.
    """

    def decorate(handler: Handler) -> Handler:
        @wraps(handler)
        async def run(request: AnyRequest, **values: Any) -> HTTPResponse | None:
            admission = admission_of(request)
            client = admission.identify(read_token(request), scope, is_local(request.transport))
            request.ctx.client = client
            if client.is_signed and not is_streamed:
                check_signature(request, request.body)
            has_query = bool(request.query_string) and not (is_streamed and client.is_signed)
            if is_charged or has_query:
                admission.charge_request(client)  # As any nonsense: it counts before it is told.
            if has_query:
                check_parameters(request.query_string, handler)
            return await handler(request, **values)

        run.is_guarded = True  # type: ignore[attr-defined]  # For `is_guarded`.
        return run

    return decorate


@contextmanager
def reading(request: AnyRequest, *, is_charged: bool = True) -> Iterator[None]:
    """Read what a transfer, or many, are to be within this: not where there is no room for them.

    What is wrong with it is told only to who may ask for that much: nonsense counts as a request.
    Without `is_charged` it does not, for what is read before it is known who has sent it.
    """
    admission = admission_of(request)
    admission.in_flight.check()
    try:
        yield
    except Problem:
        if is_charged:
            admission.charge_request(client_of(request))
        raise


def check_direct(request: AnyRequest) -> None:
    """Raise the problem `unauthorized` where a request has come through a proxy.

    Behind a proxy everybody seems to be on this machine, so that without keys the whole world could
    do everything. The native way leaves every request with such a header to this one.
    """
    for name in request.headers:
        if name.lower() in FORWARDING or name.lower().startswith(FORWARDING_START):
            raise Problem(
                UNAUTHORIZED,
                f"The header {name} says that this has come through a proxy, and without API keys"
                " only requests of this machine itself are served.",
                headers={"www-authenticate": REALM},
            )


def is_guarded(handler: object) -> bool:
    """Return whether a handler has a guard, which also looks at the query."""
    return getattr(handler, "is_guarded", False)


def is_local(transport: Any) -> bool:
    """Return whether a connection is of this machine with itself.

    Its own address tells, which nobody else can reach if it is a loopback one. That of the other
    end may be gone with the connection; as long as it is there it has to be one too.
    """
    if transport is None:
        return False
    own, peer = transport.get_extra_info("sockname"), transport.get_extra_info("peername")
    if isinstance(own, str):
        return True  # A socket of the file system has no address.
    return _is_loopback(own) and (peer is None or _is_loopback(peer))


def _is_loopback(name: Any) -> bool:
    try:
        address = ip_address(name[0].partition("%")[0])
    except (TypeError, ValueError, LookupError):
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def check_signature(request: AnyRequest, body: bytes) -> None:
    """Raise the problem `unauthorized` where a client that has to sign has not signed this."""
    client = client_of(request)
    if client.is_signed:
        headers = request.headers.getall(SIGNATURE_HEADER, ())
        # Of two signatures, one may have been added on the way.
        header = headers[0] if len(headers) == 1 else None
        target = request.raw_url.decode("latin-1")
        admission_of(request).verify(client, request.method, target, body, header)


def read_token(request: AnyRequest) -> str | None:
    """Return the token of a request, None if it brings none. Raises the problem `unauthorized`."""
    tokens: list[str] = [text.strip(" \t") for text in request.headers.getall("x-api-key", ())]
    for text in request.headers.getall("authorization", ()):
        scheme, _, token = text.partition(" ")
        tokens.append(token.strip(" \t") if scheme.lower() == "bearer" else "")
    if not tokens:
        return None
    if len(tokens) > 1:
        raise Problem(UNAUTHORIZED, "The request has more than one API key.", headers=_CHALLENGE)
    return tokens[0][: TOKEN_CHARACTERS_MAX + 1]


_CHALLENGE = {"www-authenticate": 'Bearer realm="ledgercore", error="invalid_request"'}


def read_timeout(request: AnyRequest) -> int:
    """Return the milliseconds that a request gives itself, 0 for none."""
    texts = request.headers.getall(TIMEOUT_HEADER, ())
    if not texts:
        return 0
    text = texts[0].strip(" \t")
    is_number = text.isascii() and text.isdigit() and len(text) <= TIMEOUT_DIGITS_MAX
    if len(texts) > 1 or not is_number or int(text) == 0:
        detail = f"It is one whole number of milliseconds, of at most {TIMEOUT_DIGITS_MAX} digits."
        refuse([make_header_error(TIMEOUT_HEADER, "invalid", detail)])
    return int(text)
