"""Recovery: the journal's records applied to a ledger, and a ledger's state told as records.

A replay judges every transfer again, by the kernel's own rules, and compares the outcome with the
one that was logged; so every recovery is also a check of the journal. It runs alone, before any
worker: it takes no locks.
"""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy

from ledgercore._c cimport *
from ledgercore.accounts cimport (
    asset_number, check_capacity, describe_account, place_account, publish_account,
)
from ledgercore.ledger cimport Ledger

import numpy as np

from .errors import CapacityExceeded
from .layouts import KEY_ENTRY, RECORD

cdef enum:
    PREFETCH_DISTANCE = 16
    SECOND = 1000000000

cdef enum problem:
    NONE = 0
    WRONG_OUTCOME = 1
    KEY_USED_TWICE = 2
    KEYS_TOO_FEW = 3
    ACCOUNTS_TOO_FEW = 4
    WRONG_OPENING = 5
    WRONG_CHANGE = 6
    NEWER = 7
    WRONG_LSN = 8
    WRONG_COUNT = 9
    TTLS_TOO_MANY = 10

PROBLEMS = {
    WRONG_OUTCOME: "its outcome is not the one that the rules give",
    KEY_USED_TWICE: "its key was already used",
    KEYS_TOO_FEW: "there are more keys than keys_max",
    ACCOUNTS_TOO_FEW: "there are more accounts than accounts_max",
    WRONG_OPENING: "it opens an account that exists, or out of order",
    WRONG_CHANGE: "it changes an account that does not exist, or to limits that are broken",
    NEWER: "its kind, or a flag of it, is none that this program knows",
    WRONG_LSN: "its LSN is not the next one",
    WRONG_COUNT: "the snapshot's counts do not agree with it",
    TTLS_TOO_MANY: "key_ttl_s was changed to more than 256 different values",
}


cdef inline void prefetch(Ledger ledger, const lc_record* record) noexcept nogil:
    if record.kind == LC_TRANSFER:
        ledger.prefetch(record.key, record.source, record.target)


cdef inline int apply_record(
    Replay replay, Ledger ledger, const lc_record* record, const char* text
) noexcept nogil:
    if not lc_record_known(record):
        return NEWER
    if record.kind >= LC_ACCOUNT_STATE:
        return apply_state(replay, ledger, record, text)
    if record.lsn <= ledger.ring.last_lsn:
        return NONE  # The snapshot holds it already.
    if record.lsn != ledger.ring.last_lsn + 1:
        return WRONG_LSN
    cdef int found = NEWER
    if record.kind == LC_TRANSFER:
        found = apply_transfer(replay, ledger, record, text)
    elif record.kind == LC_ACCOUNT_OPENED:
        found = apply_opening(ledger, record, text)
    elif record.kind == LC_ACCOUNT_CHANGED:
        found = apply_change(ledger, record)
    if found == NONE:
        ledger.ring.last_lsn = record.lsn
        ledger.last_time_ns = max(ledger.last_time_ns, record.time_ns)
    return found


cdef inline int apply_transfer(
    Replay replay, Ledger ledger, const lc_record* record, const char* text
) noexcept nogil:
    cdef int64_t source_after, target_after
    cdef uint64_t hash = lc_keys_hash(&ledger.keys, record.key)
    cdef lc_key_stripe* stripe = lc_keys_stripe(&ledger.keys, hash)
    cdef lc_key_entry* known = lc_keys_find(&ledger.keys, stripe, hash, record.key)
    if known != NULL and not lc_keys_expired(&ledger.keys, known, record.time_ns):
        return KEY_USED_TWICE
    if not lc_keys_make_room(&ledger.keys, stripe, record.time_ns):
        return KEYS_TOO_FEW
    if record.amount <= 0:
        return WRONG_OUTCOME
    if ledger.judge(record, &source_after, &target_after) != record.status:
        return WRONG_OUTCOME
    if record.status == LC_APPLIED:
        ledger.balance[record.source] = source_after
        ledger.balance[record.target] = target_after
        replay.transfers += 1
    else:
        replay.refusals += 1
    ledger.remember(record, ledger.digest(record, text), hash, stripe)
    return NONE


