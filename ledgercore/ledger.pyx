"""The ledger's state and its rules: balances, limits, locks, keys, and the transfer kernel.

It owns memory, never files: a finished record goes into the ring, and what becomes of it there is
the engine's business. Every kernel function runs without the GIL, from any number of threads.

Lock order: key stripe, then the lower account stripe, then the higher. A transfer takes its LSN
while it holds all of them, so for every account and every key the order of the log is the order in
which it changed, and replaying the log meets the same state at each step.

Accounts are opened and changed in accounts.pyx, recovered in replay.pyx.
"""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from ledgercore._c cimport *

cimport cython

import numpy as np

from .memory import plan_key_levels, reserve

cdef extern from * nogil:
    """
    #define lc_load(p) __atomic_load_n(p, __ATOMIC_ACQUIRE)
    #define lc_store(p, v) __atomic_store_n(p, v, __ATOMIC_RELEASE)
    #define lc_fetch(p) __builtin_prefetch(p, 1)
    """
    uint8_t load_flags "lc_load"(uint8_t* place)
    uint32_t load_32 "lc_load"(uint32_t* place)
    void store_flags "lc_store"(uint8_t* place, uint8_t value)
    void store_32 "lc_store"(uint32_t* place, uint32_t value)
    void fetch "lc_fetch"(const void* place)

cdef enum:
    ACCOUNT_STRIPES = 4096
    KEY_STRIPES_LOG2_MAX = 10
    CLAIM_MAX = 64
    PREFETCH_DISTANCE = 16  # A power of two: rows whose lines are on their way.
    INDEX_BUCKETS_MIN = 1024


cdef inline void start_transfer(
    lc_record* transfer, const lc_row* row, int64_t time_ns
) noexcept nogil:
    memset(transfer, 0, sizeof(lc_record))
    transfer.kind = LC_TRANSFER
    transfer.key[0], transfer.key[1] = row.key[0], row.key[1]
    transfer.source, transfer.target = row.source, row.target
    transfer.amount = row.amount
    transfer.time_ns = time_ns


