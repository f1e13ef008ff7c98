"""The live page in a real Chromium: it loads, its numbers move, and it says when it is alone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from ledgercore import Audit
from ledgercore.service.access.key_file import create_key
from ledgercore.service.access.key_ring import Scope
from ledgercore.service.monitoring.pulse import SAMPLES_MAX
from ledgercore.service.runtime.lifecycle import State
from tests.support.chromium import Browser, Page, needs_chromium
from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.servers import Server, post_transfer, wait_until

pytestmark = needs_chromium

NUMBER = "[data-plot={}] .figure b"
TRANSFERS = NUMBER.format("throughput")
IS_LIVE = "document.getElementById('state')?.dataset.kind === 'live'"
FITS = "document.scrollingElement.scrollWidth <= innerWidth"
# The line of the answers, which is the first: its last series is drawn first.
# The names of all that is seen of the charts but for their lines, which are empty.
DRAWN = (
    "[...document.querySelectorAll('.plot line, .plot text, .plot circle')]"
    ".filter((part) => part.getClientRects().length > 0).map((part) => part.tagName)"
)
LINE = "(document.querySelector('[data-plot=throughput] .line')?.getAttribute('d') ?? '')"
POINTS = f"{LINE}.split('L').length"
LEFTMOST = f"parseFloat({LINE}.slice(1))"
COUNT_NODES = "document.querySelectorAll('*').length"
TRANSFERS_MAX = 20_000
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@contextmanager
def load(url: str, token: str | None = None) -> Iterator[None]:
    """Ask for transfers until the block ends, and for one thing that is refused among ten."""
    is_over = threading.Event()
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    def ask() -> None:
        with httpx.Client(base_url=url, headers=headers) as client:
            for number in range(TRANSFERS_MAX):
                if is_over.is_set():
                    return
                target = "acct-0" if number % 10 == 0 else "acct-1"
                post_transfer(client, f"load-{number}", "acct-0", target, 1)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()


def read_number(text: str) -> float:
    return float(text.replace(",", ""))


def is_moving(page: Page) -> Callable[[], bool]:
    seen: set[str] = set()

    def is_moving() -> bool:
        seen.add(page.text(TRANSFERS))
        return len(seen) >= 3 and read_number(page.text(TRANSFERS)) > 0

    return is_moving


@pytest.mark.parametrize(("width", "is_phone"), [(1200, False), (390, True)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_move_under_load(
    browser: Browser, tmp_path: Path, width: int, is_phone: bool, scheme: str
) -> None:
    flags = ("--demo-accounts=2", "--segments=2", "--target-p99-ms=50")
    with Server(tmp_path / "ledger", *flags) as server, load(server.url):
        page = browser.open_page()
        page.resize(width, 900, is_phone=is_phone)
        page.prefer(scheme)
        page.open(server.url)
        wait_until(is_moving(page), "numbers that move")
        assert read_number(page.text(NUMBER.format("refusals"))) > 0
        assert page.text(NUMBER.format("latency")).split()[1] in ("µs", "ms", "s")
        lines = "[...document.querySelectorAll('[data-plot=latency] .line')]"
        assert page.evaluate(f"{lines}.every((line) => line.getAttribute('d').includes('L'))")
        page.wait("document.getElementById('audit-verdict').dataset.kind === 'ok'")
        assert page.text("#audit-sums") == "USD/2Σ 0"
        assert page.evaluate("document.querySelectorAll('#segments tr').length") == 2
        assert "50.0 ms" in page.text("#chips")
        assert page.evaluate(FITS)
        page.shoot(tmp_path / "page.png")
        assert (tmp_path / "page.png").read_bytes().startswith(PNG)
        assert page.faults == []


def test_a_key_is_asked_for_and_kept_in_the_tab(browser: Browser, tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    reader = create_key(keys, "screen", Scope.READ).token
    writer = create_key(keys, "app", Scope.TRANSFER).token
    flags = ("--demo-accounts=2", f"--keys-file={keys}")
    with Server(tmp_path / "ledger", *flags) as server, load(server.url, writer):
        page = browser.open_page()
        page.open(server.url)
        for text in ("lck_00000000_wrong", reader):
            page.wait("document.getElementById('key')?.open")
            page.evaluate("document.getElementById('key-text').focus()")
            page.type(text)
            page.press("Enter")
            page.wait("!document.getElementById('key').open")
        page.wait(IS_LIVE)
        wait_until(is_moving(page), "numbers that move")
        page.wait("document.getElementById('audit-verdict').dataset.kind === 'ok'")
        stored = "[Object.values(sessionStorage), Object.values(localStorage)]"
        assert page.evaluate(stored) == [[reader], []]
        # Chromium tells of each 401 as if it were an error of the page.
        assert [fault for fault in page.faults if "401" not in fault] == []
        page.open(server.url)  # It is kept as long as the tab.
        page.wait(IS_LIVE)
        page.evaluate("document.getElementById('forget').click()")
        page.wait("document.getElementById('key')?.open")
        assert page.evaluate("sessionStorage.length") == 0


def test_it_says_that_it_is_disconnected_and_comes_again(browser: Browser, tmp_path: Path) -> None:
    with Server(tmp_path / "ledger") as server:
        url = server.url
        page = browser.open_page()
        page.open(url)
        page.wait(IS_LIVE)
        page.wait(LINE)
        assert server.stop() == 0
    page.wait("document.getElementById('state').dataset.kind === 'lost'")
    page.wait("document.getElementById('state').textContent.includes('disconnected')")
    assert page.evaluate("document.body.classList.contains('stale')")
    port = httpx.URL(url).port
    with Server(tmp_path / "ledger", f"--port={port}") as server:
        assert server.url == url
        page.wait(IS_LIVE)
        assert not page.evaluate("document.body.classList.contains('stale')")


def test_before_there_is_data_nothing_is_drawn(browser: Browser, tmp_path: Path) -> None:
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        server.run(_enter(server, State.OPENING))
        page = browser.open_page()
        page.open("http://{}:{}".format(*server.address))
        page.wait("document.getElementById('state').textContent.includes('again in')")
        told = page.text("#state").rpartition("; again in ")
        assert told[0].strip() == "disconnected: The ledger is not open yet"
        assert page.evaluate(DRAWN) == []
        server.run(_enter(server, State.READY))
        page.wait(LINE)
        drawn = page.evaluate(DRAWN)
        assert {"line", "text"} <= set(drawn) and "circle" not in drawn


async def _enter(server: LocalServer, state: State) -> None:
    server.lifecycle._enter(state)


def test_sums_beyond_what_numbers_hold_are_exact(browser: Browser, tmp_path: Path) -> None:
    sums = {"EUR/2": -(2**53) - 1, "USD/2": 2**63 - 1}
    audit = Audit(7, 2, sums, (), journal_checked=True)
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        page = browser.open_page()
        page.open("http://{}:{}".format(*server.address))
        page.wait("document.getElementById('audit-verdict').dataset.kind === 'ok'")
        server.run(_tell(server, audit))
        page.wait("document.getElementById('audit-sums').textContent.includes('EUR/2')")
        wanted = "EUR/2Σ -9,007,199,254,740,993USD/2Σ 9,223,372,036,854,775,807"
        assert page.text("#audit-sums") == wanted
        assert page.faults == []


async def _tell(server: LocalServer, audit: Audit) -> None:
    server.app.ctx.watch.viewers.note_audit(audit)


def test_a_hidden_page_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        page = browser.open_page()
        page.open("http://{}:{}".format(*server.address))
        page.wait(IS_LIVE)
        hide = "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}})"
        change = "document.dispatchEvent(new Event('visibilitychange'))"
        page.evaluate(f"{hide.format('true')}; {change}")
        assert page.text("#state").strip() == "paused"
        wait_until(lambda: not server.app.ctx.watch.pulse.is_awake, "the server to rest")
        page.evaluate(f"{hide.format('false')}; {change}")
        page.wait(IS_LIVE)
        assert page.faults == []


def test_the_window_slides_and_nothing_grows(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of seconds in a few: the server's clock of samples runs fast."""
    monkeypatch.setattr("ledgercore.service.monitoring.pulse.INTERVAL_S", 0.01)
    seconds = [1_800_000_000.0]

    def tell_time() -> float:
        seconds[0] += 1
        return seconds[0]

    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        server.app.ctx.watch.pulse._clock = tell_time
        page = browser.open_page()
        page.open("http://{}:{}".format(*server.address))
        page.wait(f"{POINTS} >= {SAMPLES_MAX}")
        nodes = page.evaluate(COUNT_NODES)
        end = seconds[0] + 2 * SAMPLES_MAX
        wait_until(lambda: seconds[0] > end, "twice the window to pass")
        page.wait(IS_LIVE)
        assert SAMPLES_MAX <= page.evaluate(POINTS) <= SAMPLES_MAX + 1
        assert page.evaluate(COUNT_NODES) == nodes
        assert 40 <= page.evaluate(LEFTMOST) <= 50  # All of it is to the right of the axis.
        assert page.faults == []


