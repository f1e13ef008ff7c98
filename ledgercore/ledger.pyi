"""The types of ledger.pyx, as Python sees it."""

def status_names() -> dict[int, str]:
    """Return the names of all statuses by number, as src/status.h tells them."""

class Ledger:
    """Accounts, balances, keys and the ring. `ring_records` is a power of two."""

    def __init__(
        self,
        *,
        accounts_max: int,
        keys_max: int,
        key_ttl_ns: int,
        ring_records: int,
        hash_key: bytes,
        keys_reserved: int = 0,
    ) -> None: ...
    def fingerprint(self, scope: bytes) -> bytes: ...
    def segment_hash(self, id: bytes) -> int: ...
