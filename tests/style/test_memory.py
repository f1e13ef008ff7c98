"""The rules of memory at work: on every source, and each on an offence of its own."""

from collections.abc import Callable, Iterator

import pytest

from tests.style.memory import PRIVATE, engine_is_closed, privates_are_private, reads
from tests.style.sources import Source, complain, read_project

RULES = [privates_are_private, engine_is_closed]


@pytest.fixture(scope="module")
def project() -> list[Source]:
    """Read every source of the project."""
    return read_project()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_each_file(project: list[Source], rule: Callable[[Source], Iterator[str]]) -> None:
    complain([f"{source.path} {fault}" for source in project for fault in rule(source)])


def test_each_exception_is_needed(project: list[Source]) -> None:
    found = {f"{source.path}:{read.name}" for source in project for read in reads(source)}
    assert PRIVATE.keys() - found == set()


# -- the rules, each with something that it must catch --------------------------------------------
BROKEN = [
    (privates_are_private, "service/a.py", "engine._ledger", "reads engine._ledger"),
    (privates_are_private, "service/a.py", "self.engine._executor.x()", "reads self.engine._exec"),
    (privates_are_private, "service/a.py", "self.of()[0]._a = 1", "reads self.of()[0]._a"),
    (privates_are_private, "service/a.py", "f'{engine._ledger}'", "reads engine._ledger"),
    (privates_are_private, "service/a.py", "getattr(engine, '_ledger')", "reads engine._ledger"),
    (privates_are_private, "bench/a.py", "lifecycle.engine._executor", "reads lifecycle.engine._"),
    (privates_are_private, "service/a.pyx", "x = self.engine._ledger", "reads self.engine._ledge"),
    (privates_are_private, "service/a.pyx", "x = found(a)._ledger", "reads"),
    (engine_is_closed, "service/a.py", "submission.ledger", "reads submission.ledger"),
    (engine_is_closed, "bench/a.py", "engine.ids[0]", "reads engine.ids"),
    (engine_is_closed, "bench/a.py", "engine.account[0]", "reads engine.account"),
    (engine_is_closed, "service/a.py", "attrgetter('balances_view')", "reads"),
    (engine_is_closed, "service/a.pyx", "x = submission.ledger.ids + 1", "reads submission.ledger"),
    (engine_is_closed, "service/a.pyx", "x = a.ledger.account[slot].id", "reads a.ledger.account"),
    (engine_is_closed, "service/a.pyx", "x = ledger.balance[slot]", "reads ledger.balance"),
    (engine_is_closed, "service/a.pyx", "half = submission.engine_half", "reads submission.engin"),
    (engine_is_closed, "service/a.pyx", "x = submission.data.text + 1", "reads submission.data.t"),
    (engine_is_closed, "service/a.pyx", "x = self.batch.submission.data.owner", "reads self.batc"),
    (engine_is_closed, "service/a.pyx", "take(&submission.data)", "reads submission.data"),
    (engine_is_closed, "service/a.pyx", "x = (<A> submission.data)", "reads submission.data"),
    (engine_is_closed, "service/a.pyx", "cdef Submission a = b\nc = a.secret", "reads a.secret"),
    (engine_is_closed, "service/a.pxd", "cdef inline int f(a): return a.ledger.x", "reads a.ledg"),
]


@pytest.mark.parametrize(("rule", "path", "text", "fault"), BROKEN)
def test_a_rule_can_fail(
    rule: Callable[[Source], Iterator[str]], path: str, text: str, fault: str
) -> None:
    assert any(found.startswith(fault) for found in rule(Source(path, text)))


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("service/a.py", "self._engine.account('a')\ncls._known\na.__class__\n'a.ledger'  # b.ids"),
        ("service/a.py", "settings.data.x"),
        ("service/a.pyx", '"""Not a.ledger."""\nfrom ledgercore._c cimport *\nself._a  # b.ids'),
        ("service/a.pyx", "x = &submission.data.outcomes[row]\nn = submission.data.count"),
        ("service/a.pyx", "if submission.data.count >= submission.count_max:"),
        ("service/a.pyx", "x = submission.data.records[row].amount\nsubmission.source(row)"),
        ("ledgercore/a.pyx", "self.ledger.ids\nsubmission.data.text\nengine._ledger"),
    ],
)
def test_what_is_right_passes(path: str, text: str) -> None:
    assert [fault for rule in RULES for fault in rule(Source(path, text))] == []
