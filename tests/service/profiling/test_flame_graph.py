"""Flame graphs: boxes are as wide as they say, and the picture is sound whatever it shows."""

from collections import Counter
from xml.etree import ElementTree

import pytest
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath

from ledgercore.service.profiling.flame_graph import (
    Panel,
    build_tree,
    draw_flame,
    fit_name,
    place_boxes,
)
from ledgercore.service.profiling.stacks import Frame, Kind, Stack


def frame(name: str) -> Frame:
    return Frame(name, "service/x.py", Kind.HANDLERS)


A, B, C = frame("a"), frame("b"), frame("c")


def test_a_box_is_as_wide_as_its_share() -> None:
    tree = build_tree(Counter({(A, C): 1, (A, B): 2, (A,): 1}))
    boxes = [(box.frame.name, box.left, box.width, box.row, box.count) for box in place_boxes(tree)]
    assert boxes == [("a", 0, 1, 0, 4), ("b", 0, 0.5, 1, 2), ("c", 0.5, 0.25, 1, 1)]
    assert tree.depth == 2


def test_a_name_is_cut_to_its_box() -> None:
    assert fit_name("Ledger.apply", 200) == "Ledger.apply"
    assert fit_name("Ledger.apply", 40) == "apply"
    assert fit_name("Ledger.apply_records", 40) == "appl…"
    assert fit_name("a", 10) == ""


def test_the_graph_is_sound_with_any_name() -> None:
    odd = frame('<lambda> & "more"')
    panels = [Panel("loop", Counter({(A, odd): 4})), Panel("journal", Counter({(B,): 1}))]
    svg = draw_flame("A <title>", ["note & more"], panels)
    root = ElementTree.fromstring(svg)
    titles = [node.text for node in root.findall(".//{*}title")]
    assert titles[0] == "A <title>"
    expected = '<lambda> & "more" (service/x.py): 100.0 % of the thread, 4 samples'
    assert expected in titles
    texts = [node.text for node in root.findall(".//{*}text")]
    assert {"loop", "journal", "note & more", *(kind.value for kind in Kind)} <= set(texts)


def list_texts(svg: str) -> list[tuple[float, float, float, str]]:
    """Return each text of a picture: left, right and base as its font has them, and the text."""
    placed = []
    for node in ElementTree.fromstring(svg).findall(".//{*}text"):
        left, text = float(node.get("x", "")), node.text or ""
        font = FontProperties(
            family="DejaVu Sans",
            size=float(node.get("font-size", "")),
            weight=node.get("font-weight"),
        )
        width = TextPath((0, 0), text, prop=font).get_extents().width if text.strip() else 0
        placed.append((left, left + width, float(node.get("y", "")), text))
    return placed


LONG = "a note that is much too long for one line of the picture, since it has many words " * 3


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_no_text_is_cut_off_or_lies_over_another(count: int) -> None:
    stacks: Counter[Stack] = Counter(
        {(frame("Wide_MMMM_@@@@"), frame(f"Worker.apply_{i}" * 2)): i for i in range(1, 40)}
    )
    panels = [
        Panel(f"thread worker-{i}: 1,000 samples, 25 % of the processor time", stacks)
        for i in range(count)
    ]
    svg = draw_flame(
        "POST /transfer, durable: where the server's time goes", [LONG, "short"], panels
    )
    texts = list_texts(svg)
    width, height = map(float, ElementTree.fromstring(svg).get("viewBox", "").split()[2:])
    assert all(left > 0 and right <= width and base < height for left, right, base, _ in texts)
    for left, right, base, text in texts:
        for other_left, _, other_base, other in texts:
            assert not (other_base == base and left < other_left < right), (text, other)
    told = " ".join(text for *_, text in texts)
    assert LONG.strip() in told and all(panel.caption in told for panel in panels)
    assert all(kind.value in told for kind in Kind)


def test_every_name_lies_within_its_box() -> None:
    names = [
        "MMMMMMMM",
        "WWWW@@@@",
        "Pipeline.write_groups",
        "iiiiiiii",
        "complete",
        "漢字漢字漢字",
    ]
    stacks: Counter[Stack] = Counter(
        {(frame(name), frame(f"{name}_{i}")): i for name in names for i in range(1, 9)}
    )
    root = ElementTree.fromstring(draw_flame("title", [], [Panel("panel", stacks)]))
    named = 0
    for group in root.findall(".//{*}g"):
        box, text = group.find("{*}rect"), group.find("{*}text")
        if box is None or text is None or not (text.text or "").rstrip("…").isascii():
            continue
        ((left, right, *_),) = list_texts(
            f'<svg viewBox="">{ElementTree.tostring(text).decode()}</svg>'
        )
        assert left >= float(box.get("x", ""))
        assert right <= float(box.get("x", "")) + float(box.get("width", "")), text.text
        named += 1
    assert named > 20


def test_a_graph_of_nothing_is_sound() -> None:
    root = ElementTree.fromstring(draw_flame("Idle", [], [Panel("nothing ran", Counter())]))
    assert "nothing ran" in [node.text for node in root.findall(".//{*}text")]
