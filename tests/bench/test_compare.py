"""The comparison adds up, and its gate falls when a stage does more work for each transfer."""

import json
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.text import Text

from bench import build
from bench.compare import chart, command
from bench.compare.gate import (
    find_confirmed_fault,
    find_fault,
    find_limit,
    read_baseline,
    record_baseline,
)
from bench.compare.report import COLUMNS, format_ratio
from bench.compare.rounds import (
    Spread,
    StageResult,
    check_sound,
    compare_cpu_rates,
    compare_rates,
    scale,
    summarize,
    time_round,
)
from bench.measure import Round
from bench.stages import STAGES, Runner, engine
from bench.stages.python_dict import DictRunner
from bench.workloads import Call, Workload

WORKLOAD = Workload(accounts=50)


def run_compare(*flags: str) -> Result:
    result = CliRunner().invoke(command.main, [*flags, "--rounds=2", "--accounts=50"])
    assert result.exit_code == 0, result.output
    return result


# -- the command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Run all stages on a tiny size; returns where the files are, and what was printed."""
    directory = tmp_path_factory.mktemp("compare")
    with pytest.MonkeyPatch.context() as patch:
        # So few transfers need no memory for millions of keys.
        patch.setattr(engine, "KEYS_RESERVED", 0)
        return directory, run_compare("--transfers=3000", f"--output={directory}").stdout


def test_all_outputs_are_written(whole: tuple[Path, str]) -> None:
    directory, printed = whole
    assert sorted(path.name for path in directory.iterdir()) == [
        "compare.json", "compare.md", "compare.png", "compare.svg",
    ]  # fmt: skip
    height, width, _ = imread(directory / "compare.png").shape
    assert height > 300 and width > 800
    svg = ElementTree.parse(directory / "compare.svg")
    words = {element.text for element in svg.iter() if element.text and element.text.strip()}
    for name, stage in STAGES.items():
        assert {name, stage.title} <= words
        assert f"\n{name}: {stage.title}" in printed
    assert "cores of" in printed and "commit " in printed


RATES = (802_378, 565_640, 1.17e6, 12.54e6, 19.52e6, 7.43e6, 4_077, 24_705, 86_774, 2.11e6)


@pytest.mark.parametrize("rates", [RATES, RATES[::-1], (1e5,) * 10, (1e3, *(9.99e8,) * 9)])
def test_no_words_of_the_chart_lie_over_others(
    monkeypatch: pytest.MonkeyPatch, rates: Sequence[float]
) -> None:
    """Each word and the legend have their own place, whatever was measured."""
    results = [
        StageResult(
            name, stage.title, stage.promise, 1, Spread(rate, rate / 2, rate * 1.5),
            Spread(rate / rates[0], 0, 0), None, None, "", (),
        )
        for (name, stage), rate in zip(STAGES.items(), rates, strict=True)
    ]  # fmt: skip
    drawn: list[Figure] = []
    monkeypatch.setattr(chart, "save", lambda figure, path: drawn.append(figure))
    chart.draw_comparison(results, "2 cores of AMD EPYC, Linux 6.18", [Path("compare.png")])
    (figure,) = drawn
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    (panel,) = figure.axes
    legends: list[Any] = figure.legends or [panel.get_legend()]
    low, high = panel.get_xlim()
    steps = [tick.label1 for tick in panel.xaxis.get_major_ticks() if low <= tick.get_loc() <= high]
    told = [*panel.texts, *panel.get_yticklabels(), *steps, *figure.texts]
    told += [text for text in figure.findobj(Text) if text.get_text().startswith("The same")]
    boxes = [(text.get_text(), text.get_window_extent()) for text in told]
    boxes += [("legend", legend.get_window_extent()) for legend in legends if legend]
    assert sum(" ×" in name for name, _ in boxes) == len(results) and boxes[-1][0] == "legend"
    lie_over = [
        (one, other)
        for (one, box), (other, other_box) in combinations(boxes, 2)
        if box.overlaps(other_box)
    ]
    assert lie_over == []
    edges = figure.bbox
    assert all(
        edges.x0 <= box.x0 and box.x1 <= edges.x1 and edges.y0 <= box.y0 and box.y1 <= edges.y1
        for _, box in boxes
    )


