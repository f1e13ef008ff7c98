"""The formats of a profile: chosen by the query, and each holding the same stacks."""

from collections import Counter
from xml.etree import ElementTree

import pytest

from ledgercore.service.profiling.formats import (
    COLLAPSED,
    PLAIN,
    PPROF,
    SVG,
    TEXT,
    choose_format,
    write_profile,
)
from ledgercore.service.profiling.profile import Measure, Profile, Row, make_cpu_profile
from ledgercore.service.profiling.stacks import Frame, Kind, Stacks
from ledgercore.service.wire.problems import Problem
from tests.support.pprof_reader import PprofFile

PICTURES = (PPROF, SVG, COLLAPSED)


@pytest.mark.parametrize(
    ("parameters", "formats", "wanted"),
    [
        ({}, PICTURES, PPROF),
        ({}, (TEXT, *PICTURES), TEXT),
        ({"format": "svg"}, PICTURES, SVG),
        ({"debug": "0"}, PICTURES, PPROF),
        ({"debug": "1"}, PICTURES, COLLAPSED),
        ({"debug": "2"}, PICTURES, COLLAPSED),
        ({"debug": "1"}, (*PICTURES, TEXT), COLLAPSED),
        ({"debug": "2"}, (*PICTURES, TEXT), TEXT),
    ],
)
def test_a_format_is_chosen(
    parameters: dict[str, str], formats: tuple[str, ...], wanted: str
) -> None:
    assert choose_format(parameters, formats) == wanted


@pytest.mark.parametrize(
    "parameters",
    [
        {"format": "png"},
        {"format": ""},
        {"format": "text"},
        {"debug": "3"},
        {"debug": ""},
        {"debug": "1", "format": "svg"},
    ],
)
def test_what_is_no_format_is_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(Problem) as caught:
        choose_format(parameters, PICTURES)
    assert caught.value.kind.http_status == 400


def frame(name: str, line: int) -> Frame:
    return Frame(name, "service/x.py", Kind.HANDLERS, line)


STACKS: Stacks = {
    "MainThread": Counter({(frame("f", 1),): 3, (frame("f", 2),): 4}),
    **{f"worker-0-{n}": Counter({(frame("g", n),): n}) for n in (1, 2, 3)},
}


def test_stacks_are_collapsed_to_functions() -> None:
    content = write_profile(make_cpu_profile(STACKS, "n", 1, 100), COLLAPSED)
    assert content.content_type == PLAIN
    assert content.body.decode().splitlines() == [
        "MainThread;f (service/x.py) 7",
        *(f"worker-0-{n};g (service/x.py) {n}" for n in (1, 2, 3)),
    ]


def test_pprof_keeps_lines_and_every_thread() -> None:
    content = write_profile(make_cpu_profile(STACKS, "n", 1, 100), PPROF)
    assert content.file_name == "cpu-time.pb.gz"
    read = PprofFile(content.body)
    assert read.threads == {name: seen.total() for name, seen in STACKS.items()}
    assert ("f", "service/x.py", 2) in read.samples[1].stack


def test_a_picture_has_the_busiest_threads() -> None:
    content = write_profile(make_cpu_profile(STACKS, "who <looked>", 2, 100), SVG)
    assert content.content_type == "image/svg+xml"
    root = ElementTree.fromstring(content.body)
    texts = [node.text or "" for node in root.findall(".//{*}text")]
    captions = [text for text in texts if text.startswith("thread ")]
    assert captions == [
        "thread MainThread: 7 samples, 54 %",
        "thread worker-0-3: 3 samples, 23 %",
        "thread worker-0-2: 2 samples, 15 %",
    ]
    assert "who <looked>" in texts
    assert any("13 samples of 4 threads in 2 s" in text for text in texts)


def test_a_picture_of_memory_is_in_bytes() -> None:
    measures = (Measure("inuse_objects", "count"), Measure("inuse_space", "bytes"))
    profile = Profile("Memory", "n", measures, [Row("any", (frame("f", 1),), (2, 1024))], 1)
    root = ElementTree.fromstring(write_profile(profile, SVG).body)
    titles = [node.text for node in root.findall(".//{*}title")]
    assert "f (service/x.py): 100.0 % of the thread, 1024 bytes" in titles


@pytest.mark.parametrize("wanted", PICTURES)
def test_nothing_seen_is_told_in_every_format(wanted: str) -> None:
    content = write_profile(make_cpu_profile({}, "n", 1, 50), wanted)
    if wanted == SVG:
        assert b"nothing was seen" in content.body
    elif wanted == COLLAPSED:
        assert content.body == b""
    else:
        assert PprofFile(content.body).samples == []
