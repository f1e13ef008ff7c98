"""Which lines have run: counts of generated C, told by the lines of Cython, C and Python."""

import json
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from tests.support.native_coverage import (
    add_counts,
    find_origins,
    format_figures,
    format_gaps,
    join_ranges,
    main,
)

GENERATED = """\
static int helper(void) {
  return 0;
}

/* "ledgercore/ledger.pyx":7
 *
 * cdef int judge():             # <<<<<<<<<<<<<<
 */
static int judge(int amount) {

  /* "ledgercore/ledger.pyx":8
 *     if amount < 0:             # <<<<<<<<<<<<<<
 */
  if (amount < 0) {

    /* "ledgercore/ledger.pyx":9
 *         return 1             # <<<<<<<<<<<<<<
 */
    return 1;
  }

  /* "ledgercore/ledger.pyx":10
 *     return 0             # <<<<<<<<<<<<<<
 */
  return 0;
}
static int slots(void) {
  return 0;
}
int main(void) { return judge(5) + (0 ? slots() + helper() : 0); }
"""


def test_what_a_line_became_leads_back_to_it_and_what_cython_adds_to_none() -> None:
    origins = find_origins(GENERATED)
    lines = GENERATED.splitlines()
    assert {origins[n + 1] for n, line in enumerate(lines) if "return 1" in line} == {
        ("ledgercore/ledger.pyx", 9)
    }
    added = [n for n, line in enumerate(lines, 1) if line.startswith(("static int helper", "}"))]
    assert len(added) == 4 and not set(added) & origins.keys()
    assert {line for _, line in origins.values()} == {7, 8, 9, 10}


def test_counts_of_several_objects_add_up_and_libraries_are_left_out(tmp_path: Path) -> None:
    counts = defaultdict[str, dict[int, int]](dict)
    for times in (0, 3):
        lines = [{"line_number": 4, "count": times}, {"line_number": 5, "count": 0}]
        files = [{"file": name, "lines": lines} for name in ("src/a.h", "/usr/include/b.h")]
        add_counts(counts, {"files": files}, tmp_path)
    assert counts == {"src/a.h": {4: 3, 5: 0}}
    assert list(format_figures(counts)) == ["C         50.0%  1 of 2 lines"]
    assert list(format_gaps(counts)) == ["  50.0%  src/a.h  5"]


def test_lines_beside_each_other_are_one_range() -> None:
    assert list(join_ranges([3, 5, 6, 7, 9])) == ["3", "5-7", "9"]
    assert list(join_ranges([])) == []


@pytest.mark.skipif(not shutil.which("gcov"), reason="there is no gcov")
def test_what_ran_is_told_for_each_language(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("build").mkdir()
    Path("build/ledger.c").write_text(GENERATED)
    subprocess.run(["gcc", "--coverage", "-O0", "-o", "build/a", "build/ledger.c"], check=True)
    subprocess.run(["build/a"], check=True)
    python = {"files": {"ledgercore/a.py": {"executed_lines": [1, 2, 4], "missing_lines": [3]}}}
    Path("python.json").write_text(json.dumps(python))
    main("build", "python.json")
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == ["Python    75.0%  3 of 4 lines", "Cython    75.0%  3 of 4 lines"]
    assert "ledgercore/ledger.pyx  9\n" in Path("build/lines.txt").read_text()
