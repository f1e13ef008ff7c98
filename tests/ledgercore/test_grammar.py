"""The mirror of C's alphabets and limits: every byte, every length and every number."""

import pytest

from ledgercore import grammar
from ledgercore.grammar import match_account_id, match_asset, match_key
from tests.support.headers import ask_compiler, list_constants

HEADERS = ["base.h", "text.h", "record.h"]
OF_C_ALONE = {"LC_CACHE_LINE", "LC_COLD", "LC_ASSETS_MAX", "LC_RECORD_TEXT_BYTES_MAX"}
"""What Python asks nobody about."""
LIMITS = {
    "LC_KEY_BYTES_MAX": grammar.KEY_BYTES_MAX,
    "LC_MEMO_BYTES_MAX": grammar.MEMO_BYTES_MAX,
    "LC_LSN_MAX": grammar.LSN_MAX,
    "LC_SLOT_NONE": grammar.SLOT_NONE,
    "LC_FLOOR_NONE": grammar.FLOOR_NONE,
    "LC_CEILING_NONE": grammar.CEILING_NONE,
}
LENGTHS = {
    "LC_ACCOUNT_ID_BYTES_MAX": (match_account_id, "a", ""),
    "LC_KEY_BYTES_MAX": (match_key, "k", ""),
    "LC_ASSET_BYTES_MAX": (match_asset, "A", "/18"),
}


def classes_of(byte_class: str) -> set[int]:
    """The bytes that C has in a class."""
    questions = [f"lc_byte_classes[{byte}] & {byte_class}" for byte in range(256)]
    return {byte for byte, told in enumerate(ask_compiler(["text.h"], questions)) if told}


def test_every_limit_of_c_is_known() -> None:
    defined = {name for header in HEADERS for name in list_constants(header)}
    assert defined == LIMITS.keys() | LENGTHS.keys() | OF_C_ALONE


def test_limits_are_those_of_c() -> None:
    assert ask_compiler(HEADERS, list(LIMITS)) == list(LIMITS.values())
    # The ends of the range stand for no limit, so that no balance may be there.
    assert grammar.BALANCE_MIN == grammar.FLOOR_NONE + 1
    assert grammar.AMOUNT_MAX == grammar.CEILING_NONE


@pytest.mark.parametrize("name", LENGTHS)
def test_texts_are_as_long_as_in_c(name: str) -> None:
    match, character, end = LENGTHS[name]
    (longest,) = ask_compiler(HEADERS, [name])
    for length in range(longest + 3):
        text = character * (length - len(end)) + end
        assert bool(match(text)) == (len(end) < length <= longest)


def test_every_byte_of_an_id_is_one_in_c() -> None:
    assert {byte for byte in range(256) if match_account_id(chr(byte))} == classes_of("LC_BYTE_ID")


def test_every_byte_of_a_key_is_one_in_c() -> None:
    in_python = {byte for byte in range(256) if match_key(chr(byte))}
    # In JSON these two are escaped, and what has an escape is not plain.
    assert classes_of("LC_BYTE_KEY") == in_python - {ord('"'), ord("\\")}
    questions = [f"lc_is_key((lc_text){{(char[]){{(char){byte}}}, 1}})" for byte in range(256)]
    in_c = {byte for byte, told in enumerate(ask_compiler(["text.h"], questions)) if told}
    assert in_c == in_python


def test_an_asset_is_a_code_and_its_decimals() -> None:
    for decimals in range(100):
        assert bool(match_asset(f"USD/{decimals}")) == (decimals <= 18)
        assert not match_asset(f"USD/0{decimals}")
    first = {character for character in map(chr, range(256)) if match_asset(f"{character}/0")}
    assert first == {chr(byte) for byte in range(ord("A"), ord("Z") + 1)}
    later = {character for character in map(chr, range(256)) if match_asset(f"A{character}/0")}
    assert later == first | set("0123456789")
