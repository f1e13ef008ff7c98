"""Lookups of a transfer by its id, and of the state of a key."""

from . import accounts as rows
from .executor import Executor
from .history import RawTransfer, parse_transfer
from .ledger import Ledger
from .replay import last_lsn, look_up_key, recent_record
from .status import Status
from .store import Store
from .types import KeyState, Transfer

NOT_FOUND = {Status.SOURCE_NOT_FOUND, Status.TARGET_NOT_FOUND}


class Lookups:
    """Reads the store for an open engine, never ahead of what is durable."""

    def __init__(self, ledger: Ledger, executor: Executor, store: Store | None) -> None:
        self.ledger = ledger
        self.executor = executor
        self.store = store

    def find_transfer(self, id: int) -> Transfer | None:
        """The transfer with this id, or None. Waits until it is durable."""
        if not 1 <= id <= last_lsn(self.ledger):
            return None
        self.executor.wait(id)
        if self.store is None:
            record = recent_record(self.ledger, id)
            found = None if record is None else (record, b"")
        else:
            found = self.store.find(id)
        raw = None if found is None else parse_transfer(*found)
        return None if raw is None else self.name(raw)

    def name(self, raw: RawTransfer) -> Transfer:
        """Put ids and the asset in the place of slots."""
        known = raw.status not in NOT_FOUND
        # A slot that held no account then may hold one now, which is not the one that was meant.
        source = None if raw.status is Status.SOURCE_NOT_FOUND else raw.source
        target = None if raw.status is Status.TARGET_NOT_FOUND else raw.target
        return Transfer(
            id=raw.lsn,
            status=raw.status,
            source=raw.source_id or self.name_account(source) or f"#{raw.source}",
            target=raw.target_id or self.name_account(target) or f"#{raw.target}",
            amount=raw.amount,
            asset=rows.account_asset(self.ledger, raw.source) if known else None,
            time_ns=raw.time_ns,
            memo=raw.memo,
        )

    def name_account(self, slot: int | None) -> str | None:
        """The id of the account in a slot, if there is one."""
        return None if slot is None else rows.account_id(self.ledger, slot)

    def find_key(self, fingerprint: bytes) -> KeyState:
        """The state of a key: unseen, applied, refused or expired."""
        found = look_up_key(self.ledger, fingerprint)
        if found is None:
            return KeyState("unseen", None)
        lsn, status, expired = found
        transfer = self.find_transfer(lsn)
        if expired:
            return KeyState("expired", transfer)
        return KeyState("applied" if status == Status.APPLIED else "refused", transfer)
