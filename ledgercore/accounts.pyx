"""Opening, changing and reading accounts: the writers of the index and of limits.

All of it runs under the GIL, which is the one lock among openers; the account's stripe is held as
well wherever a worker could look. It never waits for the disk: it returns the LSN to wait for.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from ledgercore._c cimport *
from ledgercore.ledger cimport Ledger

import numpy as np

from .validation import check_new_id
from .errors import AccountExists, AccountNotFound, CapacityExceeded, LimitConflict
from .layouts import ACCOUNT_ROW
from .types import Account

cdef extern from * nogil:
    """
    #define lc_set_flags(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
    """
    void store_flags "lc_set_flags"(uint8_t* place, uint8_t value)


cdef int64_t as_floor(floor) except? -1:
    return LC_FLOOR_NONE if floor is None else floor


cdef int64_t as_ceiling(ceiling) except? -1:
    return LC_CEILING_NONE if ceiling is None else ceiling


cpdef uint32_t find_slot(Ledger ledger, str id) except? 0xFFFFFFFE:
    """Return the slot of an account; raises AccountNotFound."""
    cdef bytes name = id.encode()
    cdef uint32_t slot = ledger.find(name, len(name))
    if slot == LC_SLOT_NONE:
        raise AccountNotFound(f"no account {id!r}")
    return slot


def find_slots(Ledger ledger, ids):
    """Return the slots of accounts, shape (n,); raises AccountNotFound, naming the first."""
    slots = np.empty(len(ids), np.uint32)
    cdef uint32_t[::1] view = slots
    cdef Py_ssize_t i
    for i, id in enumerate(ids):
        view[i] = find_slot(ledger, id)
    return slots


def account_id(Ledger ledger, uint32_t slot):
    """Return the id of the account in a slot, or None."""
    if slot >= ledger.account_count:
        return None
    cdef lc_account* account = &ledger.account[slot]
    return (ledger.ids + account.id_offset)[:account.id_length].decode()


def account_asset(Ledger ledger, uint32_t slot):
    """Return the asset of the account in a slot, or None."""
    if slot >= ledger.account_count:
        return None
    return ledger.asset_names[ledger.account[slot].asset]


def read_account(Ledger ledger, uint32_t slot):
    """Return the account in a slot as it stands, durable or not."""
    cdef lc_account* account = &ledger.account[slot]
    cdef uint32_t stripe = slot & ledger.stripe_mask
    lc_stripes_acquire(ledger.stripes, stripe, stripe)
    cdef int64_t balance = ledger.balance[slot]
    cdef lc_account copy = account[0]
    lc_stripes_release(ledger.stripes, stripe, stripe)
    return Account(
        id=(ledger.ids + copy.id_offset)[:copy.id_length].decode(),
        asset=ledger.asset_names[copy.asset],
        balance=balance,
        floor=None if copy.floor == LC_FLOOR_NONE else copy.floor,
        ceiling=None if copy.ceiling == LC_CEILING_NONE else copy.ceiling,
        frozen=bool(copy.flags & LC_FROZEN),
        slot=slot,
    )


def asset_names(Ledger ledger):
    """Return the names of all assets by number."""
    return list(ledger.asset_names)


def account_count(Ledger ledger):
    """Return the number of accounts."""
    return ledger.account_count


def balances(Ledger ledger):
    """Return a read-only view of all balances by slot."""
    return ledger.balances_view[:ledger.account_count]


cdef int check_lsn(Ledger ledger) except -1:
    """Raise CapacityExceeded where there is no LSN left for the record of an account."""
    if lc_ring_last(&ledger.ring) >= LC_LSN_MAX:
        raise CapacityExceeded("the ledger has given all its ids, and takes nothing more")
    return 0


cdef int check_capacity(Ledger ledger, uint64_t text_bytes) except -1:
    """Raise CapacityExceeded where no account with so long a text fits."""
    if ledger.account_count >= ledger.accounts_max or (
        ledger.ids_used + text_bytes > ledger.ids_bytes
    ):
        raise CapacityExceeded(f"the ledger holds {ledger.account_count} accounts, its maximum")
    return 0


cdef uint32_t place_account(
    Ledger ledger, bytes id, bytes asset_name, uint32_t asset, int64_t floor, int64_t ceiling
) except? 0xFFFFFFFE:
    """Write an account into the next slot; nobody sees it until it is published."""
    cdef uint64_t needed = len(id) + len(asset_name)
    cdef uint32_t slot = ledger.account_count
    cdef lc_account* account = &ledger.account[slot]
    cdef char* text = ledger.ids + ledger.ids_used
    memcpy(text, <const char*> id, len(id))
    memcpy(text + len(id), <const char*> asset_name, len(asset_name))
    account.floor = floor
    account.ceiling = ceiling
    account.id_hash = ledger.hash_id(text, len(id))
    account.id_offset = <uint32_t> ledger.ids_used
    account.asset = asset
    account.id_length = len(id)
    ledger.ids_used += needed
    if 2 * (<uint64_t> slot + 1) > ledger.indexes[ledger.index_level].mask + 1:
        ledger.grow_index()
    return slot


cdef void publish_account(Ledger ledger, uint32_t slot, uint8_t flags) noexcept nogil:
    """Let workers find the account. Its stripe is held, or nobody else is there yet."""
    cdef lc_account* account = &ledger.account[slot]
    store_flags(&account.flags, flags | LC_OPEN)
    lc_index_insert(&ledger.indexes[ledger.index_level], account.id_hash, slot)


cdef uint32_t asset_number(Ledger ledger, bytes name) except? 0xFFFFFFFE:
    """The number of an asset, a new one where the name is new."""
    text = name.decode()
    number = ledger.asset_numbers.get(text)
    if number is None:
        number = len(ledger.asset_names)
        if number >= LC_ASSETS_MAX:
            raise CapacityExceeded(f"the ledger holds {number} assets, its maximum")
        ledger.asset_names.append(text)
        ledger.asset_numbers[text] = number
    return number


cdef void describe_account(Ledger ledger, uint32_t slot, lc_record* record) noexcept nogil:
    """Fill a record with an account's settings; its text is in the arena of ids."""
    cdef lc_account* account = &ledger.account[slot]
    memset(record, 0, sizeof(lc_record))
    record.flags = account.flags & LC_FROZEN
    record.floor = account.floor
    record.ceiling = account.ceiling
    record.slot = slot
    record.asset = account.asset
    record.first_length = account.id_length