@cython.final
cdef class Ledger:
    """Accounts, balances, keys and the ring. `ring_records` is a power of two; the first LSN is the
    one after `last_lsn`. The key table is laid out for `keys_room`, where that is more than the
    keys that it may hold: a recovery puts in what there is."""

    def __cinit__(
        self, *, uint32_t accounts_max, uint64_t keys_max, int64_t key_ttl_ns,
        uint64_t ring_records, bytes hash_key, uint64_t keys_reserved=0, uint64_t last_lsn=0,
        uint64_t keys_room=0
    ):
        assert ring_records & (ring_records - 1) == 0 and len(hash_key) == 16
        memcpy(&self.hash_key, <const char*> hash_key, 16)
        self.tables = []
        self.asset_names = []
        self.asset_numbers = {}
        self.accounts_max = accounts_max
        self.ids_bytes = min(<uint64_t> accounts_max * 83 + 4096, <uint64_t> 1 << 32)
        self.balance = <int64_t*> self.table(accounts_max, 8)
        # Over a read-only buffer, so that nobody can make the view writeable again.
        self.balances_view = np.frombuffer(memoryview(self.tables[0]).toreadonly(), np.int64)
        self.account = <lc_account*> self.table(accounts_max, sizeof(lc_account))
        self.parties.hash_key = self.hash_key
        self.parties.accounts = self.account
        self.parties.count_max = accounts_max
        self.ids = <char*> self.table(self.ids_bytes, 1)
        self.stripes = <lc_stripe*> self.table(ACCOUNT_STRIPES, sizeof(lc_stripe))
        self.stripe_mask = ACCOUNT_STRIPES - 1
        self.grow_index()
        self.start_keys(keys_max, max(keys_max, keys_room), key_ttl_ns, keys_reserved)
        self.ring.slots = <lc_record*> self.table(ring_records, sizeof(lc_record))
        self.ring.texts = <const char**> self.table(ring_records, sizeof(char*))
        self.ring.mask = ring_records - 1
        self.ring.credits = ring_records
        self.ring.last_lsn = last_lsn
        lc_logged_time_begin(&self.time)

    cdef void* table(self, uint64_t count, size_t item_bytes, bint huge_pages=True) except NULL:
        array = reserve(count * item_bytes, np.uint8, huge_pages=huge_pages)
        self.tables.append(array)
        cdef uint8_t[::1] view = array
        return &view[0]

    cdef int grow_index(self) except -1:
        """Publish an index of twice the size. Readers of the old one miss only what is not yet
        there; so it stays, and all old ones together are as large as the new."""
        cdef uint32_t level = self.index_level + 1
        cdef uint64_t buckets = <uint64_t> INDEX_BUCKETS_MIN << level
        self.indexes[level].buckets = <uint64_t*> self.table(buckets, 8)
        self.indexes[level].mask = buckets - 1
        cdef uint32_t slot
        for slot in range(self.account_count):
            lc_index_insert(&self.indexes[level], self.account[slot].id_hash, slot)
        store_32(&self.index_level, level)
        return 0

    cdef int start_keys(
        self, uint64_t keys_max, uint64_t keys_room, int64_t key_ttl_ns, uint64_t keys_reserved
    ) except -1:
        """Lay out the key table: each level twice the one below, the last exactly `keys_room`. It
        begins at the level that holds `keys_reserved`, with memory that is touched already."""
        log2, capacities = plan_key_levels(keys_room, KEY_STRIPES_LOG2_MAX, LC_KEY_LEVELS_MAX)
        self.keys.stripes_log2 = log2
        self.keys.stripes = <lc_key_stripe*> self.table(1 << log2, sizeof(lc_key_stripe))
        self.keys.levels = len(capacities)
        cdef uint64_t capacity
        for level, capacity in enumerate(capacities):
            self.keys.capacities[level] = capacity
            for generation in range(2):
                self.keys.regions[generation][level].entries = <lc_key_entry*> self.table(
                    capacity << log2, sizeof(lc_key_entry)
                )
        lc_keys_set_ttl(&self.keys, key_ttl_ns)
        lc_keys_draw(&self.keys, self.hash_key)
        self.keys.keys_max = keys_max
        self.keys.claim_max = max(<uint64_t> 1, min(<uint64_t> CLAIM_MAX, keys_max >> (log2 + 6)))
        lc_keys_settle(&self.keys)
        cdef uint32_t first = 0
        while first + 1 < len(capacities) and (capacities[first] << log2) * 5 // 8 < keys_reserved:
            first += 1
        lc_keys_start(&self.keys, first)
        if keys_reserved > 0:
            memset(self.keys.regions[0][first].entries, 0,
                   (<uint64_t> self.keys.capacities[first] << log2) * sizeof(lc_key_entry))
        return 0

    # -- time and names ---------------------------------------------------------------------------

    cdef int64_t now(self) noexcept nogil:
        """The time to log (src/logged_time.h)."""
        return lc_logged_time_now(&self.time)

    cdef uint64_t hash_id(self, const char* id, size_t length) noexcept nogil:
        return lc_siphash(self.hash_key, id, length).low

    cdef uint32_t find(self, const char* id, size_t length) noexcept nogil:
        return self.find_hashed(self.hash_id(id, length), id, length)

    cdef uint32_t find_hashed(self, uint64_t hash, const char* id, size_t length) noexcept nogil:
        cdef lc_index* index = &self.indexes[load_32(&self.index_level)]
        return lc_index_find(index, self.account, self.ids, hash, id, length)

    cdef uint64_t prefetch_id(self, const char* id, size_t length) noexcept nogil:
        """Return the hash of an id; its bucket is on the way into the cache."""
        cdef uint64_t hash = self.hash_id(id, length)
        lc_index_prefetch(&self.indexes[load_32(&self.index_level)], hash)
        return hash

    cdef inline bint is_open(self, uint32_t slot) noexcept nogil:
        return slot < self.accounts_max and load_flags(&self.account[slot].flags) & LC_OPEN

    def fingerprint(self, bytes scope):
        """Return the 16 bytes that stand for a client and key."""
        cdef lc_hash128 hash = lc_siphash(self.hash_key, <const char*> scope, len(scope))
        return (<const char*> &hash)[:16]

    def segment_hash(self, bytes id):
        """Return the number by which the transfers of an account are spread over segments."""
        return self.hash_id(<const char*> id, len(id))

    # -- the transfer kernel ----------------------------------------------------------------------

    cdef uint8_t judge(
        self, const lc_record* transfer, int64_t* source_after, int64_t* target_after
    ) noexcept nogil:
        """The rules, in order of precedence. The stripes of both accounts are held."""
        if not self.is_open(transfer.source):
            return LC_SOURCE_NOT_FOUND
        if not self.is_open(transfer.target):
            return LC_TARGET_NOT_FOUND
        if transfer.source == transfer.target:
            return LC_SAME_ACCOUNT

        cdef lc_account* source = &self.account[transfer.source]
        cdef lc_account* target = &self.account[transfer.target]
        if source.asset != target.asset:
            return LC_ASSET_MISMATCH
        if source.flags & LC_FROZEN:
            return LC_SOURCE_FROZEN
        if target.flags & LC_FROZEN:
            return LC_TARGET_FROZEN

        cdef bint underflow = lc_subtract_overflows(
            self.balance[transfer.source], transfer.amount, source_after
        )
        cdef bint overflow = lc_add_overflows(
            self.balance[transfer.target], transfer.amount, target_after
        )
        if source.floor != LC_FLOOR_NONE and (underflow or source_after[0] < source.floor):
            return LC_INSUFFICIENT_FUNDS
        if target.ceiling != LC_CEILING_NONE and (overflow or target_after[0] > target.ceiling):
            return LC_CEILING_EXCEEDED
        if underflow or overflow:
            return LC_BALANCE_OVERFLOW

        # After this point the transfer succeeds.
        return LC_APPLIED

    cdef void post(self, lc_record* transfer, const char* text) noexcept nogil:
        """Judge a transfer, move the money if it is to move, and log the outcome."""
        cdef uint32_t source = transfer.source & self.stripe_mask
        cdef uint32_t target = transfer.target & self.stripe_mask
        cdef int64_t source_after, target_after
        lc_stripes_acquire(self.stripes, source, target)
        while LC_UNLIKELY(transfer.text_length > 0) and self.resolve(transfer, text):
            lc_stripes_release(self.stripes, source, target)
            source = transfer.source & self.stripe_mask
            target = transfer.target & self.stripe_mask
            lc_stripes_acquire(self.stripes, source, target)
        transfer.status = self.judge(transfer, &source_after, &target_after)
        if transfer.status == LC_APPLIED:
            self.balance[transfer.source] = source_after
            self.balance[transfer.target] = target_after
        transfer.lsn = lc_ring_take(&self.ring)
        lc_stripes_release(self.stripes, source, target)
        lc_ring_publish(&self.ring, transfer, text)

    cdef bint resolve(self, lc_record* transfer, const char* text) noexcept nogil:
        """Whether an account that was not there has been opened since its id was looked up. Whoever
        opens one holds the stripe of LC_SLOT_NONE, and so does the transfer that misses it."""
        cdef uint32_t source = transfer.source, target = transfer.target
        text += transfer.text_offset
        if source == LC_SLOT_NONE and transfer.first_length > 0:
            transfer.source = self.find(text, transfer.first_length)
        if target == LC_SLOT_NONE and transfer.second_length > 0:
            transfer.target = self.find(text + transfer.first_length, transfer.second_length)
        return transfer.source != source or transfer.target != target

    cdef uint64_t digest(self, const lc_record* transfer, const char* text) noexcept nogil:
        """What tells a repeat from another transfer under the same key (src/payload.h)."""
        return lc_payload_of(&self.parties, transfer, text)

    cdef void apply(
        self, lc_record* transfer, const char* text, uint64_t hash, lc_outcome* outcome,
        uint64_t* rest_lsn, bint is_late
    ) noexcept nogil:
        """Apply one transfer at most once. `rest_lsn` rises to the LSN that its answer rests on.
        What `is_late` is answered from its key, where that is known, and never applied."""
        memset(outcome, 0, sizeof(lc_outcome))
        outcome.time_ns = transfer.time_ns
        if transfer.key[0] == 0 and transfer.key[1] == 0:
            outcome.status = LC_KEY_MISSING
            return
        if transfer.amount <= 0:
            outcome.status = LC_AMOUNT_INVALID
            return
        cdef lc_key_stripe* stripe = lc_keys_stripe(&self.keys, hash)
        lc_lock_acquire(&stripe.lock)
        self.apply_once(transfer, text, hash, stripe, outcome, rest_lsn, is_late)
        lc_lock_release(&stripe.lock)

    cdef inline void apply_once(
        self, lc_record* transfer, const char* text, uint64_t hash, lc_key_stripe* stripe,
        lc_outcome* outcome, uint64_t* rest_lsn, bint is_late
    ) noexcept nogil:
        cdef uint64_t digest = self.digest(transfer, text)
        transfer.time_ns = outcome.time_ns = lc_keys_advance(stripe, transfer.time_ns)
        cdef const lc_key_entry* known = lc_keys_find(&self.keys, stripe, hash, transfer.key)
        if known != NULL:
            self.answer_known(transfer, text, digest, known, outcome, rest_lsn)
            return
        if is_late:
            outcome.status = LC_DEADLINE_PASSED
            return
        if LC_UNLIKELY(lc_ring_last(&self.ring) >= LC_LSN_MAX):
            outcome.status = LC_LEDGER_FULL
            return
        if not (
            lc_keys_make_room(&self.keys, stripe, transfer.time_ns)
            and lc_keys_claim(&self.keys, stripe, transfer.time_ns)
        ):
            outcome.status = LC_KEYS_FULL
            return
        self.post(transfer, text)
        self.remember(transfer, digest, hash, stripe)
        outcome.lsn = transfer.lsn
        outcome.status = transfer.status
        outcome.asset = self.outcome_asset(transfer.source, transfer.status)
        rest_lsn[0] = max(rest_lsn[0], transfer.lsn)

    cdef void answer_known(
        self, const lc_record* transfer, const char* text, uint64_t digest,
        const lc_key_entry* known, lc_outcome* outcome, uint64_t* rest_lsn
    ) noexcept nogil:
        """Answer a transfer whose key is known: as the first time, while the key lives; and never
        by executing it. The key's stripe is held."""
        cdef uint32_t source = transfer.source
        rest_lsn[0] = max(rest_lsn[0], lc_key_lsn(known))
        if known.digest != digest and not lc_payload_was_unopened(
            &self.parties, transfer, known.digest
        ):
            outcome.status = LC_KEY_REUSED
            return
        outcome.lsn = lc_key_lsn(known)
        if lc_keys_expired(&self.keys, known, transfer.time_ns):
            outcome.status = LC_KEY_EXPIRED
            return
        outcome.status = lc_key_status(known)
        outcome.time_ns = known.time_ns
        outcome.replayed = 1
        if source == LC_SLOT_NONE and transfer.first_length > 0:
            # It was not there when this one's id was looked up, and was when the first one was.
            source = self.find(text + transfer.text_offset, transfer.first_length)
        outcome.asset = self.outcome_asset(source, outcome.status)

    cdef inline uint16_t outcome_asset(self, uint32_t source, uint8_t status) noexcept nogil:
        """What an outcome tells of the asset. Where an account was not found there is none to tell,
        even if it exists by now; and else the source existed, and keeps its asset."""
        if status == LC_SOURCE_NOT_FOUND or status == LC_TARGET_NOT_FOUND:
            return 0
        return self.account[source].asset + 1

    cdef inline void remember(
        self, const lc_record* transfer, uint64_t digest, uint64_t hash, lc_key_stripe* stripe
    ) noexcept nogil:
        cdef lc_key_entry entry
        entry.key[0], entry.key[1] = transfer.key[0], transfer.key[1]
        entry.lsn_status = (
            <uint64_t> self.keys.ttl_current << 56 | transfer.lsn << 8 | transfer.status
        )
        entry.time_ns = transfer.time_ns
        entry.digest = digest
        lc_keys_insert(&self.keys, stripe, hash, &entry)

    cdef inline uint64_t prefetch(
        self, const uint64_t* key, uint32_t source, uint32_t target
    ) noexcept nogil:
        """Ask for the lines that a transfer will touch; returns the hash of its key."""
        cdef uint64_t hash = lc_keys_hash(&self.keys, key)
        lc_keys_prefetch(&self.keys, hash)
        if source < self.accounts_max:
            fetch(&self.account[source])
            fetch(&self.balance[source])
        if target < self.accounts_max:
            fetch(&self.account[target])
            fetch(&self.balance[target])
        return hash

    cdef void apply_rows(
        self, const lc_row* rows, lc_outcome* outcomes, uint32_t count, uint64_t* rest_lsn
    ) noexcept nogil:
        """Apply rows in their order. The caller holds `count` credits of the ring."""
        cdef uint64_t hashes[PREFETCH_DISTANCE]
        cdef lc_record transfer
        cdef uint64_t hash
        cdef uint32_t i, ahead
        cdef int64_t time_ns = self.now()
        for i in range(min(count, <uint32_t> PREFETCH_DISTANCE)):
            hashes[i] = self.prefetch(rows[i].key, rows[i].source, rows[i].target)
        for i in range(count):
            hash = hashes[i & (PREFETCH_DISTANCE - 1)]
            ahead = i + PREFETCH_DISTANCE
            if ahead < count:
                hashes[i & (PREFETCH_DISTANCE - 1)] = self.prefetch(
                    rows[ahead].key, rows[ahead].source, rows[ahead].target
                )
            start_transfer(&transfer, &rows[i], time_ns)
            self.apply(&transfer, NULL, hash, &outcomes[i], rest_lsn, False)

    cdef void apply_records(
        self, lc_record* records, const char* text, lc_outcome* outcomes, uint32_t count,
        uint64_t* rest_lsn
    ) noexcept nogil:
        """Apply transfers that carry text, in their order; `text` stays until they are durable."""
        cdef uint64_t hashes[PREFETCH_DISTANCE]
        cdef uint64_t hash
        cdef uint32_t i, ahead
        cdef int64_t time_ns = self.now()
        for i in range(min(count, <uint32_t> PREFETCH_DISTANCE)):
            hashes[i] = self.prefetch(records[i].key, records[i].source, records[i].target)
        for i in range(count):
            hash = hashes[i & (PREFETCH_DISTANCE - 1)]
            ahead = i + PREFETCH_DISTANCE
            if ahead < count:
                hashes[i & (PREFETCH_DISTANCE - 1)] = self.prefetch(
                    records[ahead].key, records[ahead].source, records[ahead].target
                )
            records[i].time_ns = time_ns
            self.apply(&records[i], text, hash, &outcomes[i], rest_lsn, False)
