"""What an API key is: its token, whose it is, and what it allows.

This module owns the form of tokens and secrets, and what is a sound key. It reads no file, and
never says whether a key is one of ours: the file and the ring do.

A token is `lck_`, the key's id, `_` and 32 random bytes as 43 characters of URL-safe Base64. Of a
token only the SHA-256 is kept. A slow hash (scrypt, Argon2) helps where a secret can be guessed, as
a password can; 256 random bits cannot, and a slow hash would be paid with every request. A signed
key has a secret as well, `lcs_` and 43 characters. That one is kept as it is: an HMAC can only be
checked by who holds the secret itself.
"""

import hashlib
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import IntEnum

from ledgercore import AMOUNT_MAX

RATE_MIN, RATE_MAX = 0.001, 1_000_000_000
BURST_MAX = 1_000_000_000
ID_BYTES = 4
SECRET_BYTES = 32
DIGEST_BYTES = 32

# Classes of characters are spelled out: \d and \w would take the digits and letters of all scripts.
_match_token = re.compile(r"lck_(?P<id>[0-9a-f]{8})_[A-Za-z0-9_-]{43}").fullmatch
_match_secret = re.compile(r"lcs_[A-Za-z0-9_-]{43}").fullmatch
_match_id = re.compile(r"[0-9a-f]{8}").fullmatch
_match_client = re.compile(r"[A-Za-z0-9._-]{1,64}").fullmatch
_match_time = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z").fullmatch


class Scope(IntEnum):
    """What a key allows. Each includes those below it, so `>=` asks whether one is enough."""

    READ = 1
    TRANSFER = 2
    ADMIN = 3

    @property
    def label(self) -> str:
        """The scope as the file and the command line spell it."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Credential:
    """A key as the server knows it. What would help to use it does not show in its `repr`."""

    id: str
    """8 hexadecimal digits, which stand in the token too, so that it can be found."""
    client: str
    """Whose key it is. Idempotency keys belong to a client, so its keys may come and go."""
    scope: Scope
    is_signed: bool
    """Whether every request has to carry a signature made with `secret`."""
    secret: str | None = field(repr=False)
    rate: float | None
    """Requests a second, 0 for no limit; None: as the server is set. `burst`, `quota`: so too."""
    burst: int | None
    quota: int | None
    """Minor units that the client may move in a window."""
    created_at: str
    """RFC 3339, UTC."""
    digest: bytes = field(repr=False)
    """SHA-256 of the whole token."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made. The token can never be had again, nor the secret from a command."""

    token: str = field(repr=False)
    secret: str | None = field(repr=False)
    credential: Credential


def make_key(
    client: str,
    scope: Scope,
    *,
    is_signed: bool = False,
    rate: float | None = None,
    burst: int | None = None,
    quota: int | None = None,
    names_taken: Collection[str] = (),
) -> NewKey:
    """Make a key whose id is none of the names taken. Raises ValueError for what cannot be."""
    key_id = secrets.token_hex(ID_BYTES)
    while key_id == client or key_id in names_taken:
        key_id = secrets.token_hex(ID_BYTES)
    token = f"lck_{key_id}_{secrets.token_urlsafe(SECRET_BYTES)}"
    secret = f"lcs_{secrets.token_urlsafe(SECRET_BYTES)}" if is_signed else None
    credential = Credential(
        id=key_id,
        client=client,
        scope=Scope(scope),
        is_signed=is_signed,
        secret=secret,
        rate=rate,
        burst=burst,
        quota=quota,
        created_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        digest=hash_token(token),
    )
    check_credential(credential)
    return NewKey(token, secret, credential)


def check_credential(credential: Credential) -> None:
    """Raise ValueError, with one sentence that names the member, if a key cannot be so."""
    if not _match_id(credential.id):
        raise ValueError("id: it is 8 hexadecimal digits")
    if not _match_client(credential.client):
        raise ValueError("client: a name is 1 to 64 of A-Z a-z 0-9 . _ -")
    if credential.is_signed != (credential.secret is not None):
        raise ValueError("secret: a key has one if it is signed, and only then")
    if credential.secret is not None and not _match_secret(credential.secret):
        raise ValueError("secret: it is lcs_ and 43 characters of URL-safe Base64")
    rate, burst, quota = credential.rate, credential.burst, credential.quota
    # Asked this way round, so that what is not a number is refused too.
    if not (rate is None or rate == 0 or RATE_MIN <= rate <= RATE_MAX):
        raise ValueError(f"rate: {rate} is neither 0 nor between {RATE_MIN} and {RATE_MAX}")
    if not (burst is None or 1 <= burst <= BURST_MAX):
        raise ValueError(f"burst: {burst} is not between 1 and {BURST_MAX}")
    if not (quota is None or 0 <= quota <= AMOUNT_MAX):
        raise ValueError(f"quota: {quota} is not between 0 and {AMOUNT_MAX}")
    if not _match_time(credential.created_at):
        raise ValueError("created_at: it is a time such as 2026-01-31T12:00:00Z")
    if len(credential.digest) != DIGEST_BYTES:
        raise ValueError(f"digest: it is {DIGEST_BYTES} bytes long")


def read_id(token: str) -> str | None:
    """Return the id that stands in a token; None for what cannot be a token."""
    match = _match_token(token)
    return match["id"] if match else None


def hash_token(token: str) -> bytes:
    """Return what is kept of a token: its SHA-256."""
    return hashlib.sha256(token.encode()).digest()
