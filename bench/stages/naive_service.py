"""The service as one would write it first: a Sanic handler that calls the engine, and waits.

Each transfer is on the disk before it is answered, and before the next one is looked at: one sync
a request. It is a stage and nothing to run for money: it checks no more than it must to work.
`python -m bench.stages.naive_service DIR` serves the ledger in a directory.
"""

from pathlib import Path
from typing import Any

import click
from sanic import HTTPResponse, Request
from sanic.response import json as answer_json

from ledgercore import Engine, Status

from ..options import port_option
from ..plain import make_app, serve
from .engine import open_engine, read_balances

KEYS_RESERVED = 200_000


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


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@port_option
def main(directory: Path, port: int) -> None:
    """Serve the ledger in DIRECTORY until SIGTERM; one line says where."""
    app = make_app("naive")
    app.add_route(post_transfer, "/transfer", methods=["POST"])
    app.add_route(get_balances, "/balances")
    with open_engine(directory, KEYS_RESERVED) as engine:
        app.ctx.engine = engine
        serve(app, port)


if __name__ == "__main__":
    main()