def test_the_data_adds_up(whole: tuple[Path, str]) -> None:
    data = json.loads((whole[0] / "compare.json").read_text())
    assert [stage["name"] for stage in data["stages"]] == list(STAGES)
    assert (data["accounts"], data["seed"], data["rounds"]) == (50, 1, 2)
    reference = data["stages"][0]["rounds"]
    for stage in data["stages"]:
        rounds = stage["rounds"]
        assert [round["work"] for round in rounds] == [stage["transfers"]] * 2
        check_spread(stage["rate"], [round["work"] / round["wall_s"] for round in rounds])
        ratios = [
            (upper["work"] / upper["wall_s"]) / (lower["work"] / lower["wall_s"])
            for upper, lower in zip(rounds, reference, strict=True)
        ]
        check_spread(stage["ratio"], ratios)
    assert data["stages"][0]["ratio"]["median"] == 1
    sizes = [stage["transfers"] for stage in data["stages"]]
    assert max(sizes) == 3000 and sizes == list(scale(list(STAGES.values()), 3000).values())


def check_spread(spread: dict[str, float], values: list[float]) -> None:
    expected = [statistics.median(values), min(values), max(values)]
    assert [spread["median"], spread["low"], spread["high"]] == pytest.approx(expected)


def test_the_markdown_is_a_table(whole: tuple[Path, str]) -> None:
    lines = (whole[0] / "compare.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(STAGES)
    assert {line.count("|") for line in table} == {len(COLUMNS) + 1}


def test_some_stages_as_json(tmp_path: Path) -> None:
    flags = ("--stages=batches,numpy", "--transfers=500", "--json", f"--output={tmp_path}")
    data = json.loads(run_compare(*flags).stdout)
    assert [stage["name"] for stage in data["stages"]] == ["dict", "numpy", "batches"]
    assert data == json.loads((tmp_path / "compare.json").read_text())
    assert data["build"]["flags"] and data["build"]["commit"]


def test_a_stage_that_is_none_is_told() -> None:
    result = CliRunner().invoke(command.main, ["--stages=dict,teleport"])
    assert result.exit_code == 2
    assert "'teleport' is none of dict, numpy" in result.output


# -- what is compared -----------------------------------------------------------------------------


def test_ratios_are_taken_round_by_round() -> None:
    reference = [Round(100, 1.0, 1.0), Round(100, 4.0, 2.0), Round(100, 1.0, 0.0)]
    rounds = [Round(50, 0.25, 0.5), Round(50, 1.0, 0.5), Round(50, 0.1, 0.5)]
    assert compare_rates(rounds, reference) == [2, 2, 5]
    # The round in which the clock stood still is left out.
    assert compare_cpu_rates(rounds, reference) == [1, 2]
    timed = {"dict": reference, "kernel": rounds}
    notes = {"dict": "", "kernel": "noted"}
    first, second = summarize([STAGES["dict"], STAGES["kernel"]], timed, notes)
    assert (first.ratio.median, second.ratio.median, second.ratio.high) == (1, 2, 5)
    assert second.cpu_ratio is not None and second.cpu_ratio.median == 1.5
    assert (second.rate.median, second.note) == (200, "noted")
    still = summarize([STAGES["dict"]], {"dict": reference[2:]}, notes)[0]
    assert still.cpu_ratio is None and format_ratio(still.cpu_ratio) == "?"


def test_a_false_ledger_is_noticed(tmp_path: Path) -> None:
    class Forgetful(DictRunner):
        def balances(self) -> dict[str, int]:
            return dict.fromkeys(super().balances(), 1)

    runner = Forgetful(WORKLOAD)
    runner.run(runner.prepare(WORKLOAD.transfers(10)))
    with pytest.raises(RuntimeError, match="balances of Forgetful"):
        check_sound(runner, WORKLOAD)
    poor = Workload(accounts=50, floor=0)
    refusing = DictRunner(poor)
    refusing.run(refusing.prepare(poor.transfers(10)))
    with pytest.raises(RuntimeError, match="has refused"):
        check_sound(refusing, poor)


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(build, "ROOT", tmp_path)
    (tmp_path / "setup.py").write_text("def flags(debug, sanitizer):\n    return ['-Oh']\n")
    found = build.describe_build()
    assert found.commit == "unknown"
    assert found.flags.endswith(" -Oh")


# -- the gate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ratio", "is_passed"), [(2.5, True), (2.0, True), (1.61, True), (1.6, True), (1.59, False)]
)
def test_the_gate_allows_a_fifth(ratio: float, is_passed: bool) -> None:
    fault = find_fault("kernel", ratio, {"kernel": 2.0})
    assert (fault is None) == is_passed
    if fault is not None:
        assert fault.startswith("kernel: 1.59 times") and "2 was recorded" in fault


