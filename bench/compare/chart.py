"""The comparison as bars, one a stage, on a scale on which each step is ten times the last."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, NullLocator

from ..charts import INK, MUTED, SERIES, draw, save
from ..report import format_rate
from .report import format_ratio
from .rounds import REFERENCE, StageResult

COLOURS = {"in memory": SERIES[0], "durable": SERIES[1]}
ROW_INCHES = 0.5
HEAD_INCHES = 1.3
ROOM_RIGHT = 30.0
"""How many times the highest value the scale reaches, so that the words beside it fit in."""


def format_step(rate: float) -> str:
    """Return a step of the scale, each of which is a power of ten."""
    return f"{rate / 1e6:,.0f} M" if rate >= 1e6 else f"{rate:,.0f}"


def draw_comparison(results: Sequence[StageResult], note: str, paths: Sequence[Path]) -> None:
    """Draw the stages from top to bottom, and keep the chart in each of the files."""
    height = HEAD_INCHES + ROW_INCHES * len(results)
    with draw(height_inches=height) as (figure, (panel,)):
        places = range(len(results))
        medians = [result.rate.median for result in results]
        below = [result.rate.median - result.rate.low for result in results]
        above = [result.rate.high - result.rate.median for result in results]
        panel.barh(
            places,
            medians,
            height=0.62,
            color=[COLOURS[result.promise] for result in results],
            xerr=(below, above),
            error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 3},
        )
        for place, result in zip(places, results, strict=True):
            text = f"{format_rate(result.rate.median)}   {format_ratio(result.ratio)}"
            panel.annotate(
                text,
                (result.rate.high, place),
                xytext=(8, 0),
                textcoords="offset points",
                va="center",
                fontweight="bold",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
            )
            if result.name == REFERENCE:
                panel.axvline(result.rate.median, color=MUTED, linestyle=":", zorder=0.5)
        panel.set_xscale("log")
        panel.set_xlim(min(medians) / 4, max(medians) * ROOM_RIGHT)
        panel.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: format_step(rate)))
        panel.xaxis.set_minor_locator(NullLocator())
        panel.grid(visible=False, axis="y")
        panel.tick_params(axis="y", length=0)
        panel.set_yticks(places, [f"{result.title}\n{result.name}" for result in results])
        panel.invert_yaxis()
        panel.set_title("The same transfers, stage by stage: transfers a second")
        # Beside the chart, for within it there may be words of a stage anywhere.
        figure.legend(
            handles=[
                Patch(color=colour, label=f"an answer means {promise}")
                for promise, colour in COLOURS.items()
            ],
            loc="outside upper right",
            ncols=len(COLOURS),
        )
        figure.supxlabel(note, fontsize="x-small", color=MUTED, x=0.01, ha="left")
        for path in paths:
            save(figure, path)
