"""The live page in a real Chromium: it loads, its numbers move, and it says when it is alone."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from ledgercore import Audit
from ledgercore.service.access.key_file import create_key
from ledgercore.service.access.key_ring import Scope
from ledgercore.service.monitoring.sampler import SAMPLES_MAX
from ledgercore.service.runtime.lifecycle import State
from tests.support.canvases import RECORDER, lines_of
from tests.support.chromium import Browser, Page, needs_chromium
from tests.support.local import PROTOCOLS, LocalServer, local_serving
from tests.support.servers import Server, post_transfer
from tests.support.waiting import wait_until

pytestmark = needs_chromium

NUMBER = "[data-plot={}] .figure b"
TRANSFERS = NUMBER.format("throughput")
IS_LIVE = "document.getElementById('state')?.dataset.kind === 'live'"
FITS = "document.scrollingElement.scrollWidth <= innerWidth"
# What is seen of the charts, without the lines, which are empty where nothing is known.
DRAWN = (
    "[...document.querySelectorAll('.plot canvas')]"
    ".flatMap(({marks = []}) => marks.filter(({kind}) => kind !== 'line').map(({kind}) => kind))"
)
DOTS = "document.querySelectorAll('.u-cursor-x:not(.u-off), .u-cursor-pt:not(.u-off)').length"
# The transfers, which are drawn last.
LINE = f"({lines_of('throughput')}.at(-1)?.points ?? [])"
POINTS = f"{LINE}.length"
LEFTMOST = f"{LINE}[0][0]"
PLOT = "document.querySelector('[data-plot=throughput] .plot')"
IS_POINTED = "document.body.classList.contains('pointed')"
HIDE = (
    "Object.defineProperty(document, 'hidden', {{value: {}, configurable: true}});"
    " document.dispatchEvent(new Event('visibilitychange'))"
)
COUNT_NODES = "document.querySelectorAll('*').length"
TRANSFERS_MAX = 20_000
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


def open_page(browser: Browser) -> Page:
    """Return a tab that notes what its pages draw."""
    page = browser.open_page()
    page.prepare(RECORDER)
    return page


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
        page = open_page(browser)
        page.resize(width, 900, is_phone=is_phone)
        page.prefer(scheme)
        page.open(server.url)
        wait_until(is_moving(page), "numbers that move")
        assert read_number(page.text(NUMBER.format("refusals"))) > 0
        assert page.text(NUMBER.format("latency")).split()[1] in ("µs", "ms", "s")
        lines = page.evaluate(f"{lines_of('latency')}.map(({{points}}) => points.length)")
        assert len(lines) == 4 and min(lines) > 1
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
        page = open_page(browser)
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
        page = open_page(browser)
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
        page = open_page(browser)
        page.open("http://{}:{}".format(*server.address))
        page.wait("document.getElementById('state').textContent.includes('again in')")
        told = page.text("#state").rpartition("; again in ")
        assert told[0].strip() == "disconnected: The ledger is not open yet"
        assert (page.evaluate(DRAWN), page.evaluate(DOTS)) == ([], 0)
        server.run(_enter(server, State.READY))
        page.wait(LINE)
        assert set(page.evaluate(DRAWN)) == {"rule", "text"}
        assert page.evaluate(DOTS) == 0


async def _enter(server: LocalServer, state: State) -> None:
    server.lifecycle._enter(state)


def test_sums_beyond_what_numbers_hold_are_exact(browser: Browser, tmp_path: Path) -> None:
    sums = {"EUR/2": -(2**53) - 1, "USD/2": 2**63 - 1}
    audit = Audit(7, 2, sums, (), journal_checked=True)
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        page = open_page(browser)
        page.open("http://{}:{}".format(*server.address))
        page.wait("document.getElementById('audit-verdict').dataset.kind === 'ok'")
        server.run(_tell(server, audit))
        page.wait("document.getElementById('audit-sums').textContent.includes('EUR/2')")
        wanted = "EUR/2Σ -9,007,199,254,740,993USD/2Σ 9,223,372,036,854,775,807"
        assert page.text("#audit-sums") == wanted
        assert page.faults == []


async def _tell(server: LocalServer, audit: Audit) -> None:
    server.app.ctx.monitor.viewers.note_audit(audit)


def test_a_hidden_page_asks_for_nothing(browser: Browser, tmp_path: Path) -> None:
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        page = open_page(browser)
        page.open("http://{}:{}".format(*server.address))
        page.wait(IS_LIVE)
        page.evaluate(HIDE.format("true"))
        assert page.text("#state").strip() == "paused"
        wait_until(lambda: not server.app.ctx.monitor.sampler.is_awake, "the server to rest")
        page.evaluate(HIDE.format("false"))
        page.wait(IS_LIVE)
        assert page.faults == []


def test_the_window_slides_and_nothing_grows(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds of seconds in a few: the server's clock of samples runs fast."""
    monkeypatch.setattr("ledgercore.service.monitoring.sampler.INTERVAL_S", 0.01)
    seconds = [1_800_000_000.0]

    def tell_time() -> float:
        seconds[0] += 1
        return seconds[0]

    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        server.app.ctx.monitor.sampler._clock = tell_time
        page = open_page(browser)
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