cdef int apply_opening(Ledger ledger, const lc_record* record, const char* text) noexcept nogil:
    text += record.text_offset
    if record.slot != ledger.account_count or record.first_length == 0:
        return WRONG_OPENING
    if ledger.find(text, record.first_length) != LC_SLOT_NONE:
        return WRONG_OPENING
    cdef int found
    with gil:
        found = place(ledger, record, text)
    if found == NONE:
        ledger.account_count = record.slot + 1
        publish_account(ledger, record.slot, record.flags & LC_FROZEN)
    return found


cdef int place(Ledger ledger, const lc_record* record, const char* text) noexcept:
    cdef bytes id = text[:record.first_length]
    cdef bytes asset = text[record.first_length:record.first_length + record.second_length]
    try:
        check_capacity(ledger, len(id) + len(asset))
        number = asset_number(ledger, asset)
        place_account(ledger, id, asset, number, record.floor, record.ceiling)
    except CapacityExceeded:
        return ACCOUNTS_TOO_FEW
    except UnicodeDecodeError:
        return WRONG_OPENING
    return NONE


cdef int apply_change(Ledger ledger, const lc_record* record) noexcept nogil:
    if record.slot >= ledger.account_count:
        return WRONG_CHANGE
    if not record.floor <= ledger.balance[record.slot] <= record.ceiling:
        return WRONG_CHANGE
    cdef lc_account* account = &ledger.account[record.slot]
    account.floor = record.floor
    account.ceiling = record.ceiling
    account.flags = (record.flags & LC_FROZEN) | LC_OPEN
    return NONE


cdef int apply_state(
    Replay replay, Ledger ledger, const lc_record* record, const char* text
) noexcept nogil:
    """Take over one record of a snapshot."""
    cdef int found
    cdef lc_key_entry entry
    cdef lc_key_stripe* stripe
    cdef uint64_t hash
    cdef int64_t ttl_ns
    if record.kind == LC_ACCOUNT_STATE:
        found = apply_opening(ledger, record, text)
        if found == NONE:
            ledger.balance[record.slot] = record.balance
        return found
    if record.kind == LC_KEY_STATE:
        hash = lc_keys_hash(&ledger.keys, record.key)
        stripe = lc_keys_stripe(&ledger.keys, hash)
        # Each key keeps the time to live that it was stored under, and makes room by it.
        ttl_ns = ledger.keys.ttls_ns[ledger.keys.ttl_current]
        if not lc_keys_set_ttl(&ledger.keys, <int64_t> record.client * SECOND):
            return TTLS_TOO_MANY
        if not lc_keys_make_room(&ledger.keys, stripe, record.time_ns):
            return KEYS_TOO_FEW
        memcpy(&entry.key, &record.key, 16)
        entry.lsn_status = (
            <uint64_t> ledger.keys.ttl_current << 56 | <uint64_t> record.amount << 8
            | record.status
        )
        entry.time_ns = record.time_ns
        entry.digest = record.digest
        lc_keys_insert(&ledger.keys, stripe, hash, &entry)
        lc_keys_set_ttl(&ledger.keys, ttl_ns)
        return NONE
    if record.kind == LC_SNAPSHOT_END:
        if record.key[0] != replay.records:
            return WRONG_COUNT
        ledger.ring.last_lsn = record.amount
        ledger.last_time_ns = record.time_ns
        return NONE
    return NEWER


