"""Flame graphs: boxes are as wide as they say, and the picture is sound whatever it shows."""

from collections import Counter
from xml.etree import ElementTree

from service.flame import Panel, build_tree, draw_flame, fit_name, place_boxes
from service.stacks import Frame, Kind


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


def test_a_graph_of_nothing_is_sound() -> None:
    root = ElementTree.fromstring(draw_flame("Idle", [], [Panel("nothing ran", Counter())]))
    assert "nothing ran" in [node.text for node in root.findall(".//{*}text")]
