"""Signed requests that must pass once, and everything that must not pass at all."""

import errno
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledgercore.client.signing import Signature, matches, parse, sign
from ledgercore.service.access import signatures
from ledgercore.service.access.nonces import NonceMemory, NoncesFull
from ledgercore.service.access.signatures import CHALLENGE, SignatureCheck
from ledgercore.service.wire.problems import NONCES_FULL, NONCES_UNAVAILABLE, UNAUTHORIZED, Problem

SECRET, NOW_S, WINDOW_S = "lcs_secret", 1_700_000_000, 300
METHOD, TARGET, BODY = "POST", "/transfer", b'{"from":"a","to":"b","amount":250}'
# What a captured request with dots in its target and body could be cut into.
DOTTED = b'{"from":"a.b","to":"c.d","amount":1}'
ARROW = b"\xff\xff\xff\xff\x10\x00\x00\x00a.b.c"


class Clock:
    def __init__(self, now_s: float = NOW_S) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


class Caller:
    """One who signs, and is checked."""

    def __init__(self, path: Path | None = None) -> None:
        self.clock = Clock()
        self.retry_after: str | None = None
        self.nonces = NonceMemory(path, clock=self.clock)
        self.checker = SignatureCheck(self.nonces, clock=self.clock)

    def send(
        self,
        method: str = METHOD,
        target: str = TARGET,
        body: bytes = BODY,
        *,
        second: int = NOW_S,
        nonce: str = "n",
        client: str = "alice",
    ) -> str:
        """Sign a request, have it checked, and return its signature."""
        header = sign(SECRET, method, target, body, timestamp=second, nonce=nonce)
        self.check(header, method, target, body, client)
        return header

    def check(
        self,
        header: str | None,
        method: str = METHOD,
        target: str = TARGET,
        body: bytes = BODY,
        client: str = "alice",
    ) -> None:
        self.checker.check(SECRET, client, method, target, body, header)

    def refuse(
        self,
        header: str | None,
        method: str = METHOD,
        target: str = TARGET,
        body: bytes = BODY,
        client: str = "alice",
    ) -> str:
        """Tell why a request is refused: 401, with the challenge."""
        with pytest.raises(Problem) as caught:
            self.check(header, method, target, body, client)
        assert caught.value.kind is UNAUTHORIZED
        headers = dict(caught.value.headers or {})
        self.retry_after = headers.pop("retry-after", None)
        assert headers == {"www-authenticate": CHALLENGE}
        return caught.value.detail


@pytest.fixture(params=["file", "memory"])
def caller(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Caller]:
    caller = Caller(tmp_path / "nonces" if request.param == "file" else None)
    with closing(caller.nonces):
        yield caller


def test_a_request_passes_once(caller: Caller) -> None:
    header = caller.send()
    assert "nonce was used before" in caller.refuse(header)


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("GET", "/accounts/a.b", b""),
        ("GET", "/accounts?limit=1&cursor=a.b", b""),
        ("HEAD", "/accounts", b""),
        ("DELETE", "/admin/keys/a.b", b""),
        ("PATCH", "/accounts/a%7B.b", b'{"frozen":true}'),
        ("POST", "/transfers", b' \r\n\t[{"from":"a.b"}]'),
        ("POST", "/transfers", ARROW),
        ("OPTIONS", "*", b""),
    ],
)
def test_every_sort_of_request_passes(
    caller: Caller, method: str, target: str, body: bytes
) -> None:
    caller.send(method, target, body)


def test_a_nonce_belongs_to_its_client(caller: Caller) -> None:
    caller.send(client="alice")
    caller.send(client="bob")
    header = sign(SECRET, "GET", "/accounts", b"", timestamp=NOW_S + 1, nonce="n")
    assert "nonce was used before" in caller.refuse(header, "GET", "/accounts", b"")


@pytest.mark.parametrize("header", ["", "t=1", "t=1,n=a,v1=0", f"t=x,n=a,v1={'0' * 64}"])
def test_what_is_no_signature(caller: Caller, header: str) -> None:
    assert "is not t=" in caller.refuse(header)


def test_a_signature_is_needed(caller: Caller) -> None:
    assert "send the header X-Signature" in caller.refuse(None)


@pytest.mark.parametrize("side", [-1, 1])
def test_the_border_of_the_window(caller: Caller, side: int) -> None:
    caller.send(second=NOW_S + side * WINDOW_S, nonce="at-the-border")
    header = sign(SECRET, METHOD, TARGET, BODY, timestamp=NOW_S + side * (WINDOW_S + 1), nonce="x")
    place = "ahead of" if side > 0 else "behind"
    assert f"301 s {place} the server's clock" in caller.refuse(header)
    # By the clock alone: nothing of it was remembered, and when its time comes it passes.
    caller.clock.now_s += side
    caller.check(header)


def test_a_captured_request_is_refused_to_its_end(caller: Caller) -> None:
    headers = [caller.send(second=NOW_S + lead, nonce=f"n{lead}") for lead in (-300, 0, 300)]
    for late_s in range(0, 1000, 50):
        caller.clock.now_s = NOW_S + late_s
        for header in headers:
            caller.refuse(header)
    # And when they were forgotten, and the clock is set back.
    caller.send(second=NOW_S + 1000, nonce="later")
    caller.clock.now_s = NOW_S
    for lead, header in zip((-300, 0, 300), headers, strict=True):
        assert "older than what the server remembers" in caller.refuse(header)
        # Whoever signs anew that much later than then is not refused for this.
        wait_s = caller.nonces.closed_s + 1 - (NOW_S + lead)
        assert caller.retry_after == str(wait_s) and wait_s > 0
    caller.clock.now_s = caller.nonces.closed_s + 1
    later = caller.send(second=int(caller.clock.now_s), nonce="anew")
    assert "nonce was used before" in caller.refuse(later) and caller.retry_after is None


