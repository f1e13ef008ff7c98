/* Account id to slot: open addressing over caller-owned, zeroed memory, insert only.
 *
 * A bucket holds the upper half of the id's hash and the slot + 1; 0 is empty. One writer at a time
 * (the caller's lock); readers take no lock: a bucket is published whole, after its account.
 * At most half of the buckets are used, so that a probe always ends.
 */
#ifndef LC_INDEX_H
#define LC_INDEX_H

#include "record.h"

typedef struct lc_index {
    uint64_t *buckets;
    uint64_t mask; /* number of buckets - 1, a power of two - 1 */
} lc_index;

static inline bool lc_index_matches(const lc_account *account, const char *ids, uint64_t hash,
                                    const char *id, size_t length)
{
    return account->id_hash == hash && account->id_length == length
           && memcmp(ids + account->id_offset, id, length) == 0;
}

/* The slot of the account with this id, or LC_SLOT_NONE. `hash` is the id's. */
static inline uint32_t lc_index_find(const lc_index *index, const lc_account *accounts,
                                     const char *ids, uint64_t hash, const char *id, size_t length)
{
    for (uint64_t i = hash & index->mask;; i = (i + 1) & index->mask) {
        uint64_t bucket = __atomic_load_n(&index->buckets[i], __ATOMIC_ACQUIRE);
        if (bucket == 0)
            return LC_SLOT_NONE;
        if (bucket >> 32 == hash >> 32) {
            uint32_t slot = (uint32_t)bucket - 1;
            if (lc_index_matches(&accounts[slot], ids, hash, id, length))
                return slot;
        }
    }
}

/* Ask for the memory that lc_index_find reads first. */
static inline void lc_index_prefetch(const lc_index *index, uint64_t hash)
{
    __builtin_prefetch(&index->buckets[hash & index->mask]);
}

/* Publish an account that is not in the index yet. The caller has seen to it that there is room. */
static inline void lc_index_insert(lc_index *index, uint64_t hash, uint32_t slot)
{
    uint64_t i = hash & index->mask;
    while (index->buckets[i] != 0)
        i = (i + 1) & index->mask;
    uint64_t bucket = (hash >> 32 << 32) | (slot + 1);
    __atomic_store_n(&index->buckets[i], bucket, __ATOMIC_RELEASE);
}

#endif
