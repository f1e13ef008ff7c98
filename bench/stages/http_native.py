"""Over HTTP, natively: a plain request becomes a row of a batch without a Python object."""

from functools import partial

from .http_batched import ServiceRunner, open_service
from .stage import Stage


class NativeRunner(ServiceRunner):
    """One plain request a transfer, to the service."""

    headers = ""
    keys_reserved = 500_000


STAGE = Stage(
    name="http-native",
    title="HTTP, read natively",
    promise="durable",
    transfers=20_000,
    open=partial(open_service, NativeRunner),
    spread=True,
)