def test_what_was_altered_is_refused(caller: Caller) -> None:
    header = sign(SECRET, METHOD, TARGET, BODY, timestamp=NOW_S, nonce="n")
    altered: list[tuple[str, str, bytes]] = [
        (METHOD, TARGET, BODY.replace(b"250", b"251")),
        (METHOD, TARGET, BODY + b" "),
        (METHOD, TARGET, b""),
        (METHOD, TARGET + "s", BODY),
        (METHOD, TARGET + "?x=1", BODY),
        ("PATCH", TARGET, BODY),
    ]
    for method, target, body in altered:
        assert "is not that of this request" in caller.refuse(header, method, target, body)
    for text in (header.replace("n=n", "n=m"), header.replace(str(NOW_S), str(NOW_S + 1))):
        assert "is not that of this request" in caller.refuse(text)
    assert "in capitals" in caller.refuse(header, "post")
    # None of these has used up the nonce.
    assert len(caller.nonces) == 0
    caller.check(header)


def test_a_wrong_secret_is_refused_and_fills_nothing(caller: Caller) -> None:
    for number in range(10):
        header = sign("guess", METHOD, TARGET, BODY, timestamp=NOW_S, nonce=f"{number}")
        assert "is not that of this request" in caller.refuse(header)
    assert len(caller.nonces) == 0


def test_the_comparison_is_that_of_signing(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that takes as long for a digest that is nearly right."""
    asked: list[Signature] = []
    monkeypatch.setattr(signatures, "matches", lambda signature, *_: asked.append(signature))
    header = sign(SECRET, METHOD, TARGET, BODY, timestamp=NOW_S, nonce="n")
    caller.refuse(header)
    assert [str(signature) for signature in asked] == [header]


# -- target and body -------------------------------------------------------------------------


def cut_elsewhere(target: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield every other request that has the same signed text."""
    text = target.encode() + b"." + body
    for dot in re.finditer(rb"\.", text):
        if dot.start() != len(target):
            yield text[: dot.start()].decode("latin-1"), text[dot.end() :]


@pytest.mark.parametrize(
    ("method", "target", "body"),
    [
        ("POST", "/transfer", DOTTED),
        ("POST", "/transfers", b" \n" + DOTTED),
        ("POST", "/transfers", ARROW),
        ("GET", "/accounts/a.b", b""),
        ("GET", "/accounts/a.", b""),
        ("GET", "/accounts/a..b..", b""),
        ("POST", "/admin/keys/a.b/revoke", b""),
        ("PATCH", "/accounts/a.b", b'{"frozen":true,"floor":1.5}'),
    ],
)
def test_no_byte_moves_between_target_and_body(
    caller: Caller, method: str, target: str, body: bytes
) -> None:
    others = list(cut_elsewhere(target, body))
    assert others
    header = sign(SECRET, method, target, body, timestamp=NOW_S, nonce="n")
    for other_target, other_body in others:
        # The digest alone would let it pass, where the target is text at all.
        signature = parse(header)
        assert signature is not None
        if other_target.isascii():
            assert matches(signature, SECRET, method, other_target, other_body)
        detail = caller.refuse(header, method, other_target, other_body)
        assert "of a signed request is" in detail
    caller.check(header, method, target, body)


PIECES = st.text('a./{[" \n\x00\x7f\xff%', max_size=8)


@given(PIECES, PIECES)
@example("/a.b", "")
@example("/a", "{b.c}")
@example("/a", ".b")
def test_at_most_one_cut_passes(target: str, body: str) -> None:
    """Of all requests with one signed text, the border lets at most one through."""
    text = f"{target}.{body}"
    passed = []
    for dot in re.finditer(r"\.", text):
        cut = text[: dot.start()], text[dot.end() :].encode("latin-1")
        try:
            signatures._check_border("POST", *cut)
        except Problem:
            continue
        passed.append(cut)
    assert len(passed) <= 1


@pytest.mark.parametrize("character", [chr(code) for code in range(256)])
def test_a_byte_is_of_a_target_or_begins_a_body(character: str) -> None:
    """Never both, never neither: what the proof rests on."""

    def passes(target: str, body: str) -> bool:
        try:
            signatures._check_border("GET", target, body.encode("latin-1"))
        except Problem:
            return False
        return True

    assert passes("/" + character, "") != passes("/", character + "x")
    assert passes(character, "") == passes("/x" + character, "")


def test_what_no_target_may_hold(caller: Caller) -> None:
    for target in ("", "/a{", "/a[0]", '/"', "/a b", "/ä", "/\N{SNOWMAN}", "/a\n", "/a\n\n"):
        header = sign(SECRET, "GET", target, b"", timestamp=NOW_S, nonce="n")
        assert "target of a signed request" in caller.refuse(header, "GET", target, b"")
    for method in ("", "G.ET", "get", "GET\n"):
        header = sign(SECRET, method, "/", b"", timestamp=NOW_S, nonce="n")
        assert "in capitals" in caller.refuse(header, method, "/", b"")


# -- no room ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (NoncesFull("full"), NONCES_FULL),
        (OSError(errno.ENOSPC, "No space left on device"), NONCES_UNAVAILABLE),
    ],
)
def test_what_cannot_be_remembered_is_503(
    caller: Caller, error: Exception, kind: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> bool:
        raise error

    monkeypatch.setattr(caller.nonces, "remember", fail)
    with pytest.raises(Problem) as caught:
        caller.send()
    assert caught.value.kind is kind and caught.value.kind.http_status == 503
    monkeypatch.undo()
    caller.send()
