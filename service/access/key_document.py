"""The text of the file of the API keys: its format, its versions, and its checksum.

This module owns what such a text may say and how it is spelled. It opens no file.

A text of version 2 has the SHA-256 of itself, taken with zeros in the place of its digits, so that
not one bit of it can change unnoticed: another digest would be another token's, another quota other
money, and both would still be sound JSON. A text of version 1 has none. It is read as what it is,
an old one, and what is written next is of version 2. No few bits make the one out of the other,
since a text of version 1 has no member of that name.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal

import msgspec

from .api_keys import Credential, Scope, check_credential

VERSION = 2
OLD_VERSION = 1
"""Without a checksum. Written until there was one."""
KEYS_MAX = 10_000

_NO_CHECKSUM = "0" * 64
_find_checksum = re.compile(rb'"sha256" ?: ?"([0-9a-f]{64})"').search


class ChecksumError(ValueError):
    """The checksum is missing, or is that of another text."""


class UnknownVersion(ValueError):
    """The text is that of a newer program, and sound for all that is known here."""


class _Head(msgspec.Struct):
    """What a text of any version has."""

    version: int


class _Record(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    id: str
    client: str
    scope: Literal["read", "transfer", "admin"]
    created_at: str
    digest: str
    secret: str | None = None
    rate: float | None = None
    burst: int | None = None
    quota: int | None = None


class _OldDocument(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    keys: list[_Record]


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    keys: list[_Record]
    sha256: str = ""


class _NewDocument(msgspec.Struct):
    """As it is written: the checksum stands before all that a client may have named."""

    version: int
    sha256: str
    keys: list[_Record]


_decode_head = msgspec.json.Decoder(_Head).decode
_decode_old = msgspec.json.Decoder(_OldDocument).decode
_decode_new = msgspec.json.Decoder(_Document).decode


def encode_keys(credentials: Sequence[Credential]) -> bytes:
    """Return the text that says these keys."""
    document = _NewDocument(VERSION, _NO_CHECKSUM, list(map(_make_record, credentials)))
    text = msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"
    return text.replace(_NO_CHECKSUM.encode(), _hash(text).encode(), 1)


def decode_keys(text: bytes, *, is_trusted: bool = False) -> tuple[int, tuple[Credential, ...]]:
    """Return the version of a text and its keys, the oldest first.

    Raises ValueError if the text is not wholly sound: ChecksumError if only its checksum is not,
    which nobody asks for where the text `is_trusted`, and UnknownVersion.
    """
    try:
        version = _decode_head(text).version
        if version == OLD_VERSION:
            records = _decode_old(text).keys
        elif version == VERSION:
            document = _decode_new(text)
            records = document.keys
            if not is_trusted:
                _check_sum(text, document.sha256)
        else:
            raise UnknownVersion(f"its version is {version}, and this program knows {VERSION}")
    except RecursionError as error:  # Brackets may nest too deep.
        raise ValueError(str(error)) from None
    credentials = tuple(map(_read_record, records))
    if len(credentials) > KEYS_MAX:
        raise ValueError(f"it holds more than {KEYS_MAX} keys")
    if len({credential.id for credential in credentials}) < len(credentials):
        raise ValueError("two keys have one id")
    return version, credentials


def _check_sum(text: bytes, told: str) -> None:
    found = _find_checksum(text)
    if found is None or found[1] != told.encode():
        raise ChecksumError("it has no sha256")
    start, end = found.span(1)
    if _hash(text[:start] + _NO_CHECKSUM.encode() + text[end:]) != told:
        raise ChecksumError("its sha256 is that of another text")


def _hash(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


def _read_record(record: _Record) -> Credential:
    credential = Credential(
        id=record.id,
        client=record.client,
        scope=Scope[record.scope.upper()],
        is_signed=record.secret is not None,
        secret=record.secret,
        rate=record.rate,
        burst=record.burst,
        quota=record.quota,
        created_at=record.created_at,
        digest=bytes.fromhex(record.digest),
    )
    check_credential(credential)
    return credential


def _make_record(credential: Credential) -> _Record:
    return _Record(
        id=credential.id,
        client=credential.client,
        scope=credential.scope.label,  # type: ignore[arg-type]  # A test reads every scope back.
        created_at=credential.created_at,
        digest=credential.digest.hex(),
        secret=credential.secret,
        rate=credential.rate,
        burst=credential.burst,
        quota=credential.quota,
    )
