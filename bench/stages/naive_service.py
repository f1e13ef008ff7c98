"""The service as one would write it first: a Sanic handler that calls the engine, and waits.

Each transfer is on the disk before it is answered, and before the next one is looked at: one sync
a request. It is a stage and nothing to run for money: it checks no more than it must to work.
`python -m bench.stages.naive_service DIR` serves the ledger in a directory.
"""

import socket
from pathlib import Path
from typing import Any

import click
from sanic import HTTPResponse, Request, Sanic
from sanic.response import json as answer_json

from ledgercore import Engine, Status

from .engine import open_engine, read_balances

BACKLOG = 1024
KEYS_RESERVED = 200_000

App = Sanic[Any, Any]


async def post_transfer(request: Request[Any, Any]) -> HTTPResponse:
    """Apply a transfer and answer what became of it."""
    engine: Engine = request.app.ctx.engine
    body, key = request.json, request.headers["idempotency-key"]
    outcome = engine.transfer(body["from"], body["to"], body["amount"], key=key)
    is_applied = outcome.status is Status.APPLIED
    answer = {
        "id": outcome.id,
        "status": "applied" if is_applied else "refused",
        **({} if is_applied else {"reason": outcome.status.name}),
        "from": body["from"],
        "to": body["to"],
        "amount": body["amount"],
        "asset": "USD/2",
        "created_at": outcome.time_ns,
    }
    return answer_json(answer, 201 if is_applied else 422)


async def get_balances(request: Request[Any, Any]) -> HTTPResponse:
    """Tell every account's balance by its id."""
    return answer_json(read_balances(request.app.ctx.engine))


def create_app(engine: Engine) -> App:
    """Return the app that serves an engine."""
    app: App = Sanic("naive", configure_logging=False)
    app.config.update({"ACCESS_LOG": False, "AUTO_EXTEND": False, "KEEP_ALIVE_TIMEOUT": 75})
    app.ctx.engine = engine
    app.add_route(post_transfer, "/transfer", methods=["POST"])
    app.add_route(get_balances, "/balances")
    return app


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--port", default=0, show_default=True, help="Port of 127.0.0.1; 0 takes a free one.")
def main(directory: Path, port: int) -> None:
    """Serve the ledger in DIRECTORY until SIGTERM; one line says where."""
    listener = socket.create_server(("127.0.0.1", port), backlog=BACKLOG)
    with open_engine(directory, KEYS_RESERVED) as engine:
        app = create_app(engine)

        @app.after_server_start
        async def announce(app: App) -> None:
            click.echo(f"naive: serving http://127.0.0.1:{listener.getsockname()[1]}")

        app.run(sock=listener, backlog=BACKLOG, single_process=True, motd=False, access_log=False)


if __name__ == "__main__":
    main()
