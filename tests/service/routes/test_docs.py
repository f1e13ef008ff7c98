"""The description over HTTP: for everybody, at any time, and kept only as long as it is true."""

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import httpx
import pytest

from ledgercore.service.access.key_ring import Scope
from ledgercore.service.routes.docs import PARTS
from ledgercore.service.routes.documents import POLICY
from ledgercore.service.runtime.lifecycle import State
from tests.support.keyed import make_key
from tests.support.local import PROTOCOLS, LocalServer, local_serving

TYPES = {
    "/openapi.json": "application/json",
    "/docs": "text/html; charset=utf-8",
    "/docs/docs.css": "text/css; charset=utf-8",
    "/docs/docs.js": "text/javascript; charset=utf-8",
    "/docs/docs.svg": "image/svg+xml",
}
FILES = {"/openapi.json": "openapi.json", "/docs": "pages/docs.html"}
FILES |= {f"/docs/{name}": f"pages/{name}" for name in PARTS}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """Serve with a key, so that nobody without one may read the ledger."""
    data = tmp_path_factory.mktemp("docs") / "ledger"
    make_key(data, "root", Scope.ADMIN)
    with local_serving(), LocalServer(data, PROTOCOLS["native"], durability="memory") as server:
        yield server


@pytest.fixture
def client(server: LocalServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url="http://{}:{}".format(*server.address)) as client:
        yield client


@pytest.mark.parametrize("path", FILES)
def test_a_file_is_there_for_everybody(client: httpx.Client, path: str) -> None:
    assert client.get("/accounts").status_code == 401
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.content == files("ledgercore.service").joinpath(FILES[path]).read_bytes()
    assert answer.headers["content-type"] == TYPES[path]
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-cache"
    head = client.head(path)
    assert (head.status_code, head.content) == (200, b"")
    assert drop_trace(head) == drop_trace(answer)


def drop_trace(answer: httpx.Response) -> dict[str, str]:
    """Return the headers but for those that no two answers have in common."""
    own = ("traceparent", "x-request-id")
    return {name: text for name, text in answer.headers.items() if name not in own}


@pytest.mark.parametrize("path", FILES)
def test_who_has_a_file_is_not_sent_it_again(client: httpx.Client, path: str) -> None:
    tag = client.get(path).headers["etag"]
    assert re.fullmatch(r'"[0-9a-f]{32}"', tag)
    for known in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get(path, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["etag"] == tag
    for other in ('"other"', tag.strip('"'), ""):
        assert client.get(path, headers={"If-None-Match": other}).status_code == 200


def test_each_file_has_a_tag_of_its_own(client: httpx.Client) -> None:
    tags = {client.get(path).headers["etag"] for path in FILES}
    assert len(tags) == len(FILES)


@pytest.mark.parametrize("name", ["docs.html", "docs", "nothing", "..%2fopenapi.json", "%2e%2e"])
def test_there_are_no_other_files(client: httpx.Client, name: str) -> None:
    answer = client.get(f"/docs/{name}")
    assert answer.status_code == 404
    assert answer.json()["type"] == "urn:ledgercore:problem:not-found"


def test_it_is_there_while_the_ledger_is_not(server: LocalServer, client: httpx.Client) -> None:
    life = server.lifecycle
    life._enter(State.OPENING)
    try:
        assert client.get("/readyz").status_code == 503
        assert {client.get(path).status_code for path in FILES} == {200}
    finally:
        life._enter(State.READY)


def test_the_page_loads_only_what_is_here(client: httpx.Client) -> None:
    page = client.get("/docs").text
    loaded = set(re.findall(r'(?:src|href)="([^"]*)"', page))
    assert loaded - {"/"} <= FILES.keys()
    assert "<noscript>" in page and 'href="/openapi.json"' in page.split("<noscript>")[1]
    # The policy would stop both, and the page would be without them.
    assert not re.search(r"<style|<script>|\sstyle=|\son\w+=", page)
    for path in FILES:
        text = client.get(path).text.replace("http://www.w3.org/2000/svg", "")
        assert path == "/openapi.json" or not re.search(r"https?:|\burl\(|@import|innerHTML", text)


def test_the_description_is_json(client: httpx.Client) -> None:
    assert json.loads(client.get("/openapi.json").content)["info"]["title"] == "ledgercore"


def test_files_are_on_a_screen_or_nearly() -> None:
    for path in Path(str(files("ledgercore.service"))).glob("pages/docs.*"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 400, path.name
        assert max(map(len, lines)) <= 100, path.name
