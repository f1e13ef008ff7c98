"""Every declaration of C that the engine uses: src/*.h and the system, and nothing else."""

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "base.h" nogil:
    const int LC_ACCOUNT_ID_BYTES_MAX, LC_ASSETS_MAX
    const uint32_t LC_SLOT_NONE
    const int64_t LC_FLOOR_NONE, LC_CEILING_NONE
    bint lc_add_overflows(int64_t a, int64_t b, int64_t* sum)
    bint lc_subtract_overflows(int64_t a, int64_t b, int64_t* difference)
    bint LC_UNLIKELY(bint x)


cdef extern from "status.h" nogil:
    const uint8_t LC_APPLIED, LC_SOURCE_NOT_FOUND, LC_TARGET_NOT_FOUND, LC_SAME_ACCOUNT
    const uint8_t LC_ASSET_MISMATCH, LC_SOURCE_FROZEN, LC_TARGET_FROZEN, LC_INSUFFICIENT_FUNDS
    const uint8_t LC_CEILING_EXCEEDED, LC_BALANCE_OVERFLOW, LC_OUTCOME_END
    const uint8_t LC_KEY_MISSING, LC_AMOUNT_INVALID, LC_KEY_REUSED, LC_KEYS_FULL
    const uint8_t LC_DEADLINE_PASSED, LC_KEY_EXPIRED, LC_LEDGER_FULL, LC_STATUS_END


cdef extern from "record.h" nogil:
    const uint8_t LC_TRANSFER, LC_ACCOUNT_OPENED, LC_ACCOUNT_CHANGED
    const uint8_t LC_ACCOUNT_STATE, LC_KEY_STATE, LC_SNAPSHOT_END
    const uint8_t LC_FROZEN, LC_OPEN
    const int LC_RECORD_TEXT_BYTES_MAX
    const uint64_t LC_LSN_MAX

    ctypedef struct lc_record:
        uint64_t lsn
        uint8_t kind, status, flags
        uint32_t client
        uint64_t key[2]
        uint32_t source, target
        uint64_t digest
        int64_t amount, floor, ceiling
        uint32_t slot, asset
        int64_t balance, time_ns
        uint32_t text_offset
        uint16_t text_length
        uint8_t first_length, second_length

    bint lc_record_known(const lc_record* record)

    ctypedef struct lc_row:
        uint64_t key[2]
        uint32_t source, target
        int64_t amount

    ctypedef struct lc_outcome:
        uint64_t lsn
        int64_t time_ns
        uint8_t status, replayed
        uint16_t asset

    ctypedef struct lc_account:
        int64_t floor, ceiling
        uint64_t id_hash
        uint32_t id_offset
        uint16_t asset
        uint8_t id_length, flags


cdef extern from "text.h" nogil:
    const int LC_KEY_BYTES_MAX
    const uint8_t LC_BYTE_ID, LC_BYTE_KEY

    ctypedef struct lc_text:
        const char* start
        uint32_t length

    bint lc_is_class(lc_text text, uint8_t byte_class)


cdef extern from "transfer.h" nogil:
    ctypedef struct lc_transfer:
        lc_text client, key, source, target, memo
        uint32_t source_slot, target_slot
        int64_t amount, deadline_ns

    void lc_transfer_clear(lc_transfer* transfer)


cdef extern from "clock.h" nogil:
    int64_t lc_monotonic_ns()
    int64_t lc_wall_s()


cdef extern from "logged_time.h" nogil:
    ctypedef struct lc_time_anchor:
        int64_t boot_ns, logged_ns, slow_ns

    ctypedef struct lc_logged_time:
        int64_t lead_ns

    lc_time_anchor lc_time_anchor_at(int64_t boot_ns, int64_t logged_ns, int64_t wall_ns)
    uint64_t lc_logged_time_version(const lc_logged_time* time)
    lc_time_anchor lc_logged_time_anchor(const lc_logged_time* time)
    void lc_logged_time_set(lc_logged_time* time, lc_time_anchor anchor)
    int64_t lc_logged_at(const lc_time_anchor* anchor, int64_t boot_ns)
    void lc_logged_time_look(lc_logged_time* time)
    void lc_logged_time_begin(lc_logged_time* time)
    int64_t lc_logged_time_now(lc_logged_time* time)


