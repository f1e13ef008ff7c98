"""The strict grammar of heads."""

import pytest
from sanic.compat import Header
from sanic.exceptions import BadRequest

from ledgercore.service.app import create_app
from ledgercore.service.http.strict_framing import StrictRequest, check_head, strip_authority
from ledgercore.service.settings import Settings
from ledgercore.service.wire.problems import Problem

GOOD = b"GET / HTTP/1.1\r\nHost: localhost"


def headers_of(head: bytes) -> Header:
    """Return the headers as Sanic reads them."""
    lines = head.decode(errors="surrogateescape").split("\r\n")[1:]
    return Header(
        [(name.lower(), value.lstrip()) for name, value in (x.split(":", 1) for x in lines)]
    )


def test_every_byte_has_its_place() -> None:
    def refused(head: bytes) -> bool:
        try:
            check_head(head, "GET", "1.1", headers_of(head))
        except BadRequest:
            return True
        return False

    assert not refused(GOOD)
    token = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
    for number in range(256):
        byte = bytes([number])
        visible = 0x21 <= number <= 0x7E
        if byte not in b":":
            assert refused(GOOD + b"\r\na" + byte + b"b: c") == (byte not in token)
        assert refused(byte + GOOD) == (byte not in token)
        is_text = visible or byte in b" \t" or number >= 0x80
        assert refused(GOOD + b"\r\na: b" + byte + b"c") == (not is_text)
        assert refused(GOOD + b"\r\nAccept: b" + byte + b"c") == (number >= 0x80 or not is_text)
        assert refused(b"GET /" + byte + b" HTTP/1.1\r\nHost: localhost") == (
            not visible or byte == b"#"
        )


def test_a_body_without_a_length_is_told_so() -> None:
    for method in ("POST", "PUT", "PATCH"):
        head = GOOD.replace(b"GET", method.encode())
        with pytest.raises(Problem) as caught:
            check_head(head, method, "1.1", headers_of(head))
        assert caught.value.kind.http_status == 411


def test_a_request_is_made_of_no_other_head() -> None:
    app = create_app(Settings())

    def make(url: bytes, head: bytes) -> StrictRequest:
        return StrictRequest(url, Header([("host", "x")]), "1.1", "GET", None, app, head)

    assert make(b"/", GOOD).path == "/"
    with pytest.raises(BadRequest):
        make(b"/", GOOD + b"\n")
    # Without a head, it is Sanic's way to answer what was none.
    assert make(b"no target", b"").raw_url == b"*"


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        ("/a?b=c://d", "/a?b=c://d"),
        ("http://a", "/"),
        ("http://a?b", "/?b"),
        ("HTTPS://[::1]:80/a/b?c", "/a/b?c"),
        ("http://a//b", "//b"),
        ("*", "*"),
    ],
)
def test_a_target_may_begin_with_the_host(target: str, rest: str) -> None:
    assert strip_authority(target.encode()) == rest.encode()
    app = create_app(Settings())
    head = GOOD.replace(b"/", target.encode(), 1)
    made = StrictRequest(target.encode(), headers_of(head), "1.1", "GET", None, app, head)
    assert made.raw_url == target.encode() and made.path == rest.partition("?")[0]
