"""What an API key is: tokens, scopes, and what no key can have."""

import hashlib
import re
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from ledgercore.service.access.api_keys import (
    Scope,
    check_credential,
    hash_token,
    make_key,
    read_id,
)

NEW = make_key("shop", Scope.TRANSFER, is_signed=True)


def test_scopes_include_those_below() -> None:
    assert Scope.READ < Scope.TRANSFER < Scope.ADMIN
    assert [scope.label for scope in Scope] == ["read", "transfer", "admin"]


def test_a_token_names_its_key_and_is_kept_as_a_hash() -> None:
    new = make_key("shop", Scope.READ, rate=2.5, burst=3, quota=4)
    credential = new.credential
    assert re.fullmatch(rf"lck_{credential.id}_[A-Za-z0-9_-]{{43}}", new.token)
    assert read_id(new.token) == credential.id
    assert credential.digest == hashlib.sha256(new.token.encode()).digest()
    assert credential.digest == hash_token(new.token)
    assert (credential.client, credential.scope) == ("shop", Scope.READ)
    assert (credential.rate, credential.burst, credential.quota) == (2.5, 3, 4)
    assert (credential.is_signed, credential.secret, new.secret) == (False, None, None)


def test_a_signed_key_has_a_secret() -> None:
    assert NEW.credential.is_signed
    assert NEW.secret is not None and re.fullmatch(r"lcs_[A-Za-z0-9_-]{43}", NEW.secret)
    assert NEW.credential.secret == NEW.secret
    assert NEW.secret[4:] != NEW.token[13:]


def test_nothing_is_made_twice() -> None:
    made = [make_key("shop", Scope.READ, is_signed=True) for _ in range(100)]
    assert len({new.token[13:] for new in made} | {new.secret for new in made}) == 200


def test_an_id_that_is_taken_is_not_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter(["00000001", "00000002", "00000003", "00000004"])
    monkeypatch.setattr(
        "ledgercore.service.access.api_keys.secrets.token_hex", lambda size: next(drawn)
    )
    new = make_key("00000002", Scope.READ, names_taken={"00000001", "00000003"})
    assert new.credential.id == "00000004"


def test_repr_hides_what_would_help() -> None:
    text = repr(NEW) + str(NEW) + repr(NEW.credential) + f"{NEW.credential}"
    assert NEW.credential.id in text and "shop" in text
    assert NEW.secret is not None
    for hidden in (NEW.token[13:], NEW.secret[4:], repr(NEW.credential.digest)[2:-1]):
        assert hidden not in text
    assert NEW.credential.digest.hex() not in text


def test_a_credential_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        NEW.credential.scope = Scope.ADMIN  # type: ignore[misc]


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("id", "0000000"),
        ("id", "0000000G"),
        ("id", "00000000\n"),
        ("id", "٠0000000"),
        ("client", ""),
        ("client", "a" * 65),
        ("client", "a b"),
        ("client", "a\n"),
        ("client", "é"),
        ("client", "a/b"),
        ("secret", None),
        ("secret", "lcs_short"),
        ("secret", "x" * 47),
        ("is_signed", False),
        ("rate", -1.0),
        ("rate", 0.0009),
        ("rate", 1.1e9),
        ("rate", float("inf")),
        ("rate", float("nan")),
        ("burst", 0),
        ("burst", 1_000_000_001),
        ("quota", -1),
        ("quota", 2**63),
        ("created_at", "2026-01-31 12:00:00Z"),
        ("created_at", "2026-01-31T12:00:00+00:00"),
        ("digest", b""),
        ("digest", bytes(31)),
    ],
)
def test_what_no_key_can_have(member: str, value: Any) -> None:
    name = "secret" if member == "is_signed" else member
    with pytest.raises(ValueError, match=f"^{name}: "):
        check_credential(replace(NEW.credential, **{member: value}))


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("client", "a"),
        ("client", "-._" + "Z" * 61),
        ("rate", 0),
        ("rate", 0.001),
        ("rate", 1e9),
        ("burst", 1),
        ("burst", 1_000_000_000),
        ("quota", 0),
        ("quota", 2**63 - 1),
    ],
)
def test_what_a_key_can_just_have(member: str, value: Any) -> None:
    check_credential(replace(NEW.credential, **{member: value}))


@pytest.mark.parametrize(
    "text",
    [
        "",
        NEW.token + "\n",
        NEW.token + "A",
        NEW.token[:-1],
        NEW.token.upper(),
        NEW.token.replace("lck", "lcs"),
        " " + NEW.token,
        NEW.token[:-1] + "é",
        NEW.token[:-1] + "\ud800",
        NEW.token[:-1] + "=",
    ],
    ids=range(10),  # Without the token, which is another in each process of a parallel run.
)
def test_what_is_no_token(text: str) -> None:
    assert read_id(text) is None