@pytest.fixture
def past(browser: Browser, tmp_path: Path) -> Iterator[Page]:
    """Show five minutes in which the rate rose by one each second, but for a gap."""
    with local_serving(), LocalServer(tmp_path / "ledger", PROTOCOLS["native"]) as server:
        page = open_page(browser)
        page.open("http://{}:{}".format(*server.address))
        page.wait(LINE)
        server.run(_remember(server, [*range(1, 201), *range(221, SAMPLES_MAX + 1)]))
        page.open("http://{}:{}".format(*server.address))
        page.wait(f"{POINTS} > 200")
        yield page
        assert page.faults == []


async def _remember(server: LocalServer, rates: list[int]) -> None:
    kept = server.app.ctx.monitor.sampler.samples
    newest = kept[-1]
    kept.clear()
    for rate in rates:
        t = newest["t"] - SAMPLES_MAX + rate
        kept.append(newest | {"t": t, "transfers_ps": float(rate)})


def test_pointing_reads_out_a_second_of_the_past(past: Page) -> None:
    x, y, width, height = past.evaluate(
        f"(({{x, y, width, height}}) => [x, y, width, height])({PLOT}.getBoundingClientRect())"
    )
    past.point(x + width / 2, y + height / 2)
    past.wait(IS_POINTED)
    assert 100 < read_number(past.text(TRANSFERS)) < 200
    assert "(−2:" in past.text("#window")
    # A line in each of the seven charts, and a dot for each series of which something is known.
    lines = past.evaluate("document.querySelectorAll('.u-cursor-x:not(.u-off)').length")
    assert lines == 7 and past.evaluate(DOTS) > lines
    past.point(2, 2)
    past.wait(f"!{IS_POINTED}")
    assert past.evaluate(DOTS) == 0


def test_keys_read_out_the_past_too(past: Page) -> None:
    assert past.evaluate(f"[{PLOT}.role, {PLOT}.ariaLabel]") == ["img", "Throughput"]
    past.evaluate(f"{PLOT}.focus()")
    for _ in range(20):
        past.press("ArrowLeft")
    past.wait("/−0:2[0-9]/.test(document.getElementById('window').textContent)")
    rate = read_number(past.text(TRANSFERS))
    assert 260 < rate < SAMPLES_MAX
    past.press("ArrowRight")
    wait_until(lambda: read_number(past.text(TRANSFERS)) == rate + 1, "the next second")
    past.press("Escape")
    past.wait(f"!{IS_POINTED}")
    assert past.evaluate(DOTS) == 0


def test_where_nothing_is_known_nothing_is_drawn(past: Page) -> None:
    # Green is more than red in the lines and what is below them, and nowhere else.
    green = past.evaluate(f"""(() => {{
        const [canvas, over] = ["canvas", ".u-over"].map((part) => {PLOT}.querySelector(part));
        const {{ width, height }} = canvas;
        const {{ data }} = canvas.getContext("2d").getImageData(0, 0, width, height);
        return [60, 90, 150].map((seconds) => {{
          const x = Math.round(over.offsetLeft + over.clientWidth * (1 - seconds / 300));
          return data.filter((value, at) => at % 4 === 1 && (at >> 2) % width === x
            && value - data[at - 1] > 30).length;
        }});
    }})()""")
    after, within, before = green
    assert after > 10 and within == 0 and before > 10


def test_colours_are_those_of_the_system(past: Page) -> None:
    past.prefer("light")
    past.evaluate(HIDE.format("true"))  # Nothing else makes it draw.
    past.wait("document.getElementById('state').textContent.includes('paused')")
    colour = f"{lines_of('throughput')}.at(-1).colour"
    past.wait(f"{colour} === '#0d7a6c'")
    past.prefer("dark")
    past.wait(f"{colour} === '#45cdb3'")
