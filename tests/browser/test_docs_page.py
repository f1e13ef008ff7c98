"""The page of /docs in a real browser: no error in its console, and all that is described.

Its lines for a shell are run as they stand there.
"""

import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import NamedTuple

import pytest

from ledgercore.service.access.key_ring import Scope
from tests.service.test_openapi_examples import FLAGS
from tests.support.chromium import NAME, needs_chromium
from tests.support.keyed import make_key
from tests.support.openapi import COMPONENTS, DOCUMENT, EXAMPLES, OPERATIONS, Operation
from tests.support.servers import Server
from tests.support.waiting import DEADLINE_S

STREAM_S = 2

pytestmark = needs_chromium


class Page(NamedTuple):
    """A page as a browser shows it."""

    url: str
    token: str
    markup: str
    console: list[str]

    @property
    def ids(self) -> set[str]:
        return set(re.findall(r'\sid="([^"]*)"', self.markup))


def browse(url: str, profile: Path) -> tuple[str, list[str]]:
    """Return the markup of a page once its script has run, and the lines of its console."""
    command = [NAME, "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}"]
    options = ["--enable-logging=stderr", "--virtual-time-budget=10000", "--dump-dom", url]
    run = subprocess.run(
        [*command, *options], capture_output=True, text=True, timeout=DEADLINE_S, check=True
    )
    return run.stdout, [line for line in run.stderr.splitlines() if "CONSOLE" in line]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """Show the page of a server with which nobody has spoken yet."""
    data = tmp_path_factory.mktemp("page") / "ledger"
    token = make_key(data, "root", Scope.ADMIN).token
    with Server(data, *FLAGS) as server:
        markup, console = browse(f"{server.url}/docs", data.parent / "profile")
        yield Page(server.url, token, markup, console)


def test_it_loads_without_an_error(page: Page) -> None:
    assert page.console == []
    assert "aria-busy" not in page.markup
    assert "<h1>" in page.markup


def test_an_error_would_be_seen(tmp_path: Path) -> None:
    wrong = "data:text/html,<p>shown<script>missing()</script>"
    markup, console = browse(wrong, tmp_path / "profile")
    assert "<p>shown" in markup
    assert len(console) == 1 and "missing is not defined" in console[0]


def test_every_operation_is_shown(page: Page) -> None:
    wanted = {operation.described["operationId"] for operation in OPERATIONS}
    assert wanted - page.ids == set()
    assert {f"tag-{tag['name']}" for tag in DOCUMENT["tags"]} - page.ids == set()


def test_every_component_is_shown(page: Page) -> None:
    wanted = {f"problem-{name}" for name in COMPONENTS["examples"]}
    wanted |= {f"schema-{name}" for name in COMPONENTS["schemas"]}
    wanted |= {f"header-{name}" for name in COMPONENTS["headers"]}
    assert wanted - page.ids == set()


def test_links_within_the_page_lead_somewhere(page: Page) -> None:
    links = set(re.findall(r'href="#([^"]*)"', page.markup))
    assert len(links) > 100
    assert links - page.ids == set()


def test_large_numbers_are_shown_as_they_are(page: Page) -> None:
    assert str(2**63 - 1) in page.markup
    assert "9223372036854776000" not in page.markup


# -- the lines for a shell -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lines(page: Page) -> dict[str, str]:
    """Return every line for a shell, by its operation and example, from the top of the page."""
    found = re.findall(r'<pre class="curl" data-of="([^"]*)">(.*?)</pre>', page.markup, re.S)
    return {name: unescape(text) for name, text in found}


SHOWN = [(operation, example) for operation, example in EXAMPLES if operation.method != "head"]


def name_of(operation: Operation, example: str) -> str:
    return f"{operation.described['operationId']} {example}"


def test_every_example_is_a_line(lines: dict[str, str]) -> None:
    assert list(lines) == [name_of(*shown) for shown in sort_as_shown()]


def sort_as_shown() -> list[tuple[Operation, str]]:
    """Return the examples by their tags, as the page has them."""
    tags = [tag["name"] for tag in DOCUMENT["tags"]]
    return sorted(SHOWN, key=lambda shown: tags.index(shown[0].described["tags"][0]))


@pytest.fixture(scope="module")
def statuses(
    page: Page, lines: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Run each line in the order of the page, with a key, and return the statuses."""
    directory = tmp_path_factory.mktemp("shell")
    function = 'curl() { command curl -s -w "\\n%{http_code}" -H "X-API-Key: $TOKEN" "$@" $LIMIT; }'
    found = {}
    for name, line in lines.items():
        # A stream has no end of its own; the status is told all the same.
        limit = f"-m {STREAM_S}" if "--no-buffer" in line else ""
        run = subprocess.run(
            ["bash", "-c", f"{function}\n{line}"],
            cwd=directory,
            env={"TOKEN": page.token, "LIMIT": limit, "PATH": "/usr/bin:/bin"},
            capture_output=True,
            timeout=DEADLINE_S,
        )
        found[name] = run.stdout.decode(errors="replace").rsplit("\n", 1)[-1]
    return found


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
@pytest.mark.parametrize(("operation", "example"), SHOWN, ids=str)
def test_a_line_does_in_a_shell_what_it_says(
    statuses: dict[str, str], operation: Operation, example: str
) -> None:
    assert statuses[name_of(operation, example)] == operation.find_answer(example)[0]