cdef class Replay:
    """Applies frames to a ledger up to `until_lsn`; stops at the first record that is wrong."""

    def __cinit__(self, Ledger ledger, uint64_t until_lsn=0xFFFFFFFFFFFFFFFF):
        self.ledger = ledger
        self.until_lsn = until_lsn

    @property
    def lsn(self):
        """The LSN of the newest record that was applied."""
        return self.ledger.ring.last_lsn

    @property
    def is_newer(self):
        """Whether what stopped it is a record that a newer program wrote."""
        return self.problem == NEWER

    @property
    def problem_text(self):
        """What is wrong with the record at `problem_lsn`, or None."""
        return PROBLEMS.get(self.problem)

    cdef bint visit(self, const lc_frame* frame) noexcept nogil:
        """Apply a frame; False where there is nothing more to do, or something is wrong."""
        cdef const lc_record* records = lc_frame_records(frame)
        cdef const char* text = lc_frame_text(frame)
        cdef uint32_t i
        for i in range(min(frame.count, <uint32_t> PREFETCH_DISTANCE)):
            prefetch(self.ledger, &records[i])
        for i in range(frame.count):
            if i + PREFETCH_DISTANCE < frame.count:
                prefetch(self.ledger, &records[i + PREFETCH_DISTANCE])
            if records[i].kind < LC_ACCOUNT_STATE and records[i].lsn > self.until_lsn:
                return False
            self.problem = apply_record(self, self.ledger, &records[i], text)
            if self.problem != NONE:
                self.problem_lsn = records[i].lsn
                return False
            self.records += 1
        return True


# -- the state as records ------------------------------------------------------------------------


def dump_accounts(Ledger ledger, uint32_t start, uint32_t count):
    """Return (records, text) of `count` accounts from slot `start` on, each with its balance."""
    records = np.zeros(count, RECORD)
    cdef uint8_t[::1] view = records.view(np.uint8)
    cdef lc_record* record = <lc_record*> &view[0]
    cdef lc_account* account
    cdef uint32_t i
    pieces = []
    cdef uint32_t used = 0
    for i in range(count):
        account = &ledger.account[start + i]
        describe_account(ledger, start + i, &record[i])
        record[i].kind = LC_ACCOUNT_STATE
        record[i].balance = ledger.balance[start + i]
        record[i].time_ns = ledger.last_time_ns
        text = (ledger.ids + account.id_offset)[:account.id_length]
        text += ledger.asset_names[account.asset].encode()
        record[i].second_length = len(text) - account.id_length
        record[i].text_length = len(text)
        record[i].text_offset = used
        used += len(text)
        pieces.append(text)
    return records, b"".join(pieces)


def dump_keys(Ledger ledger):
    """Return all entries of the key table, rows of KEY_ENTRY in the order of their LSNs."""
    cdef uint32_t stripes = 1 << ledger.keys.stripes_log2, s, generation, i, capacity
    cdef uint64_t total = 0, used = 0
    cdef lc_key_stripe* stripe
    cdef lc_key_entry* entries
    for s in range(stripes):
        stripe = &ledger.keys.stripes[s]
        total += stripe.generations[0].count + stripe.generations[1].count
    rows = np.empty(total, KEY_ENTRY)
    if total == 0:
        return rows
    cdef uint8_t[::1] view = rows.view(np.uint8)
    cdef lc_key_entry* row = <lc_key_entry*> &view[0]
    with nogil:
        for s in range(stripes):
            stripe = &ledger.keys.stripes[s]
            for generation in range(2):
                if stripe.generations[generation].count == 0:
                    continue
                capacity = ledger.keys.capacities[stripe.generations[generation].level]
                entries = lc_keys_entries(
                    &ledger.keys, stripe, generation, stripe.generations[generation].level
                )
                for i in range(capacity):
                    if entries[i].lsn_status != 0:
                        row[used] = entries[i]
                        used += 1
    # The top byte is the number of the time to live.
    return rows[np.argsort(rows["lsn_status"] << 8, kind="stable")]


def live_keys(Ledger ledger):
    """Return the bytes of all keys that are alive at the newest logged time: (key, lsn and status,
    time, digest) in the order of their LSNs."""
    rows = dump_keys(ledger)
    ttls = np.zeros(256, np.int64)
    cdef uint32_t number
    for number in range(ledger.keys.ttl_count):
        ttls[number] = ledger.keys.ttls_ns[number]
    ages = ledger.last_time_ns - rows["time_ns"]
    rows = rows[ages < ttls[rows["lsn_status"] >> 56]]
    rows["lsn_status"] &= (1 << 56) - 1
    return rows.tobytes()


