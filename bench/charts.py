"""The look of every chart: one palette, one size of type, and the same bytes for the same figures.

This module owns how a chart is drawn and kept. What it shows is told by those who draw on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK, MUTED = "#1b2733", "#8796a5"
GRID = "#e3e8ed"
SERIES = ("#2a78d6", "#e07b39", "#2f9e6e", "#9355c9", "#c94f6d", "#7a8b2f")
"""Colours that stay apart for those who see few, in the order in which they are to be used."""

STYLE: Any = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.grid": True,
    "axes.labelcolor": INK,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": "medium",
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": GRID,
    "legend.frameon": False,
    "savefig.dpi": 150,
    # The same figures make the same file: no random ids, and text stays text.
    "svg.fonttype": "none",
    "svg.hashsalt": "ledgercore",
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
}


@contextmanager
def draw(
    rows: int = 1, *, width_inches: float = 8.0, height_inches: float = 4.5
) -> Iterator[tuple[Figure, list[Axes]]]:
    """Yield a figure and its panels, one above the other, in the style of the house."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width_inches, height_inches), layout="constrained")
        panels = figure.subplots(rows, 1, squeeze=False)
        yield figure, [panel for row in panels for panel in row]


def save(figure: Figure, path: Path) -> None:
    """Write a figure as its suffix says: .png or .svg."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(STYLE):
        metadata = {"Date": None} if path.suffix == ".svg" else None
        figure.savefig(path, metadata=metadata)
