"""The baseline for the service: a plain Sanic handler that parses the same JSON and answers.

It runs as the service does: one process, uvloop, no access log, the same limits. It checks nothing
and keeps nothing, and its answer is as long as the service's. `python -m bench.plain` serves it.
"""

import socket
from typing import Any

import click
from sanic import Request, Sanic
from sanic.response import HTTPResponse

from .options import port_option

BACKLOG = 1024
ANSWER = (
    b'{"id":1000000,"status":"applied","from":"acct-1234","to":"acct-5678","amount":50,'
    b'"asset":"USD/2","created_at":"2026-01-01T00:00:00.000000Z"}'
)

App = Sanic[Any, Any]


async def post_transfer(request: Request[Any, Any]) -> HTTPResponse:
    """Parse the body, and answer that all is well, whatever it says."""
    request.json  # noqa: B018  # It parses when it is asked for.
    return HTTPResponse(ANSWER, 201, content_type="application/json")


def make_app(name: str) -> App:
    """Return an app without addresses, set up as the service's."""
    app: App = Sanic(name, configure_logging=False)
    app.config.update({"ACCESS_LOG": False, "AUTO_EXTEND": False, "KEEP_ALIVE_TIMEOUT": 75})
    return app


def serve(app: App, port: int) -> None:
    """Serve an app until SIGTERM; one line says where."""
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)

    @app.after_server_start
    async def announce(app: App) -> None:
        click.echo(f"{app.name}: serving http://127.0.0.1:{listener.getsockname()[1]}")

    app.run(sock=listener, backlog=BACKLOG, single_process=True, motd=False, access_log=False)


@click.command()
@port_option
def main(port: int) -> None:
    """Serve the baseline until SIGTERM; one line says where."""
    app = make_app("plain")
    app.add_route(post_transfer, "/transfer", methods=["POST"])
    serve(app, port)


if __name__ == "__main__":
    main()
