"""Pages of other origins in a real Chromium: whatever they try, nothing changes in a ledger."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.support.chromium import STRANGE_NAME, Browser, Page, needs_chromium
from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.waiting import wait_until

pytestmark = needs_chromium

TRANSFER = {"from": "acct-0", "to": "acct-1", "amount": 1}
# Each changes something of a server that looks at nothing but the body.
CHANGES: dict[str, Any] = {
    "/transfer": TRANSFER | {"idempotency_key": "stolen"},
    "/transfers": [TRANSFER | {"idempotency_key": "stolen-too"}],
    "/accounts": {"id": "thief", "asset": "USD/2"},
    "/admin/keys": {"name": "thief", "scope": "admin"},
}
# What a page can do without being allowed to, as JavaScript of `url` and `body`.
ATTEMPTS = {
    "a blob": "fetch(url, {method: 'POST', mode: 'no-cors', body: new Blob([body])})",
    "a blob of JSON": "fetch(url, {method: 'POST', mode: 'no-cors',"
    " body: new Blob([body], {type: 'application/json'})})",
    "a text": "fetch(url, {method: 'POST', mode: 'no-cors', body})",
    "a text with cookies": "fetch(url, {method: 'POST', mode: 'no-cors', body,"
    " credentials: 'include'})",
    "bytes": "fetch(url, {method: 'POST', mode: 'no-cors', body: new TextEncoder().encode(body)})",
    "JSON": "fetch(url, {method: 'POST', body, headers: {'Content-Type': 'application/json'}})",
    "JSON with a key": "fetch(url, {method: 'POST', body, headers:"
    " {'Content-Type': 'application/json', 'Idempotency-Key': 'stolen'}})",
    "no referrer": "fetch(url, {method: 'POST', mode: 'no-cors', body: new Blob([body]),"
    " referrerPolicy: 'no-referrer'})",
    "keepalive": "fetch(url, {method: 'POST', mode: 'no-cors', body: new Blob([body]),"
    " keepalive: true})",
    "a beacon": "(navigator.sendBeacon(url, new Blob([body])), Promise.resolve())",
    "a beacon of JSON": "(navigator.sendBeacon(url, new Blob([body], {type: 'application/json'})),"
    " Promise.resolve())",
    "XMLHttpRequest": "new Promise((end) => {const x = new XMLHttpRequest(); x.onloadend = end;"
    " x.open('POST', url); x.send(new Blob([body]))})",
}
# A form whose text is the body, but for a sign that JSON can hold in a string.
FORM = """
(url, body) => new Promise((end) => {
  const frame = document.createElement('iframe');
  frame.name = 'frame-' + Math.random();
  const form = document.createElement('form');
  form.method = 'POST'; form.action = url; form.enctype = 'text/plain'; form.target = frame.name;
  const input = document.createElement('input');
  input.name = body.slice(0, -1) + ', "memo": "'; input.value = '"}';
  form.append(input); document.body.append(frame, form);
  frame.onload = end; frame.onerror = end;
  form.submit();
  setTimeout(end, 2000);
})
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    options = {"demo_accounts": 2, "durability": "memory"}
    data = tmp_path_factory.mktemp("foreign")
    with local_serving(), LocalServer(data / "l", PROTOCOLS["native"], **options) as server:
        yield server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[str]:
    """Serve an empty page of another origin: another port of this machine."""

    class Empty(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(b"<!doctype html><title>elsewhere</title><body>")

        def log_message(self, *_: Any) -> None:
            """Tell nobody."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Empty) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}/"
        http.shutdown()
        thread.join()


def url_of(server: LocalServer, host: str = "127.0.0.1") -> str:
    return f"http://{host}:{server.address[1]}"


def try_it(page: Page, script: str, url: str, body: Any) -> None:
    """Run a script with `url` and `body`, and wait for its end, whatever that is."""
    given = f"const url = {json.dumps(url)}, body = {json.dumps(json.dumps(body))};"
    page.evaluate(f"(() => {{{given} return {script}.then(() => 0, () => 0)}})()")


def count_refused(server: LocalServer) -> int:
    answers = server.lifecycle.meters.read_answers()
    return sum(count for (_, status, _), count in answers.items() if 400 <= status < 500)


def check_unchanged(server: LocalServer, lsn: int) -> None:
    assert server.lsn == lsn
    assert server.lifecycle.admission.is_open
    for key in ("stolen", "stolen-too"):
        assert server.get(f"/idempotency-keys/{key}")["state"] == "unseen"


@pytest.mark.parametrize("target", CHANGES)
@pytest.mark.parametrize("name", ATTEMPTS)
def test_a_page_of_another_port_changes_nothing(
    browser: Browser, server: LocalServer, elsewhere: str, name: str, target: str
) -> None:
    page, lsn = browser.open_page(), server.lsn
    page.open(elsewhere)
    before = count_refused(server)
    for host in ("127.0.0.1", "localhost"):  # The same site, and another one.
        try_it(page, ATTEMPTS[name], url_of(server, host) + target, CHANGES[target])
    if "JSON" not in name:
        # For those it asks first, whether it may, and is not told that it may.
        wait_until(lambda: count_refused(server) >= before + 2, "it to be refused")
    check_unchanged(server, lsn)


@pytest.mark.parametrize("target", ["/transfer", "/accounts", "/admin/keys"])
def test_a_form_of_another_page_changes_nothing(
    browser: Browser, server: LocalServer, elsewhere: str, target: str
) -> None:
    page, lsn = browser.open_page(), server.lsn
    page.open(elsewhere)
    before = count_refused(server)
    try_it(page, f"({FORM})(url, body)", url_of(server) + target, CHANGES[target])
    wait_until(lambda: count_refused(server) > before, "it to be refused")
    check_unchanged(server, lsn)


def test_a_name_that_comes_to_mean_this_machine_is_not_answered(
    browser: Browser, server: LocalServer
) -> None:
    """DNS rebinding: the page is of our own origin then, and no browser would stop it."""
    page, lsn = browser.open_page(), server.lsn
    page.open(url_of(server, STRANGE_NAME))
    assert "misdirected-request" in page.evaluate("document.body.innerText")
    for target, body in CHANGES.items():
        script = (
            "fetch(url, {method: 'POST', body, headers: {'Content-Type': 'application/json'}})"
            ".then((answer) => {window.status_told = answer.status})"
        )
        try_it(page, script, url_of(server, STRANGE_NAME) + target, body)
        assert page.evaluate("window.status_told") == 421
    told = page.evaluate("fetch('/accounts').then((answer) => answer.text())")
    assert "acct-0" not in told
    check_unchanged(server, lsn)


def test_our_own_page_may_ask(browser: Browser, server: LocalServer) -> None:
    """What is refused above is fine from here."""
    page, lsn = browser.open_page(), server.lsn
    for host in ("127.0.0.1", "localhost"):
        page.open(url_of(server, host))
        page.wait("document.getElementById('state')?.dataset.kind === 'live'")
        script = (
            "fetch(url, {method: 'POST', body, headers: {'Content-Type': 'application/json'}})"
            ".then((answer) => {window.status_told = answer.status})"
        )
        body = TRANSFER | {"idempotency_key": f"ours-{host}"}
        try_it(page, script, "/transfer", body)
        assert page.evaluate("window.status_told") == 201
        assert page.faults == []
    assert server.lsn == lsn + 2
