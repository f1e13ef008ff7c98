"""Over HTTP, many transfers a request: POST /transfers, whose order is kept."""

from functools import partial
from urllib.parse import urlsplit

import msgspec

from ledgercore import Status

from ..workloads import Rows
from .http_batched import ServiceRunner, open_service
from .over_http import REUSED
from .stage import Stage

ITEMS = 8_192


class BulkRunner(ServiceRunner):
    """So many transfers a request, to the service."""

    keys_reserved = 2_500_000

    def write_requests(self, rows: Rows) -> list[bytes]:
        """Return the requests that ask for transfers."""
        host = urlsplit(self.url).netloc
        items = [
            {"idempotency_key": key, "from": source, "to": target, "amount": amount}
            for source, target, amount, key in self.workload.spell(rows)
        ]
        requests = []
        for start in range(0, len(items), ITEMS):
            body = msgspec.json.encode(items[start : start + ITEMS])
            head = (
                f"POST /transfers HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n"
            )
            requests.append(head.encode() + body)
        return requests

    def read_statuses(self, http_status: int, body: bytes) -> list[Status]:
        """Return what one answer tells."""
        assert http_status == 200, body
        return [_read_item(item) for item in msgspec.json.decode(body)]


def _read_item(item: dict[str, str]) -> Status:
    if item["status"] == "applied":
        return Status.APPLIED
    if item["reason"] == REUSED:
        return Status.KEY_REUSED
    return Status[item["reason"].upper().replace("-", "_")]


STAGE = Stage(
    name="http-bulk",
    title="HTTP, 8,192 a request",
    promise="durable",
    transfers=16 * ITEMS,
    open=partial(open_service, BulkRunner),
    spread=True,
)