cdef extern from "histogram.h" nogil:
    const int LC_HISTOGRAM_BUCKETS

    ctypedef struct lc_histogram:
        uint64_t* counts
        uint64_t sum

    void lc_histogram_record(lc_histogram* histogram, int64_t value, uint64_t times)
    uint64_t lc_histogram_read(const lc_histogram* histogram, uint64_t* counts)


cdef extern from "meters.h" nogil:
    const int LC_METER_JOURNAL, LC_METERS_END

    ctypedef struct lc_meters:
        lc_histogram* histograms
        uint64_t* outcomes
        uint64_t replays, journal_bytes
        bint is_on

    int64_t lc_meters_look(const lc_meters* meters)
    void lc_meters_note_batch(
        lc_meters* meters, uint32_t count, int64_t queued_ns, int64_t begun_ns, int64_t applied_ns
    )
    void lc_meters_note_group(lc_meters* meters, uint32_t count, uint32_t bytes, int64_t begun_ns)
    uint32_t lc_meters_count(lc_meters* meters, const lc_outcome* outcomes, uint32_t count)


cdef extern from "siphash.h" nogil:
    ctypedef struct lc_hash_key:
        uint64_t k0, k1

    ctypedef struct lc_hash128:
        uint64_t low, high

    lc_hash128 lc_siphash(lc_hash_key key, const void* data, size_t length)


cdef extern from "payload.h" nogil:
    ctypedef struct lc_parties:
        lc_hash_key hash_key
        const lc_account* accounts
        uint32_t count_max

    uint64_t lc_payload_of(
        const lc_parties* parties, const lc_record* transfer, const char* text
    )
    bint lc_payload_was_unopened(
        const lc_parties* parties, const lc_record* transfer, uint64_t digest
    )


cdef extern from "crc32c.h" nogil:
    uint32_t lc_crc32c(uint32_t crc, const void* data, size_t length)
    uint32_t lc_crc32c_bitwise(uint32_t crc, const uint8_t* data, size_t length)


cdef extern from "lock.h" nogil:
    ctypedef struct lc_lock:
        uint32_t state

    ctypedef struct lc_stripe:
        lc_lock lock

    void lc_lock_acquire(lc_lock* lock)
    void lc_lock_release(lc_lock* lock)
    void lc_stripes_acquire(lc_stripe* stripes, uint32_t a, uint32_t b)
    void lc_stripes_release(lc_stripe* stripes, uint32_t a, uint32_t b)


cdef extern from "index.h" nogil:
    ctypedef struct lc_index:
        uint64_t* buckets
        uint64_t mask

    uint32_t lc_index_find(
        const lc_index* index, const lc_account* accounts, const char* ids,
        uint64_t hash, const char* id, size_t length
    )
    void lc_index_prefetch(const lc_index* index, uint64_t hash)
    void lc_index_insert(lc_index* index, uint64_t hash, uint32_t slot)