def key_records(Ledger ledger, rows):
    """Return the records, shape (n,), that stand for rows of KEY_ENTRY in a snapshot."""
    records = np.zeros(len(rows), RECORD)
    if len(rows) == 0:
        return records
    cdef uint8_t[::1] view = records.view(np.uint8)
    cdef const uint8_t[::1] rows_view = rows.view(np.uint8)
    cdef lc_record* record = <lc_record*> &view[0]
    cdef const lc_key_entry* row = <const lc_key_entry*> &rows_view[0]
    cdef Py_ssize_t i
    for i in range(len(rows)):
        record[i].kind = LC_KEY_STATE
        record[i].status = lc_key_status(&row[i])
        record[i].client = <uint32_t> (lc_key_ttl_ns(&ledger.keys, &row[i]) // SECOND)
        memcpy(&record[i].key, &row[i].key, 16)
        record[i].digest = row[i].digest
        record[i].amount = lc_key_lsn(&row[i])
        record[i].time_ns = row[i].time_ns
    return records


def end_record(Ledger ledger, uint64_t records_before):
    """Return the record, shape (1,), that closes a snapshot of this ledger."""
    records = np.zeros(1, RECORD)
    cdef uint8_t[::1] view = records.view(np.uint8)
    cdef lc_record* record = <lc_record*> &view[0]
    record.kind = LC_SNAPSHOT_END
    record.key[0] = records_before
    record.amount = ledger.ring.last_lsn
    record.time_ns = ledger.last_time_ns
    return records


def count_keys(Ledger ledger):
    """Return how many keys the table holds, both generations, expired ones included."""
    cdef uint64_t total = 0
    cdef uint32_t s
    cdef lc_key_stripe* stripe
    for s in range(<uint32_t> 1 << ledger.keys.stripes_log2):
        stripe = &ledger.keys.stripes[s]
        lc_lock_acquire(&stripe.lock)
        total += stripe.generations[0].count + stripe.generations[1].count
        lc_lock_release(&stripe.lock)
    return total


def last_lsn(Ledger ledger):
    """Return the newest LSN that was taken."""
    return lc_ring_last(&ledger.ring)


def set_key_ttl(Ledger ledger, int64_t key_ttl_ns):
    """Set how long keys are kept from here on; between segments only, for it is in their header.

    Returns False where too many different times were set already."""
    return lc_keys_set_ttl(&ledger.keys, key_ttl_ns)


def settle_keys(Ledger ledger):
    """Count what may still come into the key table of a ledger that has recovered."""
    lc_keys_settle(&ledger.keys)


def look_up_key(Ledger ledger, bytes fingerprint):
    """Return (lsn, status, expired) of what a key was used for, or None."""
    cdef uint64_t key[2]
    memcpy(key, <const char*> fingerprint, 16)
    cdef uint64_t hash = lc_keys_hash(&ledger.keys, key)
    cdef lc_key_stripe* stripe = lc_keys_stripe(&ledger.keys, hash)
    cdef lc_key_entry copy
    cdef bint expired = False
    cdef int64_t now = ledger.now()
    lc_lock_acquire(&stripe.lock)
    cdef lc_key_entry* entry = lc_keys_find(&ledger.keys, stripe, hash, key)
    if entry != NULL:
        copy = entry[0]
        expired = lc_keys_expired(&ledger.keys, entry, now)
    lc_lock_release(&stripe.lock)
    return None if entry == NULL else (lc_key_lsn(&copy), lc_key_status(&copy), expired)


def recent_record(Ledger ledger, uint64_t lsn):
    """Return the record of an LSN while the ring still holds it, or None: the memory of a
    ledger without a journal."""
    cdef lc_record copy
    if not lc_ring_read(&ledger.ring, lsn, &copy):
        return None
    return (<const char*> &copy)[:sizeof(copy)]
