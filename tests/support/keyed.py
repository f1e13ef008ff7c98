"""Servers with API keys: the keys themselves, and requests that bring them, as exact bytes.

This module owns how a test makes keys and spells requests with them. It never asserts anything.
"""

from pathlib import Path
from typing import Any

from ledgercore.service.access.key_file import FILE_NAME
from ledgercore.service.access.key_ring import NewKey, Scope, create_key

TRANSFER = b'{"from":"acct-0","to":"acct-1","amount":1}'
END = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
"""The last request of a connection that a test reads to its end."""


def make_key(data: Path, client: str, scope: Scope = Scope.TRANSFER, **options: Any) -> NewKey:
    """Make a key in the file of a directory, which is made if it is not there."""
    data.mkdir(parents=True, exist_ok=True)
    return create_key(data / FILE_NAME, client, scope, **options)


def bearer(token: str) -> str:
    """Return the header line of a token."""
    return f"Authorization: Bearer {token}"


def spell(
    method: str, target: str, *lines: str | bytes, body: bytes = b"", host: str = "localhost"
) -> bytes:
    """Return a request with these header lines; with the length and the type of its body."""
    head = [f"{method} {target} HTTP/1.1", f"Host: {host}", *lines]
    told = b"\r\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    if body and b"content-type:" not in told.lower():
        head.append("Content-Type: application/json")
    if body or method in ("POST", "PATCH"):
        head.append(f"Content-Length: {len(body)}")
    encoded = [line if isinstance(line, bytes) else line.encode() for line in head]
    return b"\r\n".join([*encoded, b"", body])


def spell_transfer(key: str, *lines: str | bytes, amount: int = 1, source: str = "acct-0") -> bytes:
    """Return a transfer to acct-1; plain, unless the lines make it something else."""
    body = b'{"from":"%s","to":"acct-1","amount":%d}' % (source.encode(), amount)
    return spell("POST", "/transfer", f"Idempotency-Key: {key}", *lines, body=body)


def spell_bulk(*keys: str, lines: tuple[str, ...] = (), amount: int = 1) -> bytes:
    """Return a request for a transfer from acct-0 to acct-1 under each key."""
    items = ",".join(
        f'{{"idempotency_key":"{key}","from":"acct-0","to":"acct-1","amount":{amount}}}'
        for key in keys
    )
    return spell("POST", "/transfers", *lines, body=f"[{items}]".encode())