cdef uint64_t log_account(
    Ledger ledger, uint32_t slot, uint8_t kind, Py_ssize_t asset_length
) noexcept nogil:
    """Take an LSN for an account's record and publish it. Its stripe and a credit are held."""
    cdef lc_record record
    describe_account(ledger, slot, &record)
    record.kind = kind
    record.second_length = asset_length
    record.text_length = record.first_length + record.second_length
    record.time_ns = ledger.now()
    record.lsn = lc_ring_take(&ledger.ring)
    lc_ring_publish(&ledger.ring, &record, ledger.ids + ledger.account[slot].id_offset)
    return record.lsn


def open_account(Ledger ledger, bytes id, bytes asset, floor, ceiling, bint frozen):
    """Open an account; returns (slot, lsn), lsn 0 where it exists with the same settings.

    Raises AccountExists, CapacityExceeded, InvalidArgument where the account is new and no address
    can name it. The caller holds a credit of the ring, and has checked that a balance of zero lies
    within the limits.
    """
    check_lsn(ledger)
    cdef uint32_t slot = ledger.find(id, len(id))
    if slot != LC_SLOT_NONE:
        known = read_account(ledger, slot)
        wanted = (asset.decode(), floor, ceiling, frozen)
        if (known.asset, known.floor, known.ceiling, known.frozen) != wanted:
            raise AccountExists(f"account {known.id!r} exists with other settings")
        return slot, 0
    check_new_id(id)
    check_capacity(ledger, len(id) + len(asset))
    cdef uint32_t number = asset_number(ledger, asset)
    slot = place_account(ledger, id, asset, number, as_floor(floor), as_ceiling(ceiling))
    # The second stripe is that of transfers which name an account that is not there.
    cdef uint32_t stripe = slot & ledger.stripe_mask, missing = LC_SLOT_NONE & ledger.stripe_mask
    lc_stripes_acquire(ledger.stripes, stripe, missing)
    ledger.account_count = slot + 1
    store_flags(&ledger.account[slot].flags, (LC_FROZEN if frozen else 0) | LC_OPEN)
    cdef uint64_t lsn = log_account(ledger, slot, LC_ACCOUNT_OPENED, len(asset))
    publish_account(ledger, slot, ledger.account[slot].flags)
    lc_stripes_release(ledger.stripes, stripe, missing)
    return slot, lsn


