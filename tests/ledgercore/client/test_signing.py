"""Signatures against a digest that OpenSSL has made, and everything that must not pass."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore.client.signing import Signature, matches, parse, sign

SECRET, TARGET, BODY = "top secret", "/transfer?x=1", b'{"from":"a","to":"b","amount":250}'
# printf '%s' '1700000000.n-1.POST./transfer?x=1.{"from":"a","to":"b","amount":250}' |
#     openssl dgst -sha256 -hmac 'top secret'
DIGEST = "2fd0b2fc32c37b7d8b221819edb8e69951c80e6511c345c4091b89ff7c589518"
HEADER = f"t=1700000000,n=n-1,v1={DIGEST}"


def test_worked_example() -> None:
    assert sign(SECRET, "POST", TARGET, BODY, timestamp=1_700_000_000, nonce="n-1") == HEADER


def test_method_is_signed_in_capitals() -> None:
    assert sign(SECRET, "post", TARGET, BODY, timestamp=1_700_000_000, nonce="n-1") == HEADER


def test_parse() -> None:
    signature = parse(HEADER)
    assert signature == Signature(1_700_000_000, "n-1", DIGEST)
    assert str(signature) == HEADER


@pytest.mark.parametrize(
    "text",
    [
        "",
        "t=1,n=a",
        f"t=1,v1={DIGEST},n=a",
        f"t=-1,n=a,v1={DIGEST}",
        f"t=1.5,n=a,v1={DIGEST}",
        f"t=1,n=,v1={DIGEST}",
        f"t=1,n=a.b,v1={DIGEST}",
        f"t=1,n={'a' * 65},v1={DIGEST}",
        f"t=1,n=a,v1={DIGEST.upper()}",
        f"t=1,n=a,v1={DIGEST[:-1]}",
        f"t=1,n=a,v1={DIGEST}\n",
        f" t=1,n=a,v1={DIGEST}",
        f"t={'9' * 13},n=a,v1={DIGEST}",
        f"t=١,n=a,v1={DIGEST}",
    ],
)
def test_what_is_no_signature(text: str) -> None:
    assert parse(text) is None


@given(
    st.text("ab \x00é", min_size=1),
    st.sampled_from(["GET", "POST", "PATCH"]),
    st.text("/abc?=%&.", min_size=1),
    st.binary(max_size=100),
    st.integers(0, 10**12 - 1),
    st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
)
def test_what_is_signed_matches(
    secret: str, method: str, target: str, body: bytes, timestamp: int, nonce: str
) -> None:
    signature = parse(sign(secret, method, target, body, timestamp=timestamp, nonce=nonce))
    assert signature is not None
    assert matches(signature, secret, method, target, body)
    assert not matches(signature, secret + "x", method, target, body)
    assert not matches(signature, secret, "DELETE", target, body)
    assert not matches(signature, secret, method, target + "x", body)
    assert not matches(signature, secret, method, target, body + b"x")


@pytest.mark.parametrize(
    "other",
    [
        Signature(1_700_000_001, "n-1", DIGEST),
        Signature(1_700_000_000, "n-2", DIGEST),
        Signature(1_700_000_000, "n-1", "0" * 64),
        Signature(1_700_000_000, "n-1", DIGEST[:-1] + "9"),
        Signature(1_700_000_000, "n-1", ""),
    ],
)
def test_what_was_changed_does_not_match(other: Signature) -> None:
    assert matches(Signature(1_700_000_000, "n-1", DIGEST), SECRET, "POST", TARGET, BODY)
    assert not matches(other, SECRET, "POST", TARGET, BODY)


def test_what_cannot_be_signed() -> None:
    for nonce in ("", "a.b", "a,b", "a" * 65, "ä"):
        with pytest.raises(ValueError, match="nonce"):
            sign(SECRET, "POST", TARGET, BODY, timestamp=1, nonce=nonce)
    with pytest.raises(ValueError, match="secret"):
        sign("", "POST", TARGET, BODY, timestamp=1, nonce="n")
