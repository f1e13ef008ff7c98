"""Opening a ledger: the store, the recovery, and the journal that goes on from there."""

import os
import secrets
from dataclasses import dataclass

from .file_store import FileStore
from .journal import Journal
from .ledger import Ledger
from .memory import check_headroom
from .options import RING_RECORDS, Options
from .recovery import Recovery
from .replay import settle_keys
from .store import Recovered, Store


@dataclass(frozen=True, slots=True)
class Opened:
    """A ledger that is ready to run. In memory there is no store and no journal."""

    ledger: Ledger
    journal: Journal | None
    store: Store | None
    recovered: Recovered | None

    def close(self) -> None:
        """End the journal, so that the next start knows that all was told; raises OSError."""
        if self.journal is not None:
            self.journal.close()

    def release(self) -> None:
        """Let go of the store; in a forked child, only of the copies of its descriptors."""
        if self.store is not None:
            self.store.release()


def open_in_memory(options: Options) -> Opened:
    """A new ledger without a journal: everything is gone when it is closed."""
    ledger = Ledger(
        accounts_max=options.accounts_max,
        keys_max=options.keys_max,
        key_ttl_ns=options.key_ttl_ns,
        ring_records=RING_RECORDS,
        hash_key=secrets.token_bytes(16),
        keys_reserved=options.keys_reserved,
    )
    check_headroom()
    return Opened(ledger, None, None, None)


def store_at(address: str | os.PathLike[str]) -> Store:
    """Return the store that an address names: a path is that of a data directory."""
    return FileStore(address)


def open_store(store: Store, options: Options) -> Opened:
    """Claim a store, recover its ledger, and stand at the end of its journal."""
    store.claim(options)
    try:
        recovered = Recovery(store, options.capacity).run()
        check_headroom()
        settle_keys(recovered.ledger)
        return Opened(recovered.ledger, store.writer(recovered), store, recovered)
    except BaseException:
        store.release()
        raise
