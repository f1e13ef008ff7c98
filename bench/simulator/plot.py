"""The picture of a run: latency over time, the percentile curve, throughput with the queue beneath.

This module owns what the panels show. How charts look and are kept is told in ../charts.py.
"""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    MaxNLocator,
    NullLocator,
    StrMethodFormatter,
)

from .. import charts
from .coordinator import Run
from .patterns import Floats
from .samples import ANSWERED, ENDS, Samples
from .summary import Summary, find_latencies_ms, find_seconds

SLICES_MAX = 120
SLICE_MIN_S = 0.05
NINES_MAX = 6
CURVE_POINTS = 400
PERCENTILES = {"p50": 50, "p90": 90, "p99": 99}


def draw_run(run: Run, summary: Summary, path: Path) -> None:
    """Draw a run into a file, .png or .svg."""
    answered = run.samples[run.samples["end"] == ENDS.index(ANSWERED)]
    seconds = find_seconds(run.samples)
    edges = np.linspace(0.0, seconds, int(np.clip(seconds / SLICE_MIN_S, 1, SLICES_MAX)) + 1)
    with charts.draw(4, width_inches=9.0, height_inches=10.0) as (figure, panels):
        if (grid := panels[0].get_gridspec()) is not None:
            grid.set_height_ratios([3, 3, 2.4, 1.4])
        figure.suptitle(
            f"{summary.clients:,} clients, {summary.transfers:,} transfers, {summary.loop} loop,"
            f" {summary.pattern}: {summary.answered_per_s:,.0f} answered/s",
            x=0.01, ha="left", fontweight="bold",
        )  # fmt: skip
        over_time, curve, throughput, queue = panels
        throughput.sharex(over_time)
        queue.sharex(over_time)
        over_time.set_xlim(0, edges[-1])
        _draw_latency(over_time, answered, edges)
        _draw_curve(curve, answered)
        _draw_throughput(throughput, run.samples, answered, edges)
        _draw_queue(queue, run)
        charts.save(figure, path)


def _draw_latency(panel: Axes, answered: Samples, edges: Floats) -> None:
    """Draw percentiles of what was due in each slice of time."""
    panel.set_title("Latency over time")
    panel.set_ylabel("ms, by the time it was due")
    slices = len(edges) - 1
    index = np.clip(np.searchsorted(edges, answered["scheduled_s"], "right") - 1, 0, slices - 1)
    latencies_ms = find_latencies_ms(answered)
    groups = [latencies_ms[index == each] for each in range(slices)]
    middles = (edges[:-1] + edges[1:]) / 2
    for colour, (name, percentile) in zip(charts.SERIES, PERCENTILES.items(), strict=False):
        values = [np.percentile(group, percentile) if len(group) else np.nan for group in groups]
        panel.plot(middles, values, color=colour, label=name, linewidth=1.4)
    if len(answered):
        _scale_ms(panel)
        _put_legend(panel)


def _draw_curve(panel: Axes, answered: Samples) -> None:
    """Draw the latency at each percentile, on an axis that gives each further nine as much room."""
    panel.set_title("Latency by percentile")
    panel.set_ylabel("ms")
    nines = int(np.clip(np.ceil(np.log10(max(len(answered), 10))), 1, NINES_MAX))
    if len(answered):
        latencies_ms = find_latencies_ms(answered)
        places = np.linspace(0.0, nines, CURVE_POINTS)
        values = np.percentile(latencies_ms, 100 * (1 - 10.0**-places))
        panel.plot(places, values, color=charts.SERIES[0], linewidth=1.8)
        _scale_ms(panel)
        highest = f"max {latencies_ms.max():,.1f} ms"
        end = (nines, float(values[-1]))
        panel.annotate(highest, end, (-4, -14), textcoords="offset points", ha="right")
    panel.set_xlim(0, nines)
    panel.xaxis.set_major_locator(FixedLocator([0.0, np.log10(2), *range(1, nines + 1)]))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(FuncFormatter(_format_percentile))


def _draw_throughput(panel: Axes, samples: Samples, answered: Samples, edges: Floats) -> None:
    panel.set_title("Throughput")
    panel.set_ylabel("requests/s")
    widths = np.diff(edges)
    offered = np.histogram(samples["scheduled_s"], edges)[0] / widths
    done = np.histogram(answered["answered_s"], edges)[0] / widths
    panel.stairs(offered, edges, color=charts.MUTED, label="offered", linewidth=1.2)
    panel.stairs(done, edges, color=charts.SERIES[0], alpha=0.25, fill=True)
    panel.stairs(done, edges, color=charts.SERIES[0], label="answered", linewidth=1.4)
    panel.set_ylim(bottom=0)
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    panel.tick_params(labelbottom=False)
    _put_legend(panel)


def _draw_queue(panel: Axes, run: Run) -> None:
    """Draw what the server told of its queue and its workers."""
    panel.set_title("Queue and workers")
    panel.set_xlabel("seconds from the start")
    panel.set_ylabel("queue depth")
    times = [at_s for at_s, _ in run.board.readings]
    depths = [metrics.queue_depth for _, metrics in run.board.readings]
    workers = [metrics.active_workers for _, metrics in run.board.readings]
    handles: list[Any] = []
    if any(depth is not None for depth in depths):
        handles += panel.plot(times, _fill(depths), color=charts.SERIES[1], label="queue depth")
        panel.set_ylim(bottom=0)
    if any(count is not None for count in workers):
        right = panel.twinx()
        right.spines["right"].set_visible(True)
        right.grid(False)
        right.set_ylabel("workers")
        options: Any = {"where": "post", "color": charts.SERIES[2], "label": "workers"}
        handles += right.step(times, _fill(workers), **options)
        right.set_ylim(0, max(count or 0 for count in workers) + 1)
        right.yaxis.set_major_locator(MaxNLocator(nbins=4, integer=True))
    if handles:
        _put_legend(panel, handles=handles)
    else:
        panel.set_yticks([])
        centre: Any = {"transform": panel.transAxes, "ha": "center", "va": "center"}
        panel.text(0.5, 0.5, "the server does not tell", color=charts.MUTED, **centre)


def _scale_ms(panel: Axes) -> None:
    """Make the scale of latencies a logarithmic one, with 2 and 5 between the powers of ten."""
    panel.set_yscale("log")
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    panel.yaxis.set_minor_formatter(FuncFormatter(_format_minor))


def _put_legend(panel: Axes, **options: Any) -> None:
    """Put the legend beside the title, where no line can run through it."""
    panel.legend(loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, **options)


def _fill(values: list[float | None]) -> list[float]:
    return [np.nan if value is None else value for value in values]


def _format_minor(value: float, _: int | None = None) -> str:
    digit = round(value / 10 ** np.floor(np.log10(value)))
    return f"{value:g}" if digit in (2, 5) else ""


def _format_percentile(place: float, _: int | None = None) -> str:
    return f"{100 * (1 - 10.0**-place):.{max(round(place) - 2, 0)}f} %"
