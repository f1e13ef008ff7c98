"""The written pages: what they link to, and which files they name, is there."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.style.imports import FLOORS
from tests.support.servers import ROOT

PAGES = [
    path.relative_to(ROOT).as_posix()
    for folder in (".", "docs", "docs/monitoring", "tests")
    for path in sorted((ROOT / folder).glob("*.md"))
]
# Tells of versions whose files are no longer there.
OF_THE_PAST = {"CHANGELOG.md"}
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```.*?^```$", re.M | re.S)
FOLDERS = "src|ledgercore|service|bench|docs|tests|.ci|.github"
# In backticks or in a command: a path below one of our folders, or a file beside them.
NAMED = re.compile(
    rf"(?<![\w./:~-])((?:{FOLDERS})/[\w./*-]*|[\w.-]+\.(?:md|toml|py|pyx|pxd|h|sh|in|yml))(?![\w/])"
)


def read(page: str) -> str:
    return (ROOT / page).read_text()


def anchors(text: str) -> set[str]:
    """Return the names of the headings of a page, as GitHub makes them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", BLOCK.sub("", text), re.M):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        times = sum(1 for one in found if re.fullmatch(rf"{re.escape(name)}(-\d+)?", one))
        found.add(f"{name}-{times}" if times else name)
    return found


def dead_links(page: str, text: str) -> Iterator[str]:
    """Yield the links of a page that lead to no file, or to no heading of it."""
    # A link has a span of code in its text at times, so only what it leads to is looked at.
    for target in LINK.findall(BLOCK.sub("", text)):
        if re.match(r"\w+:", target):
            continue
        name, _, anchor = unquote(target).partition("#")
        file = (ROOT / page).parent / name if name else ROOT / page
        if not file.exists():
            yield f"{page} links to {target}, which is not there"
        elif anchor and anchor not in anchors(text if not name else file.read_text()):
            yield f"{page} links to {target}, which is no heading"


def missing_files(page: str, text: str) -> Iterator[str]:
    """Yield the paths that a page names and that are not in the project."""
    spans = [*re.findall(r"`([^`\n]+)`", BLOCK.sub("", text)), *BLOCK.findall(text)]
    spans += re.findall(r"^ {4}\S.*$", text, re.M)
    for span in spans:
        for name in NAMED.findall(span):
            folders = (ROOT, (ROOT / page).parent)
            if not any(found for folder in folders for found in folder.glob(name.rstrip("/."))):
                yield f"{page} names {name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_somewhere(page: str) -> None:
    assert list(dead_links(page, read(page))) == []


@pytest.mark.parametrize("page", [page for page in PAGES if page not in OF_THE_PAST])
def test_every_file_that_is_named_is_there(page: str) -> None:
    assert list(missing_files(page, read(page))) == []


SESSIONS = [
    (page, block)
    for page in PAGES
    for block in re.findall(r"^```python\n(.*?)^```$", read(page), re.M | re.S)
    if "ledgercore.open(" in block
]


@pytest.mark.parametrize(("page", "block"), SESSIONS, ids=[page for page, _ in SESSIONS])
def test_a_session_in_python_prints_what_its_comments_say(
    page: str, block: str, tmp_path: Path
) -> None:
    run = subprocess.run(
        [sys.executable, "-c", block],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.splitlines() == re.findall(r"^ *print\(.*\)  # (.*)$", block, re.M)


def test_every_page_of_docs_is_reached_from_the_readme() -> None:
    reached, found = set(), {"README.md"}
    while found:
        page = found.pop()
        reached.add(page)
        for target in LINK.findall(BLOCK.sub("", read(page))):
            file = ((ROOT / page).parent / target.partition("#")[0]).resolve()
            if file.suffix == ".md" and file.is_relative_to(ROOT):
                found |= {file.relative_to(ROOT).as_posix()} - reached
    assert set(PAGES) <= reached


def test_the_figures_of_the_readme_stand_in_the_benchmarks_with_their_commands() -> None:
    table = read("README.md").partition("## How fast")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!what|---)(.+) \| (.+) \| (.+) \|$", table, re.M)
    number = re.compile(r"\d[\d,.]*\d|\d")
    page = read("docs/benchmarks.md")
    assert len(rows) >= 5
    for _, figure, command in rows:
        assert command.strip("`") in page
        assert set(number.findall(figure)) <= set(number.findall(page)), figure


def test_the_architecture_tells_the_folders_of_the_service_from_the_highest_floor_down() -> None:
    floor_of = {room: n for n, rooms in enumerate(FLOORS["service"]) for room in rooms}
    rows = re.findall(r"^\| (`service/.*?) \|", read("docs/architecture.md"), re.M)
    told = [room for row in rows for room in re.findall(r"`service/(\w+)(?:/|\.py)`", row)]
    assert set(told) == floor_of.keys() - {"_c", "__main__"}
    floors = [floor_of[room] for room in told]
    assert floors == sorted(floors)


def test_the_readme_is_two_screens() -> None:
    assert len(read("README.md").splitlines()) <= 120


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[a](nothing.md)", "README.md links to nothing.md, which is not there"),
        ("[a](#nothing)", "README.md links to #nothing, which is no heading"),
        ("[`a`](LICENSE#nothing)", "README.md links to LICENSE#nothing, which is no heading"),
        ("![a](docs/nothing.png)", "README.md links to docs/nothing.png, which is not there"),
    ],
)
def test_a_dead_link_is_found(text: str, fault: str) -> None:
    assert list(dead_links("README.md", text)) == [fault]


def test_a_living_link_is_none() -> None:
    text = (
        "# A `b`, c\n# A b c\n[a](#a-b-c) [a](#a-b-c-1) [a](LICENSE) [a](https://nothing.example)"
    )
    assert list(dead_links("README.md", text)) == []


@pytest.mark.parametrize(
    "text", ["see `src/nothing.h`", "    ls tests/nothing/", "```\ncat docs/nothing.md\n```"]
)
def test_a_missing_file_is_found(text: str) -> None:
    assert len(list(missing_files("README.md", text))) == 1


def test_what_is_named_with_a_star_or_beside_the_page_is_there() -> None:
    text = "`src/*.h`, `tests/`, `setup.py`, `bench.json`, `GET /docs/x.md`, `https://a/docs/b.md`"
    assert list(missing_files("README.md", text)) == []
    assert list(missing_files("docs/monitoring/README.md", "`alerts.yml`")) == []