cdef extern from "keys.h" nogil:
    const int LC_KEY_LEVELS_MAX

    ctypedef struct lc_key_entry:
        uint64_t key[2]
        uint64_t lsn_status
        int64_t time_ns
        uint64_t digest

    ctypedef struct lc_key_generation:
        uint32_t count, level

    ctypedef struct lc_key_stripe:
        lc_lock lock
        uint16_t current
        lc_key_generation generations[2]

    ctypedef struct lc_key_region:
        lc_key_entry* entries

    ctypedef struct lc_keys:
        lc_key_stripe* stripes
        uint32_t stripes_log2, levels
        uint32_t capacities[24]
        lc_key_region regions[2][24]
        int64_t ttls_ns[256]
        uint32_t ttl_count, ttl_current
        int64_t keys_max
        uint32_t claim_max

    uint64_t lc_key_lsn(const lc_key_entry* entry)
    uint8_t lc_key_status(const lc_key_entry* entry)
    int64_t lc_key_ttl_ns(const lc_keys* keys, const lc_key_entry* entry)
    bint lc_keys_set_ttl(lc_keys* keys, int64_t ttl_ns)

    uint64_t lc_keys_hash(const lc_keys* keys, const uint64_t* key)
    lc_key_stripe* lc_keys_stripe(const lc_keys* keys, uint64_t hash)
    lc_key_entry* lc_keys_entries(
        const lc_keys* keys, const lc_key_stripe* stripe, uint32_t generation, uint32_t level
    )
    void lc_keys_prefetch(const lc_keys* keys, uint64_t hash)
    lc_key_entry* lc_keys_find(
        const lc_keys* keys, const lc_key_stripe* stripe, uint64_t hash, const uint64_t* key
    )
    int64_t lc_keys_advance(lc_key_stripe* stripe, int64_t now_ns)
    bint lc_keys_expired(const lc_keys* keys, const lc_key_entry* entry, int64_t now_ns)
    bint lc_keys_make_room(lc_keys* keys, lc_key_stripe* stripe, int64_t now_ns)
    bint lc_keys_claim(lc_keys* keys, lc_key_stripe* stripe, int64_t now_ns)
    void lc_keys_settle(lc_keys* keys)
    void lc_keys_draw(lc_keys* keys, lc_hash_key hash_key)
    void lc_keys_insert(
        lc_keys* keys, lc_key_stripe* stripe, uint64_t hash, const lc_key_entry* entry
    )
    void lc_keys_start(lc_keys* keys, uint32_t level)


cdef extern from "ring.h" nogil:
    ctypedef struct lc_ring:
        lc_record* slots
        const char** texts
        uint64_t mask
        uint64_t last_lsn
        int64_t credits

    uint64_t lc_ring_take(lc_ring* ring)
    uint64_t lc_ring_last(const lc_ring* ring)
    void lc_ring_publish(lc_ring* ring, const lc_record* record, const char* text)
    bint lc_ring_read(const lc_ring* ring, uint64_t lsn, lc_record* record)
    bint lc_ring_ready(const lc_ring* ring, uint64_t lsn)
    bint lc_ring_reserve(lc_ring* ring, int64_t count)
    void lc_ring_release(lc_ring* ring, int64_t count)
    uint32_t lc_ring_collect(
        const lc_ring* ring, uint64_t lsn, lc_record* frame_records, uint32_t count_max,
        char* text, uint32_t text_max, uint32_t* text_length
    )


cdef extern from "frame.h" nogil:
    const uint32_t LC_SEGMENT_JOURNAL, LC_SEGMENT_SNAPSHOT
    const int LC_SEGMENT_HEADER_BYTES, LC_FRAME_ALIGNMENT, LC_FRAME_BYTES_MAX
    const uint32_t LC_FRAME_RECORDS_MAX, LC_FRAME_TEXT_BYTES_MAX, LC_GROUP_TEXT_SPARE

    ctypedef struct lc_segment_header:
        uint32_t version, kind
        uint64_t salt, number, first_lsn
        uint32_t previous_crc
        uint8_t ledger_id[16]
        uint64_t hash_key[2]
        int64_t created_ns, key_ttl_ns
        uint32_t crc

    ctypedef struct lc_frame:
        uint64_t salt, first_lsn
        uint32_t count, length
        uint64_t synced_lsn
        uint32_t previous_crc, body_crc, text_length, crc

    ctypedef enum lc_frame_check_result "enum lc_frame_check":
        LC_FRAME_GOOD, LC_FRAME_END, LC_FRAME_BAD, LC_FRAME_NEWER

    lc_record* lc_frame_records(const lc_frame* frame)
    char* lc_frame_text(const lc_frame* frame)
    uint64_t lc_frame_last_lsn(const lc_frame* frame)
    uint32_t lc_frame_finish(
        lc_frame* frame, uint64_t salt, uint32_t previous_crc, uint64_t synced_lsn
    )
    lc_frame_check_result lc_frame_check(const void* data, uint64_t available, uint64_t salt)
    uint64_t lc_frame_find_later_synced(
        const uint8_t* file, uint64_t size, uint64_t offset, uint64_t salt, uint64_t lsn
    )
    uint64_t lc_content_end(const uint8_t* file, uint64_t size, uint64_t offset)
    void lc_segment_finish(lc_segment_header* header)
    lc_frame_check_result lc_segment_check(const lc_segment_header* header)


