"""The bytes of requests: valid transfers, reads, and invalid requests.

This module owns how a request is written, with its credentials and its signature. What is sent by
mistake, by fuzzers and by the curious is whole as far as its framing goes, so that a server answers
at once or hangs up, and has no reason to wait for more.
"""

import secrets
import time
from collections.abc import Callable
from urllib.parse import urlsplit

from ledgercore.client.signing import sign

from ..load.http1 import make_request
from .plan import Plan
from .samples import Sent

KEY = "Idempotency-Key: %s\r\n"
JSON = "Content-Type: application/json\r\n"


class RequestMaker:
    """Writes the requests of one run."""

    def __init__(self, plan: Plan) -> None:
        self._secret = plan.secret
        self._run = plan.run
        self._host = urlsplit(plan.url).netloc.rpartition("@")[2]
        self._credentials = "" if plan.key is None else f"Authorization: Bearer {plan.key}\r\n"
        self.fixed = f"Host: {self._host}\r\n{self._credentials}"
        """The lines that every head begins with, that of an invalid request too."""

    @property
    def is_signing(self) -> bool:
        """Whether each try needs a signature, and so bytes, of its own."""
        return self._secret is not None

    def make_key(self, name: int | str) -> str:
        """Return the idempotency key of this run with this number or name."""
        return f"{self._run}-{name}"

    def make_transfer(self, sent: Sent) -> bytes:
        """Return the request for a transfer."""
        number, source, target, amount = sent
        body = f'{{"from":"acct-{source}","to":"acct-{target}","amount":{amount}}}'.encode()
        return self.make("POST", "/transfer", body, f"Idempotency-Key: {self._run}-{number}\r\n")

    def make(self, method: str, target: str, body: bytes = b"", fields: str = "") -> bytes:
        """Return any request; `fields` are further lines of its head, each with its end."""
        fields = self._credentials + fields
        if self._secret is not None:
            now_s, nonce = int(time.time()), secrets.token_hex(8)
            signature = sign(self._secret, method, target, body, timestamp=now_s, nonce=nonce)
            fields += f"X-Signature: {signature}\r\n"
        return make_request(method, self._host, target, body, fields)


# -- what no server should act on -------------------------------------------------------------

NonsenseMaker = Callable[[str, str], bytes]


def _pay(amount: str) -> str:
    """Return the body of a transfer of this amount."""
    return f'{{"from":"acct-0","to":"acct-1","amount":{amount}}}'


def _post(body: str, fields: str = KEY + JSON) -> NonsenseMaker:
    """Return what makes a POST of this body, given the fixed lines of the head and a key."""

    def make(fixed: str, key: str) -> bytes:
        told = fields.replace("%s", key)
        length = len(body.encode())
        head = f"POST /transfer HTTP/1.1\r\n{fixed}{told}Content-Length: {length}\r\n\r\n"
        return (head + body).encode()

    return make


def _raw(text: str) -> NonsenseMaker:
    """Return what makes these bytes, whatever the key."""
    return lambda fixed, key: text.replace("%fixed", fixed).encode("latin-1")


NONSENSE: dict[str, NonsenseMaker] = {
    "cut JSON": _post('{"from":"acct-0","to":'),
    "no JSON": _post("from=acct-0&to=acct-1&amount=1"),
    "an array": _post("[1,2,3]"),
    "deep JSON": _post("[" * 2000 + "]" * 2000),
    "a float": _post(_pay("1.5")),
    "a round float": _post(_pay("1e2")),
    "a negative amount": _post(_pay("-5")),
    "a huge amount": _post(_pay("9" * 40)),
    "a text for an amount": _post(_pay('"one"')),
    "a name twice": _post('{"from":"acct-0","from":"acct-2","to":"acct-1","amount":1}'),
    "an odd account": _post('{"from":"acct 0\\u0000","to":"acct-1","amount":1}'),
    "no body": _post(""),
    "no key": _post(_pay("1"), JSON),
    "two keys": _post(_pay("1"), KEY + KEY.replace("%s", "another") + JSON),
    "an endless key": _post(_pay("1"), KEY.replace("%s", "k" * 300) + JSON),
    "another type": _post(_pay("1"), KEY + "Content-Type: text/plain\r\n"),
    "an odd length": _raw("POST /transfer HTTP/1.1\r\n%fixedContent-Length: ten\r\n\r\n"),
    "an odd chunk": _raw(
        "POST /transfer HTTP/1.1\r\n%fixedTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    ),
    "an odd method": _raw("BREW /transfer HTTP/1.1\r\n%fixedContent-Length: 0\r\n\r\n"),
    "an odd version": _raw("GET / HTTP/9.9\r\n%fixed\r\n"),
    "an odd path": _raw("GET /%00/../transfer HTTP/1.1\r\n%fixed\r\n"),
    "garbage": _raw("\x16\x03\x01\x02\x00\x01\xfc\x03\x03 not HTTP\r\n\r\n"),
}
"""By name, what makes the bytes from the fixed lines of a head and a key."""
