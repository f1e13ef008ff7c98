"""Profiles: what the profilers wrote is read, told and drawn right, and nothing stays behind."""

import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from bench.machine import ROOT
from bench.profiling.command import main
from bench.profiling.line_profile import NothingSeen, Share, read_profile, shorten_paths
from bench.profiling.runs import sample_stacks
from bench.profiling.summary import Change, find_changes, sum_up_stacks
from bench.profiling.target import plan_rounds
from ledgercore.service.profiling.py_spy import SamplingRefused
from ledgercore.service.profiling.stacks import Frame, Kind, Stacks
from tests.support.servers import make_environment

DEADLINE_S = 120

# -- the command ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """A run of the command that has ended."""

    session: int
    output: Path
    text: str

    @property
    def report(self) -> Any:
        return json.loads((self.output / "profile.json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    output = tmp_path_factory.mktemp("profile") / "out"
    flags = ("--transfers=100000", "--seconds=1.2", "--connections=8", f"--output={output}")
    # A session of its own shows whether any process outlives the command.
    process = subprocess.Popen(
        [sys.executable, "-m", "bench", "profile", *flags],
        cwd=ROOT,
        env=make_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    text, _ = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 0, text
    return Run(process.pid, output, text)


def list_session(session: int) -> list[int]:
    """Return the processes that belong to a session."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if os.getsid(int(entry.name)) == session:
                    found.append(int(entry.name))
            except ProcessLookupError:
                continue
    return found


def test_nothing_is_left_behind(run: Run) -> None:
    assert os.getsid(0) != run.session
    assert os.getpid() in list_session(os.getsid(0))
    assert list_session(run.session) == []


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("dict", "bench/stages/python_dict.py"),
        ("kernel", "ledgercore/engine.py"),
        ("batches", "ledgercore/engine.py"),
        ("server", "service/runtime/batcher.py"),
    ],
)
def test_a_profile_names_what_ran(run: Run, target: str, file: str) -> None:
    told = run.report["targets"][target]
    assert told["speed"]["rate"] > 0 and told["speed"]["cpu_us"] > 0
    assert told["python"] + told["native"] + told["system"] == pytest.approx(100)
    assert file in [share["file"] for share in told["files"]]
    # Of a run this short the first may be a neighbour; of another layer it is not.
    home = "service" if target == "server" else Path(file).parent
    assert told["files"][0]["file"].startswith(f"{home}/")
    raw = json.loads((run.output / f"{target}.json").read_text())
    assert file in raw["files"]
    assert str(ROOT) not in json.dumps(raw)
    assert f"{target}: " in run.text and file in run.text


def test_only_the_work_of_a_stage_is_profiled(run: Run) -> None:
    functions = {share["function"] for share in run.report["targets"]["dict"]["functions"]}
    assert "DictLedger.transfer" in functions
    assert not functions & {"DictRunner.prepare", "Workload.spell", "DictRunner.__init__"}
    assert run.report["targets"]["dict"]["speed"]["transfers"] == 100_000


class Page(HTMLParser):
    """Counts the tags of a page, and lists the files that a browser would fetch to show it."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.needed: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        for name, value in attrs:
            is_fetched = name == "src" or (tag == "link" and name == "href")
            if is_fetched and value and not value.startswith("data:"):
                self.needed.append(value)


@pytest.mark.parametrize("target", ["dict", "kernel", "batches", "server"])
def test_a_page_needs_no_other_file(run: Run, target: str) -> None:
    page = Page()
    page.feed((run.output / f"{target}.html").read_text())
    page.close()
    assert page.tags["script"] > 0 and page.tags["body"] == 1
    assert page.needed == []


def test_what_changed_is_told_from_stage_to_stage(run: Run) -> None:
    pairs = [(change["before"], change["after"]) for change in run.report["changes"]]
    assert pairs == [("dict", "kernel"), ("kernel", "batches")]
    by_dict = [
        change for change in run.report["changes"][0]["functions"] if change["after_us"] == 0
    ]
    assert "DictLedger.transfer" in by_dict[0]["place"]
    assert by_dict[0]["before_us"] > 0.1
    assert "dict → kernel" in run.text


def test_the_graph_shows_handler_and_engine(run: Run) -> None:
    if run.report["flame"] is None:
        pytest.skip(next(line for line in run.text.splitlines() if line.startswith("No flame")))
    svg = (run.output / "flamegraph.svg").read_text()
    titles = [node.text or "" for node in ElementTree.fromstring(svg).findall(".//{*}title")]
    for what in (r"\(service/http/connection\.pyx\)", r"\(ledgercore/\w+\.pyx\)", "uv_run "):
        assert any(re.search(what, title) for title in titles), what
    assert not any("__pyx" in title for title in titles)
    assert str(ROOT) not in svg
    folded = (run.output / "flamegraph.folded").read_text()
    assert all(line.rpartition(" ")[2].isdigit() for line in folded.splitlines())
    flame = run.report["flame"]
    counted = sum(int(line.rpartition(" ")[2]) for line in folded.splitlines())
    assert counted == flame["samples"] == sum(one["samples"] for one in flame["threads"])
    assert sum(flame["kinds"].values()) == pytest.approx(100)
    # Which of the two is busier is for the disk to say.
    assert {"MainThread", "journal"} <= {thread["name"] for thread in flame["threads"]}
    assert sum(one["cpu_percent"] for one in flame["threads"]) <= 100.001


def test_work_that_is_too_short_is_told(tmp_path: Path) -> None:
    flags = ["--only=dict", "--transfers=1", f"--output={tmp_path}"]
    result = CliRunner().invoke(main, flags)
    assert result.exit_code == 1
    assert "Scalene took no sample for dict.json: the work was too short" in result.output


def test_rounds_have_what_is_asked_for() -> None:
    assert plan_rounds(25, 10) == [10, 10, 5]
    assert plan_rounds(20, 10) == [10, 10]
    assert plan_rounds(3, 10) == [3]


# -- Scalene's profiles ---------------------------------------------------------------------------


def entry(line: str, number: int, *parts: float) -> dict[str, Any]:
    names = ("n_cpu_percent_python", "n_cpu_percent_c", "n_sys_percent")
    return {"line": line, "lineno": number, **dict(zip(names, parts, strict=True))}


def test_shares_are_of_what_was_seen(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    files = {
        f"{ROOT}/service/a.py": {
            "lines": [entry("if a \\u003c b:\n", 3, 10, 5, 5), entry("", 4, 0, 0, 0)],
            "functions": [entry("f", 2, 10, 5, 5)],
        },
        "b.py": {"lines": [entry("g()\n", 9, 0, 20, 0)], "functions": [entry("h", 8, 0, 20, 0)]},
    }
    program = f"{ROOT}/ledgercore/__main__.py"
    text = {"elapsed_time_sec": 2.5, "files": files, "filename": str(ROOT), "program": program}
    path.write_text(json.dumps(text))
    shorten_paths(path)
    assert str(ROOT) not in path.read_text()
    profile = read_profile(path)
    # 40 of 100 percent were on lines, so each percent of them stands for two and a half.
    assert profile.lines == [
        Share("b.py", "", 9, "g()", 0, 50, 0),
        Share("service/a.py", "", 3, "if a < b:", 25, 12.5, 12.5),
    ]
    assert [share.place for share in profile.functions] == ["b.py:8 h", "service/a.py:2 f"]
    assert profile.files == [
        Share("b.py", "", 0, "", 0, 50, 0),
        Share("service/a.py", "", 0, "", 25, 12.5, 12.5),
    ]
    assert profile.whole == Share("", "", 0, "", 25, 62.5, 12.5)
    assert profile.seconds == 2.5


def test_a_profile_without_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "empty.json"
    with pytest.raises(NothingSeen, match=r"empty\.json"):
        read_profile(path)
    path.write_text("{}")
    with pytest.raises(NothingSeen, match=r"empty\.json"):
        read_profile(path)


def test_a_change_is_in_time_and_not_in_shares() -> None:
    before = [Share("a.py", "f", 1, "", 50, 0, 0), Share("a.py", "g", 5, "", 25, 25, 0)]
    after = [Share("a.py", "f", 1, "", 0, 90, 0), Share("b.py", "h", 2, "", 10, 0, 0)]
    # The share of f rises, but its time falls.
    changes = find_changes(before, after, before_us=10, after_us=1)
    assert changes == [
        Change("a.py:5 g", 5.0, 0.0),
        Change("a.py:1 f", 5.0, 0.9),
        Change("b.py:2 h", 0.0, 0.1),
    ]
    assert changes[1].difference_us == pytest.approx(-4.1)
    kept = find_changes(before, after, before_us=10, after_us=1, least_us=0.2)
    assert [change.place for change in kept] == ["a.py:5 g", "a.py:1 f"]


# -- stacks ----------------------------------------------------------------------------------------


def test_stacks_are_summed_up_by_thread_and_kind() -> None:
    write = Frame("write", "lib/libc.so.6", Kind.SYSTEM)
    find = Frame("lc_index_find", "src/index.h", Kind.ENGINE)
    stacks: Stacks
    stacks = {"MainThread": Counter({(find,): 3, (write,): 2}), "journal": Counter({(write,): 4})}
    cpu_s = {"MainThread": 1.5, "journal": 0.25, "housekeeper": 0.25}
    flame = sum_up_stacks(stacks, 51, cpu_s, rate=10.0)
    assert (flame.samples, flame.waits) == (9, 51)
    threads = [(one.name, one.samples, one.cpu_percent) for one in flame.threads]
    assert threads == [("MainThread", 5, 75), ("journal", 4, 12.5)]
    assert flame.kinds[Kind.SYSTEM.value] == pytest.approx(100 * 6 / 9)
    assert flame.kinds[Kind.LIBRARY.value] == 0


# -- py-spy ---------------------------------------------------------------------------------------


def make_sampler(tmp_path: Path, complaint: str) -> tuple[str, ...]:
    """Return the command of a py-spy that says this and gives up."""
    script = tmp_path / "sampler.py"
    script.write_text(f"import sys\nsys.exit({complaint!r})\n")
    return (sys.executable, str(script))


def test_a_refusal_is_one_sentence(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, "Error: Permission Denied (os error 13)\nTry sudo.")
    with pytest.raises(SamplingRefused, match=r"^No flame graph: .*ptrace.*SYS_PTRACE[^\n]*$"):
        sample_stacks(os.getpid(), 1, tmp_path / "out", sampler)


def test_another_failure_is_told_as_it_is(tmp_path: Path) -> None:
    sampler = make_sampler(tmp_path, "Error: the moon is full\nRun it later.")
    with pytest.raises(SamplingRefused, match="py-spy failed: Error: the moon is full"):
        sample_stacks(os.getpid(), 1, tmp_path / "out", sampler)


def test_a_process_that_is_gone_is_told(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    with pytest.raises(SamplingRefused, match="No flame graph: py-spy"):
        sample_stacks(gone.pid, 1, tmp_path / "out")


def test_a_missing_sampler_is_told(tmp_path: Path) -> None:
    with pytest.raises(SamplingRefused, match="not installed"):
        sample_stacks(os.getpid(), 1, tmp_path / "out", (str(tmp_path / "none"),))


def test_the_command_goes_on_without_a_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = make_sampler(tmp_path, "Error: Operation not permitted")
    monkeypatch.setattr("bench.profiling.runs.find_sampler", lambda: sampler)
    (tmp_path / "flamegraph.svg").write_text("of an earlier run")
    flags = ["--only=flame", "--seconds=0.1", "--connections=2", f"--output={tmp_path}"]
    result = CliRunner().invoke(main, flags)
    assert result.exit_code == 0, result.output
    assert "No flame graph: py-spy may not trace another process here" in result.output
    assert not (tmp_path / "flamegraph.svg").exists()
    assert json.loads((tmp_path / "profile.json").read_text())["flame"] is None


def test_the_time_of_each_thread_is_read() -> None:
    # In a process of its own, since what threads had that have ended is in none of these numbers.
    code = """if True:
        import os, time
        from bench.machine import read_thread_times
        while time.process_time() < 0.5:
            pass
        times = {n: t.total_s for n, t in read_thread_times(os.getpid()).items()}
        print(times[os.getpid()], sum(times.values()), sum(os.times()[:2]))
    """
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    main_s, all_s, process_s = map(float, told.stdout.split())
    assert main_s >= 0.4
    assert all_s == pytest.approx(process_s, abs=0.1)