cdef extern from "queue.h" nogil:
    const int LC_QUEUE_TAKEN, LC_QUEUE_FULL, LC_QUEUE_CLOSED

    ctypedef struct lc_queue:
        pass

    void lc_queue_start(lc_queue* queue, void** items, uint64_t weight_max)
    void lc_queue_stop(lc_queue* queue)
    int lc_queue_push(lc_queue* queue, void* item, uint64_t weight)
    void* lc_queue_pop(lc_queue* queue)
    void lc_queue_done(lc_queue* queue, uint64_t weight)
    void lc_queue_retire(lc_queue* queue, uint32_t count)
    void lc_queue_stall(lc_queue* queue, bint stalled)
    bint lc_queue_is_free(lc_queue* queue)
    uint64_t lc_queue_busy_ns(lc_queue* queue)
    void lc_queue_add_busy(lc_queue* queue, int64_t busy_ns)
    uint64_t lc_queue_depth(lc_queue* queue)
    void lc_queue_close(lc_queue* queue)


cdef extern from "<pthread.h>" nogil:
    ctypedef struct pthread_mutex_t:
        pass
    ctypedef struct pthread_cond_t:
        pass
    int pthread_mutex_init(pthread_mutex_t* mutex, void* attributes)
    int pthread_mutex_destroy(pthread_mutex_t* mutex)
    int pthread_mutex_lock(pthread_mutex_t* mutex)
    int pthread_mutex_unlock(pthread_mutex_t* mutex)
    int pthread_cond_init(pthread_cond_t* condition, void* attributes)
    int pthread_cond_destroy(pthread_cond_t* condition)
    int pthread_cond_signal(pthread_cond_t* condition)
    int pthread_cond_broadcast(pthread_cond_t* condition)
    int pthread_cond_wait(pthread_cond_t* condition, pthread_mutex_t* mutex)


cdef extern from "wait.h" nogil:
    void lc_mutex_start(pthread_mutex_t* mutex)
    void lc_mutex_assert_not_held(pthread_mutex_t* mutex)
    void lc_condition_start(pthread_cond_t* condition)
    bint lc_condition_wait(
        pthread_cond_t* condition, pthread_mutex_t* mutex, uint32_t timeout_ms
    )


cdef extern from "file.h" nogil:
    const int LC_FILL_BYTES
    int lc_write_all(int fd, const void* data, size_t length, uint64_t offset)
    int lc_sync_data(int fd)
    int lc_fill_zeros(int fd, uint64_t offset, uint64_t end, const uint8_t* zeros)


cdef extern from "seal.h" nogil:
    const int LC_SEAL_BYTES

    ctypedef enum lc_seal_check_result "enum lc_seal_check":
        LC_SEAL_GOOD, LC_SEAL_BAD, LC_SEAL_NEWER

    ctypedef struct lc_seal:
        uint64_t sequence, synced_lsn, segment
        uint8_t ledger_id[16]
        uint32_t frame_crc, clean

    uint64_t lc_seal_finish(lc_seal* seal)
    int lc_seal_write(int fd, lc_seal* seal)
    lc_seal_check_result lc_seal_read(const uint8_t* file, size_t length, lc_seal* seal)