def test_pointing_reads_out_a_second_of_the_past(browser: Browser, tmp_path: Path) -> None:
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        page = browser.open_page()
        rates = range(1, SAMPLES_MAX + 1)
        page.open("http://{}:{}".format(*server.address))
        page.wait(LINE)
        template = dict(server.app.ctx.watch.pulse.samples[-1])
        server.run(_replace(server, [template | {"transfers_ps": float(rate)} for rate in rates]))
        page.open("http://{}:{}".format(*server.address))
        page.wait(f"{POINTS} > 200")
        box = page.evaluate(
            "(({x, y, width, height}) => [x, y, width, height])"
            "(document.querySelector('[data-plot=throughput] svg').getBoundingClientRect())"
        )
        page.point(box[0] + box[2] / 2, box[1] + box[3] / 2)
        page.wait("document.body.classList.contains('pointed')")
        assert 100 < read_number(page.text(TRANSFERS)) < 200
        assert "(−2:" in page.text("#window")
        page.point(2, 2)
        page.wait("!document.body.classList.contains('pointed')")
        assert page.faults == []


async def _replace(server: LocalServer, samples: list[dict[str, Any]]) -> None:
    kept = server.app.ctx.watch.pulse.samples
    newest = kept[-1]["t"]
    kept.clear()
    kept.extend(sample | {"t": newest - len(samples) + i} for i, sample in enumerate(samples, 1))
