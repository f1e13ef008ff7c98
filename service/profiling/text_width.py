"""How wide texts are in pictures, so that nothing is cut off and nothing lies over its neighbour.

This module owns widths and line breaks. They are those of DejaVu Sans, each rounded up to a
twentieth; Verdana's are as wide, Helvetica's and Arial's narrower. It draws nothing.
"""

_WIDTHS = {
    0.30: "'IJijl",
    0.35: " ,./:;\\|",
    0.40: "()-[]ft",
    0.45: "!r",
    0.50: '"*_`',
    0.55: "?csz",
    0.60: "FLkvxy",
    0.65: "$0123456789EPSTYabdeghnopqu{}",
    0.70: "ABCKRVXZ",
    0.75: "NU",
    0.80: "&DGHOQ",
    0.85: "#+<=>^w~",
    0.90: "M",
    1.00: "%@Wm",
}
"""The widths of letters, in parts of their size. Other letters are as wide as they are high."""
_WIDTH_OF = {letter: width for width, letters in _WIDTHS.items() for letter in letters}
_BOLD = 1.14
"""How much wider a bold text is, at the most; a letter alone may be more."""
ELLIPSIS = "…"


def measure(text: str, size: float, *, is_bold: bool = False) -> float:
    """Return how wide a text is, in the unit of its size."""
    width = size * sum(_WIDTH_OF.get(letter, 1.0) for letter in text)
    return width * _BOLD if is_bold else width


def cut(text: str, room: float, size: float) -> str:
    """Return a text, or as much of its beginning as there is room for; empty where that is none."""
    if measure(text, size) <= room:
        return text
    kept = 0
    while measure(text[: kept + 1] + ELLIPSIS, size) <= room:
        kept += 1
    return text[:kept] + ELLIPSIS if kept > 0 else ""


def wrap(text: str, room: float, size: float, *, is_bold: bool = False) -> list[str]:
    """Return the lines of a text, broken between words; a word that is too long has its own."""
    lines = [""]
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines[-1] else word
        if lines[-1] and measure(longer, size, is_bold=is_bold) > room:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
