"""A server under a path of a proxy, real ones that take the path off and ones that leave it."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from ledgercore.client import LedgerClient
from ledgercore.client.signing import HEADER, sign
from ledgercore.service.access.key_ring import NewKey, Scope
from ledgercore.service.settings import InvalidSetting, Settings
from ledgercore.service.wire.base_path import has_base, put_on_document, put_on_reply, take_off
from tests.support.chromium import Browser, needs_chromium
from tests.support.keyed import make_key
from tests.support.prefix_proxy import PrefixProxy
from tests.support.servers import Server, run_command

PATH = "/money/ledger-1"


@pytest.mark.parametrize(
    ("target", "rest"),
    [
        ("/a/transfer", "/transfer"),
        ("/a/transfer?x=/a/", "/transfer?x=/a/"),
        ("/a/", "/"),
        ("/a", "/"),
        ("/a?x=1", "/?x=1"),
        ("/a/a/x", "/a/x"),
        ("/transfer", "/transfer"),
        ("/ab/transfer", "/ab/transfer"),
        ("/", "/"),
        ("/%61/transfer", "/%61/transfer"),
        ("*", "*"),
    ],
)
def test_a_path_is_taken_off(target: str, rest: str) -> None:
    assert take_off("/a", target.encode()) == rest.encode()
    assert has_base("/a", target.encode()) == (target != rest)
    assert take_off("", target.encode()) == target.encode() and not has_base("", target.encode())


def test_a_path_is_put_on_the_location_of_an_answer_alone() -> None:
    reply = b"HTTP/1.1 201 Created\r\nlocation: /transfers/5\r\n\r\nlocation: /x"
    assert put_on_reply("/a", reply) == reply.replace(b"/transfers/5", b"/a/transfers/5")
    other = b'HTTP/1.1 422 Unprocessable\r\na: b\r\n\r\n{"detail":"location: /x"}'
    assert put_on_reply("/a", other) == other


def test_a_path_is_put_on_what_a_page_loads_and_leads_to() -> None:
    page = b'<a href="/docs">/docs</a><img src="/x.svg"><a href="https://x/">'
    assert put_on_document("/a", page) == (
        b'<a href="/a/docs">/docs</a><img src="/a/x.svg"><a href="https://x/">'
    )


@pytest.mark.parametrize("path", ["/", "a", "/a/", "//a", "/a//b", "/a b", "/a?b", "/..", "/a/./b"])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(InvalidSetting, match="--base-path"):
        Settings(base_path=path)


@pytest.mark.parametrize("path", ["/a", "/a/b-c.d_e~f", "/...", "/.well-known"])
def test_what_is_a_path(path: str) -> None:
    assert Settings(base_path=path).base_path == path


@pytest.mark.parametrize("flags", [(), ("--allow-open",)])
def test_behind_a_proxy_keys_are_required(tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = run_command("serve", "--port=0", f"--data={tmp_path / 'l'}", "--base-path=/a", *flags)
    (line,) = done.stderr.splitlines()
    assert (
        done.returncode == 2 and line.startswith("Error: --base-path: ") and "keys create" in line
    )
    assert not (tmp_path / "l").exists()


# -- through a real proxy -------------------------------------------------------------------------


class Scene(NamedTuple):
    """A server, a proxy before it, and its keys."""

    server: Server
    proxy: PrefixProxy
    admin: NewKey
    signed: NewKey
    client: httpx.Client

    def send(self, method: str, target: str, json: object = None) -> httpx.Response:
        """Ask the proxy for what a client names by its whole path."""
        headers = {"Authorization": f"Bearer {self.admin.token}"}
        return self.client.request(method, self.proxy.origin + target, headers=headers, json=json)


@pytest.fixture(scope="module", params=[True, False], ids=["stripping", "as-it-is"])
def scene(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    data = tmp_path_factory.mktemp("base") / "ledger"
    admin = make_key(data, "root", Scope.ADMIN)
    signed = make_key(data, "sig", Scope.ADMIN, is_signed=True)
    with (
        Server(data, "--demo-accounts=3", f"--base-path={PATH}") as server,
        PrefixProxy(server.url, PATH, strips=request.param) as proxy,
        httpx.Client() as client,
    ):
        yield Scene(server, proxy, admin, signed, client)
        assert server.stop() == 0


def test_what_was_made_is_found_where_the_answer_says(scene: Scene) -> None:
    transfer = {"from": "acct-0", "to": "acct-1", "amount": 1, "idempotency_key": "k-1"}
    key = {"Authorization": f"Bearer {scene.admin.token}"}
    native = transfer | {"idempotency_key": "k-2"}
    made = [
        scene.send("POST", f"{PATH}/transfer", json=transfer),
        # By a proxy that adds no header, so that it goes the native way.
        httpx.post(f"{scene.server.url}/transfer", json=native, headers=key),
        scene.send("POST", f"{PATH}/accounts", json={"id": "a:b", "asset": "USD/2"}),
        scene.send("POST", f"{PATH}/admin/keys", json={"name": "new", "scope": "read"}),
    ]
    for answer in made:
        assert answer.status_code == 201, answer.text
        assert answer.headers["location"].startswith(f"{PATH}/")
    for answer in made[:3]:
        assert scene.send("GET", answer.headers["location"]).status_code == 200


def test_without_the_proxy_both_paths_lead_there(scene: Scene) -> None:
    headers = {"Authorization": f"Bearer {scene.admin.token}"}
    for path in ("", PATH):
        for target in ("/healthz", "/accounts/acct-0", "/accounts?limit=1"):
            answer = httpx.get(scene.server.url + path + target, headers=headers)
            assert answer.status_code == 200, (path, target)
    url = httpx.URL(scene.server.url)
    lines = "Host: localhost\r\nConnection: close\r\n"
    with socket.create_connection((url.host, url.port or 0)) as connection:
        # As if to a proxy (RFC 9112, 3.2.2).
        connection.sendall(f"GET http://localhost{PATH}/healthz HTTP/1.1\r\n{lines}\r\n".encode())
        assert connection.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    for target in (f"{PATH}x/healthz", f"{PATH}{PATH}/healthz", "/money/healthz"):
        assert httpx.get(scene.server.url + target).status_code == 404


def test_what_a_client_signs_is_the_path_that_it_asked(scene: Scene) -> None:
    token, secret = scene.signed.token, scene.signed.secret
    with LedgerClient(scene.proxy.url, key=token, secret=secret) as client:
        result = client.transfer("acct-0", "acct-1", 5)
        assert result.is_applied
        assert client.account("acct-0").id == "acct-0"
    # And one that goes to the server itself signs what it asks there.
    with LedgerClient(scene.server.url, key=token, secret=secret) as client:
        assert client.account("acct-0").id == "acct-0"
    with LedgerClient(scene.server.url + PATH, key=token, secret=secret) as client:
        assert client.account("acct-0").id == "acct-0"


def test_a_signature_is_good_for_no_other_target(scene: Scene) -> None:
    assert scene.signed.secret is not None
    for number, (asked, signed, is_good) in enumerate(
        [
            ("/accounts/acct-0", "/accounts/acct-0", True),
            ("/accounts/acct-0", f"{PATH}/accounts/acct-0", True),
            (f"{PATH}/accounts/acct-0", f"{PATH}/accounts/acct-0", True),
            (f"{PATH}/accounts/acct-0", "/accounts/acct-0", False),
            ("/accounts/acct-0", "/accounts/acct-1", False),
            ("/accounts/acct-0", f"{PATH}{PATH}/accounts/acct-0", False),
            ("/accounts/acct-0", f"{PATH}x/accounts/acct-0", False),
        ]
    ):
        header = sign(
            scene.signed.secret, "GET", signed, b"", timestamp=int(time.time()), nonce=f"n-{number}"
        )
        headers = {"Authorization": f"Bearer {scene.signed.token}", HEADER: header}
        status = httpx.get(scene.server.url + asked, headers=headers).status_code
        assert status == (200 if is_good else 401), (asked, signed)
        # Once is once, by whichever of the paths.
        if is_good:
            for path in (asked, asked.removeprefix(PATH)):
                again = httpx.get(scene.server.url + path, headers=headers)
                assert again.status_code == 401


@pytest.mark.parametrize("page", ["/", "/docs", "/debug/pprof/", "/debug/pprof"])
def test_what_a_page_names_is_below_the_path(scene: Scene, page: str) -> None:
    answer = scene.send("GET", PATH + page)
    assert answer.status_code == 200
    links = re.findall(r'(?:href|src)="([^"]*)"', answer.text)
    assert links
    for link in links:
        target = httpx.URL(f"{scene.proxy.origin}{PATH}{page}").join(link)
        assert target.path == PATH + "/" or target.path.startswith(f"{PATH}/"), link
        if "seconds" not in link and "profile" not in link:
            assert scene.send("GET", target.raw_path.decode()).status_code == 200, link


def test_a_page_is_kept_by_its_own_tag(scene: Scene) -> None:
    tag = scene.send("GET", f"{PATH}/docs").headers["etag"]
    known = httpx.get(f"{scene.proxy.url}/docs", headers={"If-None-Match": tag})
    assert (known.status_code, known.headers["etag"]) == (304, tag)


def test_the_description_says_where_the_server_is(scene: Scene) -> None:
    told = json.loads(scene.send("GET", f"{PATH}/openapi.json").text)
    (server,) = told["servers"]
    assert server["url"] == f"{PATH}/"


@needs_chromium
def test_the_pages_work_in_a_browser(scene: Scene, tmp_path: Path) -> None:
    with Browser(tmp_path) as browser:
        page = browser.open_page()
        page.open(f"{scene.proxy.url}/")
        page.wait("document.getElementById('key')?.open")
        page.evaluate("document.getElementById('key-text').focus()")
        page.type(scene.admin.token)
        page.press("Enter")
        page.wait("document.getElementById('state').dataset.kind === 'live'")
        page.wait("document.getElementById('audit-verdict').dataset.kind === 'ok'")
        page.open(f"{scene.proxy.url}/docs")
        page.wait("document.querySelectorAll('.operation').length > 10")
        line = f"{scene.proxy.url}/transfer"
        page.wait(f"document.body.textContent.includes({json.dumps(line)})")
        assert [fault for fault in page.faults if "401" not in fault] == []
