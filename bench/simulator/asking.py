"""The bytes of requests: transfers as they should be, and everything else that is asked.

This module owns how a request is written, with its credentials and its signature. Requests as they
should not be are in nonsense.py.
"""

import secrets
import time

from ledgercore.client.signing import sign

from .plan import Plan
from .samples import Sent


class RequestMaker:
    """Writes the requests of one run."""

    def __init__(self, plan: Plan) -> None:
        self._secret = plan.secret
        self._run = plan.run
        self.fixed = f"Host: {plan.authority}\r\n"
        if plan.key is not None:
            self.fixed += f"Authorization: Bearer {plan.key}\r\n"
        self._transfer = (
            f"POST /transfer HTTP/1.1\r\n{self.fixed}Content-Type: application/json\r\n"
            "%sIdempotency-Key: %s\r\nContent-Length: %d\r\n\r\n%s"
        )

    @property
    def is_signing(self) -> bool:
        """Whether each try needs a signature, and so bytes, of its own."""
        return self._secret is not None

    def make_key(self, number: int) -> str:
        """Return the idempotency key of this number."""
        return f"{self._run}-{number}"

    def make_transfer(self, sent: Sent) -> bytes:
        """Return the request for a transfer."""
        number, source, target, amount = sent
        body = f'{{"from":"acct-{source}","to":"acct-{target}","amount":{amount}}}'
        signature = self._sign("POST", "/transfer", body) if self._secret is not None else ""
        key = f"{self._run}-{number}"
        return (self._transfer % (signature, key, len(body), body)).encode()

    def make(self, method: str, target: str, body: str = "", fields: str = "") -> bytes:
        """Return any request; `fields` are further lines of its head, each with its end."""
        if body:
            fields += f"Content-Type: application/json\r\nContent-Length: {len(body.encode())}\r\n"
        signature = self._sign(method, target, body) if self._secret is not None else ""
        head = f"{method} {target} HTTP/1.1\r\n{self.fixed}{signature}{fields}\r\n"
        return (head + body).encode()

    def make_key_query(self, number: int) -> bytes:
        """Return the request that asks what became of a key."""
        return self.make("GET", f"/idempotency-keys/{self._run}-{number}")

    def _sign(self, method: str, target: str, body: str) -> str:
        assert self._secret is not None
        signature = sign(
            self._secret,
            method,
            target,
            body.encode(),
            timestamp=int(time.time()),
            nonce=secrets.token_hex(8),
        )
        return f"X-Signature: {signature}\r\n"
