"""Requests that no server should act on: what is sent by mistake, by fuzzers, and by the curious.

This module owns the collection. Each is whole as far as its framing goes, so that a server answers
at once or hangs up, and has no reason to wait for more.
"""

from collections.abc import Callable

KEY = "Idempotency-Key: %s\r\n"
JSON = "Content-Type: application/json\r\n"
BODY = '{"from":"acct-0","to":"acct-1","amount":1}'

Maker = Callable[[str, str], bytes]


def _post(body: str, fields: str = KEY + JSON) -> Maker:
    """Return what makes a POST of this body, given the fixed lines of the head and a key."""

    def make(fixed: str, key: str) -> bytes:
        told = fields.replace("%s", key)
        length = len(body.encode())
        head = f"POST /transfer HTTP/1.1\r\n{fixed}{told}Content-Length: {length}\r\n\r\n"
        return (head + body).encode()

    return make


def _raw(text: str) -> Maker:
    """Return what makes these bytes, whatever the key."""
    return lambda fixed, key: text.replace("%fixed", fixed).encode("latin-1")


NONSENSE: dict[str, Maker] = {
    "cut JSON": _post('{"from":"acct-0","to":'),
    "no JSON": _post("from=acct-0&to=acct-1&amount=1"),
    "an array": _post("[1,2,3]"),
    "deep JSON": _post("[" * 2000 + "]" * 2000),
    "a float": _post('{"from":"acct-0","to":"acct-1","amount":1.5}'),
    "a round float": _post('{"from":"acct-0","to":"acct-1","amount":1e2}'),
    "a negative amount": _post('{"from":"acct-0","to":"acct-1","amount":-5}'),
    "a huge amount": _post('{"from":"acct-0","to":"acct-1","amount":' + "9" * 40 + "}"),
    "a text for an amount": _post('{"from":"acct-0","to":"acct-1","amount":"one"}'),
    "a name twice": _post('{"from":"acct-0","from":"acct-2","to":"acct-1","amount":1}'),
    "an odd account": _post('{"from":"acct 0\\u0000","to":"acct-1","amount":1}'),
    "no body": _post(""),
    "no key": _post(BODY, JSON),
    "two keys": _post(BODY, KEY + KEY.replace("%s", "another") + JSON),
    "an endless key": _post(BODY, KEY.replace("%s", "k" * 300) + JSON),
    "another type": _post(BODY, KEY + "Content-Type: text/plain\r\n"),
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
