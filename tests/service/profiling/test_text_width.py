"""The widths of texts: never less than those of the font; and lines no longer than told."""

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from ledgercore.service.profiling.text_width import ELLIPSIS, cut, measure, wrap

LETTERS = "".join(map(chr, range(0x21, 0x7F)))
TEXTS = [
    LETTERS,
    "Pipeline.write_groups",
    "thread loop: 3 samples, 0 % of the time",
    "iiii",
    "MWM@",
]


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("is_bold", [False, True])
def test_a_text_is_not_wider_than_measured(text: str, is_bold: bool) -> None:
    font = FontProperties(family="DejaVu Sans", size=11, weight="bold" if is_bold else "normal")
    width = TextPath((0, 0), text, prop=font).get_extents().width
    assert width <= measure(text, 11, is_bold=is_bold) < 1.25 * width + 3


def test_a_text_is_cut_where_its_room_ends() -> None:
    for room in range(0, 200, 7):
        text = cut("Connection.answer", room, 11)
        assert measure(text, 11) <= room
        is_whole = text == "Connection.answer"
        assert is_whole or text == "" or text.endswith(ELLIPSIS)
        assert is_whole == (measure("Connection.answer", 11) <= room)


def test_lines_are_broken_between_words() -> None:
    text = "one two three four five six seven"
    lines = wrap(text, 60, 11)
    assert " ".join(lines) == text and len(lines) > 2
    assert all(measure(line, 11) <= 60 for line in lines)
    assert wrap("short", 60, 11) == ["short"]
    assert wrap("x " + "y" * 99, 60, 11) == ["x", "y" * 99]
    assert wrap("", 60, 11) == [""]
