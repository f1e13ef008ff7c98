"""The flame graph: stacks as boxes, each as wide as its share of the time, callers above.

This module owns the picture. Each thread has a panel of its own: on one scale, the threads of the
engine, which do the most with the least time, would be too thin to be seen. What the boxes mean is
told by stacks.py.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from xml.etree import ElementTree

from .stacks import Frame, Kind, Stack
from .text_width import cut, measure, wrap

INK = "#1b2733"
MUTED = "#8796a5"
COLOURS = {
    Kind.HANDLERS: "#86b6ee",
    Kind.ENGINE: "#f3a15f",
    Kind.LIBRARY: "#cfd9e4",
    Kind.LOOP: "#a5d8bd",
    Kind.RUNTIME: "#ece3c4",
    Kind.SYSTEM: "#eeb4c1",
}

WIDTH, MARGIN, GAP = 1200.0, 12.0, 16.0
ROW, LINE = 17.0, 18.0
SIZE, TITLE_SIZE, SWATCH, PADDING = 11.0, 15.0, 17.0, 4.0
"""All in pixels."""
BOX_MIN, NAME_MIN = 0.4, 26.0
FONT = "DejaVu Sans, Verdana, Helvetica, sans-serif"


@dataclass(slots=True)
class Node:
    """A function, called the same way each time it was seen, and what it called."""

    frame: Frame | None = None
    count: int = 0
    children: dict[Frame, "Node"] = field(default_factory=dict)

    def add(self, stack: Stack, count: int) -> None:
        """Count a stack in, from the outside in."""
        node = self
        node.count += count
        for frame in stack:
            node = node.children.setdefault(frame, Node(frame))
            node.count += count

    @property
    def depth(self) -> int:
        """How many boxes are below each other."""
        own = self.frame is not None
        return own + max((child.depth for child in self.children.values()), default=0)


@dataclass(frozen=True, slots=True)
class Box:
    """One box: where it is, in parts of its panel and in rows, and what it stands for."""

    left: float
    width: float
    row: int
    frame: Frame
    count: int


@dataclass(frozen=True, slots=True)
class Panel:
    """What is shown of one thread."""

    caption: str
    stacks: Counter[Stack]


def build_tree(stacks: Counter[Stack]) -> Node:
    """Return the stacks as one tree of calls."""
    root = Node()
    for stack, count in stacks.items():
        root.add(stack, count)
    return root


def _name_node(node: Node) -> tuple[str, str]:
    return (node.frame.name, node.frame.file) if node.frame else ("", "")


def place_boxes(node: Node, left: float = 0.0, width: float = 1.0, row: int = 0) -> Iterator[Box]:
    """Yield the boxes below a node, each as wide as its share; siblings are in order of name."""
    children = sorted(node.children.values(), key=_name_node)
    for child in children:
        assert child.frame is not None
        part = width * child.count / node.count
        yield Box(left, part, row, child.frame, child.count)
        yield from place_boxes(child, left, part, row + 1)
        left += part


def fit_name(name: str, width: float) -> str:
    """Return as much of a name as a box has room for; what a method belongs to goes first."""
    room = width - PADDING
    if width < NAME_MIN:
        return ""
    if measure(name, SIZE) > room:
        name = name.rpartition(".")[2]
    return cut(name, room, SIZE)


def draw_flame(
    title: str, notes: Sequence[str], panels: Sequence[Panel], unit: str = "samples"
) -> str:
    """Return the picture as SVG: the first panel over the whole width, the others below it.

    `unit` is what the counts of the panels count. What is wider than the picture goes on below.
    """
    inner = WIDTH - 2 * MARGIN
    heads = wrap(title, inner, TITLE_SIZE, is_bold=True)
    lines = [line for note in notes for line in wrap(note, inner, SIZE)]
    legend = list(_place_legend(inner))
    legend_top = MARGIN + LINE * (len(heads) + len(lines)) + 6
    top = MARGIN + LINE * (len(heads) + len(lines) + legend[-1][1] + 2)
    rows = _place_panels(panels, top, inner)
    height = max(top + _measure(panel) for _, top, _, panel in rows)
    svg = ElementTree.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg",
            "viewBox": f"0 0 {WIDTH:g} {height + MARGIN:g}",
            "font-family": FONT,
            "font-size": f"{SIZE:g}",
            "fill": INK,
        },
    )
    ElementTree.SubElement(svg, "title").text = title
    ElementTree.SubElement(svg, "rect", {"width": "100%", "height": "100%", "fill": "white"})
    for number, text in enumerate([*heads, *lines]):
        is_head = number < len(heads)
        style = {"size": TITLE_SIZE, "weight": "bold"} if is_head else {"colour": MUTED}
        _write(svg, MARGIN, MARGIN + LINE * (number + 0.5) + 4, text, **style)
    for left, row, kind in legend:
        _draw_legend(svg, kind, MARGIN + left, legend_top + LINE * row)
    for left, panel_top, width, panel in rows:
        _draw_panel(svg, panel, MARGIN + left, panel_top, width, unit)
    ElementTree.indent(svg, " ")
    return ElementTree.tostring(svg, encoding="unicode") + "\n"


def _place_legend(room: float) -> Iterator[tuple[float, int, Kind]]:
    """Yield each sort of box with its place from the left, and its row."""
    left, row = 0.0, 0
    for kind in COLOURS:
        width = SWATCH + measure(kind.value, SIZE)
        if left > 0 and left + width > room:
            left, row = 0.0, row + 1
        yield left, row, kind
        left += width + GAP


def _place_panels(
    panels: Sequence[Panel], top: float, room: float
) -> list[tuple[float, float, float, Panel]]:
    """Return each panel with its left, top and width: as many in a row as have captions that fit.

    The first one has a row of its own.
    """
    widest = max(measure(panel.caption, SIZE, is_bold=True) for panel in panels)
    columns = max(int((room + GAP) / (widest + GAP)), 1)
    others = list(panels[1:])
    rows = [panels[:1], *(others[at : at + columns] for at in range(0, len(others), columns))]
    placed = []
    for row in rows:
        width = (room - GAP * (len(row) - 1)) / len(row)
        placed += [((width + GAP) * i, top, width, panel) for i, panel in enumerate(row)]
        top += max(_measure(panel) for panel in row) + GAP
    return placed


def _measure(panel: Panel) -> float:
    return LINE + ROW * build_tree(panel.stacks).depth


def _write(
    parent: ElementTree.Element,
    left: float,
    base: float,
    text: str,
    *,
    size: float = SIZE,
    weight: str = "normal",
    colour: str = INK,
) -> None:
    style = {"font-size": f"{size:g}", "font-weight": weight, "fill": colour}
    place = {"x": f"{left:.1f}", "y": f"{base:.1f}"}
    ElementTree.SubElement(parent, "text", place | style).text = text


def _draw_legend(svg: ElementTree.Element, kind: Kind, left: float, top: float) -> None:
    box = {"x": f"{left:.1f}", "y": f"{top:.1f}", "width": "12", "height": "12"}
    ElementTree.SubElement(svg, "rect", box | {"fill": COLOURS[kind], "rx": "2"})
    _write(svg, left + SWATCH, top + 10, kind.value)


def _draw_panel(
    svg: ElementTree.Element, panel: Panel, left: float, top: float, width: float, unit: str
) -> None:
    tree = build_tree(panel.stacks)
    _write(svg, left, top + 11, panel.caption, weight="bold")
    for box in place_boxes(tree):
        if box.width * width >= BOX_MIN:
            share = f"{100 * box.count / tree.count:.1f} % of the thread, {box.count} {unit}"
            _draw_box(svg, box, left, top + LINE, width, share)


def _draw_box(
    svg: ElementTree.Element, box: Box, left: float, top: float, width: float, share: str
) -> None:
    group = ElementTree.SubElement(svg, "g")
    ElementTree.SubElement(group, "title").text = f"{box.frame.name} ({box.frame.file}): {share}"
    x, y, wide = left + box.left * width, top + box.row * ROW, box.width * width
    shape = {
        "x": f"{x:.1f}",
        "y": f"{y:.1f}",
        "width": f"{max(wide - 0.5, BOX_MIN):.1f}",
        "height": f"{ROW - 1:g}",
        "fill": COLOURS[box.frame.kind],
        "rx": "1.5",
    }
    ElementTree.SubElement(group, "rect", shape)
    if name := fit_name(box.frame.name, wide):
        _write(group, x + PADDING / 2 + 1, y + 12, name)
