"""The types of ledger.pyx, as Python sees it."""

class Ledger:
    """Accounts, balances, keys and the ring. `ring_records` is a power of two.

    The first LSN is the one after `last_lsn`. The key table is laid out for `keys_room`, where that
    is more than the keys that it may hold: a recovery puts in what there is.
    """

    def __init__(
        self,
        *,
        accounts_max: int,
        keys_max: int,
        key_ttl_ns: int,
        ring_records: int,
        hash_key: bytes,
        keys_reserved: int = 0,
        last_lsn: int = 0,
        keys_room: int = 0,
    ) -> None: ...
    def fingerprint(self, scope: bytes) -> bytes: ...
    def segment_hash(self, id: bytes) -> int: ...
