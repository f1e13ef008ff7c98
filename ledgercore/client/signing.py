"""Signatures of requests: how one is made, written, read and compared.

This module owns the header `X-Signature` for both sides. It never knows whose secret it is, whether
a timestamp is recent, or whether a nonce was seen before: that is for whoever checks a request.

The header is `t=<unix seconds>,n=<nonce>,v1=<hex>`, where the digest is the HMAC-SHA256 (RFC 2104)
of `{t}.{n}.{METHOD}.{target}.` and the body after it. The target is the path with its query, as it
is sent. Headers are not signed, so what matters belongs into the body.
"""

import hashlib
import hmac
import re

import msgspec

HEADER = "X-Signature"

_match_nonce = re.compile(r"[A-Za-z0-9_-]{1,64}").fullmatch
_match_header = re.compile(
    r"t=(?P<timestamp>[0-9]{1,12}),n=(?P<nonce>[A-Za-z0-9_-]{1,64}),v1=(?P<digest>[0-9a-f]{64})"
).fullmatch


class Signature(msgspec.Struct, frozen=True, gc=False):
    """What the header says: Unix seconds, a nonce of the client's choice, and a digest in hex."""

    timestamp: int
    nonce: str
    digest: str

    def __str__(self) -> str:
        return f"t={self.timestamp},n={self.nonce},v1={self.digest}"


def sign(secret: str, method: str, target: str, body: bytes, *, timestamp: int, nonce: str) -> str:
    """Return the value of the header for a request.

    The nonce is 1 to 64 of `A-Z a-z 0-9 _ -`, fresh for every request that is sent. Raises
    ValueError for another nonce, and for an empty secret, which would sign nothing.
    """
    if not _match_nonce(nonce):
        raise ValueError("nonce: it is 1 to 64 of A-Z a-z 0-9 _ -")
    digest = _make_digest(secret, method, target, body, timestamp, nonce)
    return str(Signature(timestamp, nonce, digest))


def parse(text: str) -> Signature | None:
    """Read the value of the header; None if it is not one."""
    match = _match_header(text)
    if match is None:
        return None
    return Signature(int(match["timestamp"]), match["nonce"], match["digest"])


def matches(signature: Signature, secret: str, method: str, target: str, body: bytes) -> bool:
    """Tell whether a signature was made with this secret for this request.

    It takes as long for a digest that is nearly right as for one that is all wrong.
    """
    digest = _make_digest(secret, method, target, body, signature.timestamp, signature.nonce)
    return hmac.compare_digest(digest, signature.digest)


def _make_digest(
    secret: str, method: str, target: str, body: bytes, timestamp: int, nonce: str
) -> str:
    if not secret:
        raise ValueError("secret: it is empty")
    digest = hmac.new(secret.encode(), digestmod=hashlib.sha256)
    digest.update(f"{timestamp}.{nonce}.{method.upper()}.{target}.".encode())
    digest.update(body)
    return digest.hexdigest()
