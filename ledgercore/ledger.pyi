"""The types of ledger.pyx. The docstrings there are its reference."""

class Ledger:
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
