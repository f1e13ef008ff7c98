/* The journal ring: finished records on their way from the workers to the journal, in LSN order.
 *
 * A worker takes an LSN while it holds the stripe locks of what it changed, then fills
 * slot[lsn & mask]; the slot is ready when the LSN stored in it is the one expected. The reader
 * takes the ready prefix. A worker holds a credit for every LSN that it may take, so that no slot
 * is filled before it was read. Caller-owned, zeroed memory.
 *
 * Without a journal nobody reads, credits are not used, and the ring is a memory of the last
 * `mask + 1` records.
 */
#ifndef LC_RING_H
#define LC_RING_H

#include "record.h"

enum { LC_RECORD_WORDS = sizeof(lc_record) / sizeof(uint64_t) };

typedef struct lc_ring {
    lc_record *slots;
    const char **texts; /* of the record in the same slot; valid until it is durable */
    uint64_t mask;
    uint8_t padding_1[LC_CACHE_LINE];
    uint64_t last_lsn; /* the newest LSN taken */
    uint8_t padding_2[LC_CACHE_LINE];
    int64_t credits; /* LSNs that may be taken before the reader frees slots */
    uint8_t padding_3[LC_CACHE_LINE];
} lc_ring;

/* Take the next LSN. Sequential consistency costs nothing here: it is one locked instruction. */
static inline uint64_t lc_ring_take(lc_ring *ring)
{
    return __atomic_add_fetch(&ring->last_lsn, 1, __ATOMIC_SEQ_CST);
}

static inline uint64_t lc_ring_last(const lc_ring *ring)
{
    return __atomic_load_n(&ring->last_lsn, __ATOMIC_SEQ_CST);
}

/* Publish a record under the LSN that it holds. The slot is marked empty first and named last, and
 * each word is released, so that whoever acquires one word of this record cannot find the LSN of
 * the one before it any more (lc_ring_read). On x86-64 these are plain stores. */
static inline void lc_ring_publish(lc_ring *ring, const lc_record *record, const char *text)
{
    uint64_t i = record->lsn & ring->mask;
    uint64_t *slot = (uint64_t *)&ring->slots[i];
    uint64_t words[LC_RECORD_WORDS];
    memcpy(words, record, sizeof(words));
    ring->texts[i] = text;
    __atomic_store_n(&slot[0], 0, __ATOMIC_RELAXED);
    for (int word = 1; word < LC_RECORD_WORDS; word++)
        __atomic_store_n(&slot[word], words[word], __ATOMIC_RELEASE);
    __atomic_store_n(&slot[0], words[0], __ATOMIC_RELEASE);
}

/* Copy the record of an LSN, while others publish; false where the ring does not hold it whole. Its
 * text is not read: that may be gone. */
static inline bool lc_ring_read(const lc_ring *ring, uint64_t lsn, lc_record *record)
{
    const uint64_t *slot = (const uint64_t *)&ring->slots[lsn & ring->mask];
    uint64_t words[LC_RECORD_WORDS];
    for (int word = 0; word < LC_RECORD_WORDS; word++)
        words[word] = __atomic_load_n(&slot[word], __ATOMIC_ACQUIRE);
    memcpy(record, words, sizeof(*record));
    return lsn != 0 && words[0] == lsn && __atomic_load_n(&slot[0], __ATOMIC_RELAXED) == lsn;
}

static inline bool lc_ring_ready(const lc_ring *ring, uint64_t lsn)
{
    return __atomic_load_n(&ring->slots[lsn & ring->mask].lsn, __ATOMIC_ACQUIRE) == lsn;
}

static inline bool lc_ring_reserve(lc_ring *ring, int64_t count)
{
    int64_t credits = __atomic_load_n(&ring->credits, __ATOMIC_RELAXED);
    while (credits >= count)
        if (__atomic_compare_exchange_n(&ring->credits, &credits, credits - count, false,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return true;
    return false;
}

static inline void lc_ring_release(lc_ring *ring, int64_t count)
{
    __atomic_fetch_add(&ring->credits, count, __ATOMIC_RELEASE);
}

/* Move the ready records from `lsn` on, with their texts, into a frame's body at `frame_records`
 * (room for `count_max`) and `text` (room for `text_max`). Returns their number. */
static inline uint32_t lc_ring_collect(const lc_ring *ring, uint64_t lsn, lc_record *frame_records,
                                       uint32_t count_max, char *text, uint32_t text_max,
                                       uint32_t *text_length)
{
    uint32_t count = 0, used = 0;
    while (count < count_max && used + LC_RECORD_TEXT_BYTES_MAX <= text_max
           && lc_ring_ready(ring, lsn + count)) {
        uint64_t i = (lsn + count) & ring->mask;
        lc_record *record = &frame_records[count];
        *record = ring->slots[i];
        if (record->text_length > 0)
            memcpy(text + used, ring->texts[i] + record->text_offset, record->text_length);
        record->text_offset = used;
        used += record->text_length;
        count++;
    }
    *text_length = used;
    return count;
}

#endif
