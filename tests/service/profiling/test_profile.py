"""Profiles: samples become time, and a picture shows what has any of it."""

from collections import Counter

from ledgercore.service.profiling.profile import Measure, Profile, Row, make_cpu_profile
from ledgercore.service.profiling.stacks import Frame, Kind, Stacks

F, G = (Frame(name, "service/x.py", Kind.HANDLERS) for name in "fg")


def test_a_sample_is_a_period_of_processor_time() -> None:
    stacks: Stacks = {"a": Counter({(F, G): 3, (F,): 1}), "b": Counter({(G,): 2})}
    profile = make_cpu_profile(stacks, "note", 1.5, 100)
    assert [(row.thread, row.stack, row.values) for row in profile.rows] == [
        ("a", (F, G), (3, 30_000_000)),
        ("a", (F,), (1, 10_000_000)),
        ("b", (G,), (2, 20_000_000)),
    ]
    assert profile.period == 10_000_000
    assert profile.stacks == stacks


def test_a_picture_is_drawn_by_the_measure_that_is_shown() -> None:
    measures = (Measure("inuse_objects", "count"), Measure("inuse_space", "bytes"))
    rows = [Row("a", (F,), (1, 64)), Row("a", (F,), (2, 100)), Row("b", (G,), (3, 0))]
    assert Profile("t", "n", measures, rows, 1).stacks == {"a": {(F,): 164}}
    assert Profile("t", "n", measures, rows, 0).stacks == {"a": {(F,): 3}, "b": {(G,): 3}}