def change_account(Ledger ledger, uint32_t slot, dict changes):
    """Change the settings that `changes` names (floor, ceiling, frozen); returns the lsn, 0 where
    nothing changes. Raises LimitConflict, CapacityExceeded. The caller holds a credit of the ring.
    """
    check_lsn(ledger)
    cdef lc_account* account = &ledger.account[slot]
    cdef lc_account wanted
    cdef uint32_t stripe = slot & ledger.stripe_mask
    cdef Py_ssize_t asset_length = len(ledger.asset_names[account.asset])
    cdef bint sets_floor = "floor" in changes, sets_ceiling = "ceiling" in changes
    cdef bint sets_frozen = "frozen" in changes
    cdef int64_t floor = as_floor(changes.get("floor"))
    cdef int64_t ceiling = as_ceiling(changes.get("ceiling"))
    cdef uint8_t flags = (LC_FROZEN if changes.get("frozen") else 0) | LC_OPEN
    cdef uint64_t lsn = 0
    lc_stripes_acquire(ledger.stripes, stripe, stripe)
    wanted = account[0]
    if sets_floor:
        wanted.floor = floor
    if sets_ceiling:
        wanted.ceiling = ceiling
    if sets_frozen:
        wanted.flags = flags
    cdef int64_t balance = ledger.balance[slot]
    cdef bint fits = wanted.floor <= balance <= wanted.ceiling
    if fits and memcmp(&wanted, account, sizeof(wanted)) != 0:
        account.floor = wanted.floor
        account.ceiling = wanted.ceiling
        store_flags(&account.flags, wanted.flags)
        lsn = log_account(ledger, slot, LC_ACCOUNT_CHANGED, asset_length)
    lc_stripes_release(ledger.stripes, stripe, stripe)
    if not fits:
        raise LimitConflict(f"the balance, {balance}, is outside of the new limits")
    return lsn


def copy_state(Ledger ledger):
    """Return (lsn, balances, account rows) as of one instant: all stripes are held meanwhile.

    The rows are bytes of `lc_account`; ACCOUNT_ROW is their dtype.
    """
    cdef uint32_t count, i
    cdef uint64_t lsn
    cdef int64_t[::1] balances_view
    cdef uint8_t[::1] rows_view
    cdef bint complete = False
    while not complete:
        count = ledger.account_count
        balances = np.empty(count, np.int64)
        rows = np.empty(count, ACCOUNT_ROW)
        balances_view = balances
        rows_view = rows.view(np.uint8)
        with nogil:
            for i in range(ledger.stripe_mask + 1):
                lc_lock_acquire(&ledger.stripes[i].lock)
            # An account that was opened since the count was taken may hold money already.
            complete = count == ledger.account_count
            lsn = lc_ring_last(&ledger.ring)
            if complete and count > 0:
                memcpy(&balances_view[0], ledger.balance, count * sizeof(int64_t))
                memcpy(&rows_view[0], ledger.account, count * sizeof(lc_account))
            for i in range(ledger.stripe_mask + 1):
                lc_lock_release(&ledger.stripes[i].lock)
    return lsn, balances, rows
