"""The page of profiles: sound, on its own, and every link leads to something."""

from html.parser import HTMLParser
from urllib.parse import parse_qs, urlsplit

import pytest

from ledgercore.service.routes.profiles import PAGE, PAGE_POLICY, SECONDS_MAX, profile_routes

TEXT = PAGE.body.decode()
VOID = {"meta", "link", "br"}


class Page(HTMLParser):
    """Notes where links lead, what would be fetched, and whether every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.fetched: list[str] = []
        self.open: list[str] = []
        self.names: dict[str, dict[str, str | None]] = {}
        self.feed(TEXT)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        if tag == "a":
            self.links.append(values["href"] or "")
        self.fetched += [str(values[name]) for name in ("src", "srcset") if name in values]
        if tag in ("link", "script"):
            self.fetched.append(tag)
        if tag == "meta" and "name" in values:
            self.names[str(values["name"])] = values

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def page() -> Page:
    return Page()


def test_the_page_is_sound_and_alone(page: Page) -> None:
    assert page.open == [] and page.fetched == []
    assert "url(" not in TEXT and "@import" not in TEXT
    assert "://" not in TEXT, "it names no host"
    assert "width=device-width" in str(page.names["viewport"]["content"])
    assert "default-src 'none'" in PAGE_POLICY


def test_every_link_is_an_address_within_its_bounds(page: Page) -> None:
    routes = {str(route.uri) for route in profile_routes._future_routes}
    seen = set()
    for link in page.links:
        parts = urlsplit(link)
        base, _, name = parts.path.rpartition("/")
        assert base == profile_routes.url_prefix and f"/{name}" in routes
        query = parse_qs(parts.query)
        assert int(query.get("seconds", ["1"])[0]) <= SECONDS_MAX
        seen.add(f"/{name}")
    assert seen == routes - {"/", ""}, "and every address has a link"
