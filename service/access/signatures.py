"""The check of a signed request: the signature, its age, and that it was not used before.

This module owns the order of the checks and what a client is told. It never finds out whose secret
it is, and the format of a signature is that of signing.py.

The signed text is `{t}.{n}.{METHOD}.{target}.` and the body after it. A target may hold dots, so
the text alone does not say where the target ends, and a captured signature could be used for a
shorter or a longer target. Two rules close that, for every method and every address, now and later:

* The target of a signed request is visible ASCII without `{`, `[` and `"`.
* Its body is empty, or begins with a byte that no such target holds.

Proof: Let one text be cut into (T1, B1) and, with a longer target, into (T2, B2). B1 is not empty,
since it has at least the dot before B2. Its first byte is either in T2 or that dot; both are
bytes that a target holds, which B1 may not begin with. The parts before the target hold no dots: a
number, a nonce, and a method in capitals.

What this service takes passes: JSON objects and arrays begin with `{` or `[`, or with white
space, and Arrow streams with the byte 0xFF; and ids in paths may always be percent-encoded.
"""

import re
import time
from collections.abc import Callable, Mapping
from typing import NoReturn

from ledgercore.client.signing import HEADER, Signature, matches, parse

from ..wire.base_path import has_base
from ..wire.problems import NONCES_FULL, NONCES_UNAVAILABLE, NOT_STORED, UNAUTHORIZED, Problem
from .nonces import WINDOW_S, NonceMemory, NoncesFull

CHALLENGE = 'Signature realm="ledgercore", header="X-Signature", algorithm="hmac-sha256"'
"""The field `WWW-Authenticate` of every refusal: what a request has to bring (RFC 9110, 11.6.1)."""

_match_method = re.compile(r"[A-Z]+").fullmatch
_match_target = re.compile(r'[^\x00-\x20"\[{\x7f-\U0010ffff]+').fullmatch
_match_body = re.compile(rb'(?:[\x00-\x20"\[{\x7f-\xff]|\Z)').match


class SignatureCheck:
    """Accepts each signed request once, while its timestamp is within the window."""

    def __init__(
        self,
        nonces: NonceMemory,
        *,
        window_s: int = WINDOW_S,
        clock: Callable[[], float] = time.time,
        base_path: str = "",
    ) -> None:
        """Check what is asked below `base_path`, of which a proxy may have taken that path off."""
        self._nonces = nonces
        self._base_path = base_path
        self._window_s = window_s
        self._clock = clock

    def check(
        self,
        credential_secret: str,
        client: str,
        method: str,
        target: str,
        body: bytes,
        header: str | None,
    ) -> None:
        """Return if the request is signed with this secret and was not here before.

        Method, target and body are those of the wire. Raises Problem: UNAUTHORIZED, or, where it
        cannot be remembered that the request was here, NONCES_FULL or NONCES_UNAVAILABLE.
        """
        signature = _read(header)
        self._check_time(signature.timestamp)
        _check_border(method, target, body)
        targets = self._find_targets(target)
        if not any(matches(signature, credential_secret, method, t, body) for t in targets):
            _refuse("The signature is not that of this request with this key's secret.")
        # Last, so that nobody without the secret can use up a nonce, or the memory.
        self._check_nonce(client, signature)

    def _find_targets(self, target: str) -> tuple[str, ...]:
        """Return what a client may have asked where this has arrived.

        Both lead to the same, so that a signature of the one is none of anything else.
        """
        if self._base_path == "" or has_base(self._base_path, target.encode("latin-1")):
            return (target,)
        return self._base_path + target, target

    def _check_time(self, timestamp: int) -> None:
        lead_s = timestamp - self._clock()
        if abs(lead_s) > self._window_s:
            side = "ahead of" if lead_s > 0 else "behind"
            _refuse(
                f"The timestamp is {abs(lead_s):.0f} s {side} the server's clock;"
                f" {self._window_s} s are allowed."
            )

    def _check_nonce(self, client: str, signature: Signature) -> None:
        try:
            is_new = self._nonces.remember(client, signature.nonce, signature.timestamp)
        except NoncesFull as error:
            raise Problem(
                NONCES_FULL, f"Too many signed requests in too short a time. {NOT_STORED}."
            ) from error
        except OSError as error:
            raise Problem(
                NONCES_UNAVAILABLE, f"The server cannot store the nonce. {NOT_STORED}."
            ) from error
        if is_new:
            return
        wait_s = self._nonces.closed_s + 1 - signature.timestamp
        if wait_s > 0:
            # By the client's own clock: so it holds too where that is not the server's.
            _refuse(
                "The signature is older than what the server remembers; sign the request anew.",
                {"retry-after": str(wait_s)},
            )
        _refuse("The nonce was used before; sign each request anew.")


def _read(header: str | None) -> Signature:
    if header is None:
        _refuse(f"This key signs its requests: send the header {HEADER}.")
    signature = parse(header)
    if signature is None:
        _refuse(f"The header {HEADER} is not t=<unix seconds>,n=<nonce>,v1=<64 hex digits>.")
    return signature


def _check_border(method: str, target: str, body: bytes) -> None:
    """Refuse what could be cut into target and body at two places; the head of this file says why.

    The two classes of bytes are each other's complement.
    """
    if not _match_method(method):
        _refuse("The method of a signed request is in capitals.")
    if not _match_target(target):
        _refuse('The target of a signed request is visible ASCII without {, [ and "; encode them.')
    if not _match_body(body):
        _refuse("The body of a signed request is a JSON object or array, Arrow, or empty.")


def _refuse(detail: str, headers: Mapping[str, str] | None = None) -> NoReturn:
    raise Problem(UNAUTHORIZED, detail, headers={"www-authenticate": CHALLENGE, **(headers or {})})
