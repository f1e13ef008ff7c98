"""The text of the file of the API keys: its versions, and that no bit of it changes unnoticed."""

import json

import pytest

from ledgercore.service.access.api_keys import Credential, Scope, make_key
from ledgercore.service.access.key_document import (
    OLD_VERSION,
    VERSION,
    ChecksumError,
    UnknownVersion,
    decode_keys,
    encode_keys,
)

ZEROS = "0" * 64


def make_keys() -> tuple[Credential, ...]:
    return (
        make_key(ZEROS, Scope.READ).credential,
        make_key("shop", Scope.TRANSFER, is_signed=True, rate=2.5, burst=3, quota=4).credential,
    )


def spell_old(text: bytes) -> bytes:
    """Return what a program from before there were checksums wrote of the same keys."""
    members = json.loads(text)
    return json.dumps({"version": OLD_VERSION, "keys": members["keys"]}, indent=1).encode()


@pytest.mark.parametrize("count", [0, 1, 2])
def test_what_is_encoded_is_decoded(count: int) -> None:
    keys = make_keys()[:count]
    assert decode_keys(encode_keys(keys)) == (VERSION, keys)


def test_every_bit_that_flips_is_noticed() -> None:
    text = encode_keys(make_keys())
    for place in range(len(text)):
        for bit in range(8):
            flipped = bytearray(text)
            flipped[place] ^= 1 << bit
            with pytest.raises(ValueError, match=r"."):
                decode_keys(bytes(flipped))


def test_an_old_text_has_no_checksum() -> None:
    keys = make_keys()
    assert decode_keys(spell_old(encode_keys(keys))) == (OLD_VERSION, keys)


def test_a_text_of_now_needs_its_checksum() -> None:
    """What is left out, moved or made up is no less wrong than another digest."""
    text = encode_keys(make_keys())
    members = json.loads(text)
    left_out = {name: value for name, value in members.items() if name != "sha256"}
    for wrong in (left_out, members, members | {"sha256": ""}, members | {"sha256": ZEROS}):
        with pytest.raises(ChecksumError):
            decode_keys(json.dumps(wrong).encode())
        assert decode_keys(json.dumps(wrong).encode(), is_trusted=True)[1] == make_same(text)
    with pytest.raises(ValueError, match="sha256"):
        decode_keys(json.dumps(members | {"version": OLD_VERSION}).encode())


def make_same(text: bytes) -> tuple[Credential, ...]:
    return decode_keys(text)[1]


def test_a_newer_version_is_no_damage() -> None:
    with pytest.raises(
        UnknownVersion, match=f"is {VERSION + 1}, and this program knows {VERSION}$"
    ):
        decode_keys(b'{"version": %d, "shards": []}' % (VERSION + 1))
