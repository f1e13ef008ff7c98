"""Every page in a real Chromium, on a desk and on a phone: whole, and alone with its server."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chromium import Browser, needs_chromium
from tests.support.local import PROTOCOLS, LocalServer, local_serving

pytestmark = needs_chromium

# Each page, and what is there once it is whole.
PAGES = {
    "/": "document.querySelector('.u-over') !== null"
    " && document.getElementById('audit-verdict').dataset.kind === 'ok'",
    "/docs": "document.querySelectorAll('.operation').length > 10",
    "/debug/pprof/": "document.querySelectorAll('a').length > 5",
}
FITS = "document.scrollingElement.scrollWidth <= innerWidth"
GROUND = "getComputedStyle(document.body).backgroundColor.match(/[0-9]+/g).map(Number)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data = tmp_path_factory.mktemp("pages") / "ledger"
    with local_serving(), LocalServer(data, PROTOCOLS["native"]) as server:
        yield "http://{}:{}".format(*server.address)


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "is_phone"), [(1280, False), (360, True)])
def test_a_page_fits_and_asks_nobody_else(
    browser: Browser, url: str, path: str, scheme: str, width: int, is_phone: bool
) -> None:
    page = browser.open_page()
    page.resize(width, 800, is_phone=is_phone)
    page.prefer(scheme)
    page.open(url + path)
    page.wait(PAGES[path])
    assert page.evaluate(FITS)
    assert (min(page.evaluate(GROUND)) > 200) == (scheme == "light")
    assert page.requests and page.faults == []
    assert [target for target in page.requests if not target.startswith(f"{url}/")] == []


def test_what_another_host_is_asked_for_would_be_seen(browser: Browser, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign.html"
    foreign.write_text('<img src="http://127.0.0.1:9/x.png">')
    page = browser.open_page()
    page.open(foreign.as_uri())
    wanted = [foreign.as_uri(), "http://127.0.0.1:9/x.png"]
    assert page.requests == wanted