def test_a_stage_without_a_record_does_not_pass() -> None:
    assert find_limit("kernel", {}) is None
    fault = find_fault("kernel", 1e9, {"batches": 1.0})
    assert fault is not None and "--record" in fault


def test_every_stage_has_a_record() -> None:
    assert set(read_baseline()) == set(STAGES) - {"dict"}
    assert all(ratio > 0 for ratio in read_baseline().values())


def test_a_record_is_only_lowered(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    assert read_baseline(path) == {}
    reference = [Round(100, 1.0, 1.0)]
    notes = {"dict": "", "kernel": "", "batches": ""}
    stages = [STAGES[name] for name in notes]
    for seconds, expected in [(0.5, 2.0), (0.8, 1.25), (0.25, 1.25)]:
        rounds = [Round(100, 9.0, seconds)]
        timed = {"dict": reference, "kernel": rounds, "batches": reference}
        record_baseline(summarize(stages, timed, notes), path)
        assert read_baseline(path) == {"kernel": expected, "batches": 1.0}


class SlowRunner(DictRunner):
    """Does each transfer's work, and as much again for nothing."""

    def run(self, prepared: list[Call]) -> None:
        super().run(prepared)
        idle = DictRunner(self._workload)
        idle.run(prepared)


def measure_ratio(runner: Runner, reference: Runner, first: int) -> float:
    """Return a stage's ratio to the pure-Python stage, as the gate takes it."""
    stage, before, after = STAGES["dict"], [], []
    for stream in range(first, first + 9):
        rows = WORKLOAD.transfers(5_000, stream)
        before.append(time_round(stage, reference, rows))
        after.append(time_round(stage, runner, rows))
    return statistics.median(compare_cpu_rates(after, before))


def test_what_is_slower_once_is_measured_anew() -> None:
    recorded = {"kernel": 2.0}

    def find_next(measured: Iterator[float]) -> str | None:
        return find_confirmed_fault("kernel", 1.0, recorded, lambda name: next(measured))

    for later, is_slow in [([1.0, 1.0], True), ([1.7], False), ([1.0, 1.7], False)]:
        measured = iter(later)
        fault = find_next(measured)
        assert (fault is not None) == is_slow
        assert next(measured, None) is None
    assert find_confirmed_fault("kernel", 1.7, recorded, lambda name: 0.0) is None
    fault = find_confirmed_fault("batches", 1.7, recorded, lambda name: 1e9)
    assert fault is not None and "no ratio is recorded" in fault


@contextmanager
def open_slow(workload: Workload, scratch: Path) -> Iterator[DictRunner]:
    yield SlowRunner(workload)


def test_the_command_fails_for_a_slow_stage_and_for_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "baseline.json").write_text('{"slow": 1.0, "same": 1.0}')
    monkeypatch.setattr(command, "read_baseline", lambda: read_baseline(tmp_path / "baseline.json"))
    monkeypatch.setitem(STAGES, "slow", replace(STAGES["dict"], name="slow", open=open_slow))
    monkeypatch.setitem(STAGES, "same", replace(STAGES["dict"], name="same"))
    for name, code in (("slow", 1), ("same", 0)):
        flags = ["--gate", f"--stages={name}", "--transfers=5000", "--rounds=9", "--accounts=50"]
        result = CliRunner().invoke(command.main, [*flags, f"--output={tmp_path}"])
        assert result.exit_code == code, result.output
        assert ("slow: 0.5" in result.stderr) == (name == "slow")
        assert ("slower, and 20% is allowed" in result.stderr) == (name == "slow")


def test_the_gate_falls_for_more_work() -> None:
    recorded: dict[str, Any] = {"same": 1.0, "slow": 1.0}
    same = measure_ratio(DictRunner(WORKLOAD), DictRunner(WORKLOAD), 0)
    assert find_fault("same", same, recorded) is None
    slow = measure_ratio(SlowRunner(WORKLOAD), DictRunner(WORKLOAD), 0)
    fault = find_fault("slow", slow, recorded)
    assert fault is not None and "slower, and 20% is allowed" in fault
