"""How a command asks a server: a real one, one that is none of ours, and none at all."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar

import click
import pytest

from ledgercore.service.cli.running_server import ask_server, join_members, pick_given, print_rows

pytest_plugins = ["tests.support.serving"]

NO_KEY = "LEDGERCORE_TEST_NO_SUCH_KEY"


class Foreign(BaseHTTPRequestHandler):
    """Answers with JSON that is no object, and tells what key it was shown."""

    keys: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.keys.append(self.headers["authorization"])
        self.send_response(200 if self.path == "/fine" else 500)
        self.end_headers()
        self.wfile.write(b"[1]" if self.path != "/text" else b"<html>")

    def log_message(self, *_: object) -> None:
        """Write nothing between the dots of pytest."""


@pytest.fixture
def foreign() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Foreign) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_an_object_is_returned_and_a_problem_is_one_line(url: str) -> None:
    # The address of a server may end with a stroke, and most people's do.
    assert ask_server(f"{url}/", NO_KEY, "GET", "/healthz") == {"status": "ok"}
    with pytest.raises(click.ClickException, match=r"^404: There is nothing at this address\.$"):
        ask_server(url, NO_KEY, "GET", "/nowhere")
    with pytest.raises(
        click.ClickException, match=r"^400: workers_maxi: There [^.]*; queue: There "
    ):
        ask_server(url, NO_KEY, "PATCH", "/admin/workers", {"workers_maxi": 1, "queue": 2})


def test_the_key_is_the_variables(foreign: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", "t0ken")
    Foreign.keys.clear()
    for name in ("MY_KEY", NO_KEY):
        with pytest.raises(click.ClickException):
            ask_server(foreign, name, "GET", "/fine")
    assert Foreign.keys == ["Bearer t0ken", None]


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/fine", "200: the answer is none of a ledgercore server"),
        ("/broken", "500: the answer is none of a ledgercore server"),
        ("/text", "cannot be asked"),
    ],
)
def test_who_is_no_ledger_is_told_so(foreign: str, path: str, said: str) -> None:
    with pytest.raises(click.ClickException) as caught:
        ask_server(foreign, NO_KEY, "GET", path)
    assert said in caught.value.message and "\n" not in caught.value.message


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "not a url", "http://[::1"])
def test_who_is_not_there_cannot_be_asked(url: str) -> None:
    with pytest.raises(click.ClickException, match="cannot be asked"):
        ask_server(url, NO_KEY, "GET", "/healthz")


def test_rows_and_values(capsys: pytest.CaptureFixture[str]) -> None:
    print_rows({"a": 1, "long": "x"})
    print_rows({})
    assert capsys.readouterr().out == "a     1\nlong  x\n"
    assert join_members({"a": 1, "b": None, "c": 0}) == "a=1  c=0"
    assert pick_given({"a": 0, "b": None}, "limit") == {"a": 0}
    with pytest.raises(click.UsageError, match="no limit is given"):
        pick_given({"b": None}, "limit")
