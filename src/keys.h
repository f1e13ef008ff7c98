/* The idempotency table: what became of each key, for a fixed span of logged time.
 *
 * How long a key lives is settled when it is stored: by the time to live of that moment, which its
 * entry names. So whether a key is alive depends on its entry and the time alone, never on how the
 * table came to hold it: live, replayed, or out of a snapshot.
 *
 * A key belongs to one of `1 << stripes_log2` stripes; everything about a stripe happens under its
 * lock. A stripe holds two generations of open-addressed entries. New keys go into the current one;
 * once its first key has lived its time it becomes the previous one, and what was previous is
 * forgotten, all of it dead by then. Where it is full, lc_keys_make_room and lc_keys_claim refuse,
 * and nothing is forgotten early.
 *
 * Invariant: both generations of all stripes together hold at most `keys_max` keys. A stripe claims
 * places for keys to come, a few at a time, so that its workers meet no others' at each key; what
 * stripes have claimed and not used is at most a 64th. Only a recovery may hold more, of a ledger
 * that was run with a larger `keys_max`: then nothing new is taken until enough has expired.
 *
 * Memory: a generation grows by levels. The caller reserves, for each generation and level, zeroed
 * memory for all stripes; a stripe that is 5/8 full moves its entries up one level, and a level
 * that its last stripe has left goes back to the system. An entry of 40 bytes costs 64 at its best,
 * and 64 to 128 on the way; a generation that follows a full one starts at half its size.
 *
 * Batches take the time once, so those of two workers may come out of order. A stripe's time never
 * goes back all the same (lc_keys_advance): what was forgotten as dead must not be asked for by
 * somebody for whom it is not dead yet.
 */
#ifndef LC_KEYS_H
#define LC_KEYS_H

#include <sys/mman.h>

#include "lock.h"
#include "siphash.h"

enum { LC_KEY_LEVELS_MAX = 24, LC_KEY_LEVEL_BYTES_MIN = 4096, LC_KEY_TTLS_MAX = 256 };
enum { LC_KEY_SECRET_WORDS = 6 };

typedef struct lc_key_entry {
    uint64_t key[2];
    uint64_t lsn_status; /* time to live's number << 56 | lsn << 8 | status; 0 is empty */
    int64_t time_ns;
    uint64_t digest; /* of the payload: source, target, amount, memo */
} lc_key_entry;

_Static_assert(sizeof(lc_key_entry) == 40, "40 bytes at a load of 5/8 are 64 bytes a key");

typedef struct lc_key_generation {
    int64_t started_ns; /* the time of its first key */
    int64_t ends_ns;    /* when the last of its keys has lived its time */
    uint32_t count;
    uint32_t level;
} lc_key_generation;

typedef struct lc_key_stripe {
    lc_lock lock;
    uint16_t current; /* which of the two generations takes new keys */
    uint16_t places;  /* claimed for keys to come */
    lc_key_generation generations[2];
    int64_t last_ns; /* the latest time that anything was decided by */
} lc_key_stripe;

_Static_assert(sizeof(lc_key_stripe) == LC_CACHE_LINE, "no two stripes share a line");

typedef struct lc_key_region {
    lc_key_entry *entries; /* all stripes of this generation and level */
    lc_lock lock;          /* around `users` and giving the memory back */
    uint32_t users;        /* stripes that keep entries here */
} lc_key_region;

typedef struct lc_keys {
    lc_key_stripe *stripes;
    uint32_t stripes_log2;
    uint32_t levels;
    uint32_t capacities[LC_KEY_LEVELS_MAX]; /* entries of one stripe at each level */
    lc_key_region regions[2][LC_KEY_LEVELS_MAX];
    int64_t ttls_ns[LC_KEY_TTLS_MAX]; /* every time to live that was ever in force */
    uint32_t ttl_count;
    uint32_t ttl_current;
    uint64_t secret[LC_KEY_SECRET_WORDS]; /* of lc_keys_hash */
    int64_t keys_max;   /* keys in all stripes and both generations, expired ones included */
    int64_t places;     /* of these, what no stripe has claimed; below 0 where recovery met more */
    uint32_t claim_max; /* places that a stripe claims at a time */
} lc_keys;

static inline uint64_t lc_key_lsn(const lc_key_entry *entry)
{
    return entry->lsn_status << 8 >> 16;
}

static inline uint8_t lc_key_status(const lc_key_entry *entry)
{
    return (uint8_t)entry->lsn_status;
}

static inline int64_t lc_key_ttl_ns(const lc_keys *keys, const lc_key_entry *entry)
{
    return keys->ttls_ns[entry->lsn_status >> 56];
}

/* The time to live for keys from here on; false where too many were in force already. */
static inline bool lc_keys_set_ttl(lc_keys *keys, int64_t ttl_ns)
{
    uint32_t number = 0;
    while (number < keys->ttl_count && keys->ttls_ns[number] != ttl_ns)
        number++;
    if (number == LC_KEY_TTLS_MAX)
        return false;
    keys->ttls_ns[number] = ttl_ns;
    keys->ttl_count = number < keys->ttl_count ? keys->ttl_count : number + 1;
    keys->ttl_current = number;
    return true;
}

/* A key's place. Callers may choose fingerprints at will, so the hash is drawn by a secret: of
 * those that are chosen without it, two meet as seldom as if each had thrown dice. It is the vector
 * multiply-shift of two words (Thorup, "High Speed Hashing for Integers and Strings", 2015, section
 * 3.3), strongly universal for 64 bits out of 128; mixed, for it keeps the steps of keys that are
 * counted up, and now and then a secret would gather those in few stripes. */
static inline uint64_t lc_keys_hash(const lc_keys *keys, const uint64_t key[2])
{
    const uint64_t *secret = keys->secret;
    unsigned __int128 first = (unsigned __int128)secret[0] << 64 | secret[1];
    unsigned __int128 second = (unsigned __int128)secret[2] << 64 | secret[3];
    unsigned __int128 addend = (unsigned __int128)secret[4] << 64 | secret[5];
    return lc_mix((uint64_t)((first * key[0] + second * key[1] + addend) >> 64));
}

/* Draw the hash by the key that nobody outside knows. */
static inline void lc_keys_draw(lc_keys *keys, lc_hash_key hash_key)
{
    for (uint64_t i = 0; i < LC_KEY_SECRET_WORDS; i++)
        keys->secret[i] = lc_siphash(hash_key, &i, sizeof(i)).high;
}

static inline lc_key_stripe *lc_keys_stripe(const lc_keys *keys, uint64_t hash)
{
    return &keys->stripes[hash >> (64 - keys->stripes_log2)];
}

static inline lc_key_entry *lc_keys_entries(const lc_keys *keys, const lc_key_stripe *stripe,
                                            uint32_t generation, uint32_t level)
{
    size_t number = (size_t)(stripe - keys->stripes);
    return keys->regions[generation][level].entries + number * keys->capacities[level];
}

static inline uint32_t lc_keys_position(uint64_t hash, uint32_t capacity)
{
    return (uint32_t)((hash & UINT32_MAX) * capacity >> 32);
}

/* Ask for the lines that a later find will read. Takes no lock: a stale place costs a miss. */
static inline void lc_keys_prefetch(const lc_keys *keys, uint64_t hash)
{
    const lc_key_stripe *stripe = lc_keys_stripe(keys, hash);
    uint16_t current = __atomic_load_n(&stripe->current, __ATOMIC_RELAXED);
    uint32_t level = __atomic_load_n(&stripe->generations[current].level, __ATOMIC_RELAXED);
    const lc_key_entry *entry = lc_keys_entries(keys, stripe, current, level)
                                + lc_keys_position(hash, keys->capacities[level]);
    __builtin_prefetch(entry, 1);
    __builtin_prefetch((const char *)entry + LC_CACHE_LINE, 1);
}

/* The entry of `key` in one generation, or the empty entry where it would go. */
static inline lc_key_entry *lc_keys_probe(const lc_keys *keys, const lc_key_stripe *stripe,
                                          uint32_t generation, uint64_t hash, const uint64_t key[2])
{
    uint32_t level = stripe->generations[generation].level;
    uint32_t capacity = keys->capacities[level];
    lc_key_entry *entries = lc_keys_entries(keys, stripe, generation, level);
    uint32_t i = lc_keys_position(hash, capacity);
    while (entries[i].lsn_status != 0
           && (entries[i].key[0] != key[0] || entries[i].key[1] != key[1]))
        i = i + 1 == capacity ? 0 : i + 1;
    return &entries[i];
}

/* The entry of `key`, expired or not, or NULL. The stripe's lock is held. */
static inline lc_key_entry *lc_keys_find(const lc_keys *keys, const lc_key_stripe *stripe,
                                         uint64_t hash, const uint64_t key[2])
{
    lc_key_entry *entry = lc_keys_probe(keys, stripe, stripe->current, hash, key);
    if (entry->lsn_status != 0)
        return entry;
    uint32_t previous = !stripe->current;
    if (LC_LIKELY(stripe->generations[previous].count == 0))
        return NULL;
    entry = lc_keys_probe(keys, stripe, previous, hash, key);
    return entry->lsn_status != 0 ? entry : NULL;
}

/* The time at which a stripe decides, given the time of a batch. The stripe's lock is held. */
static inline int64_t lc_keys_advance(lc_key_stripe *stripe, int64_t now_ns)
{
    if (stripe->last_ns < now_ns)
        stripe->last_ns = now_ns;
    return stripe->last_ns;
}

static inline bool lc_keys_expired(const lc_keys *keys, const lc_key_entry *entry, int64_t now_ns)
{
    return now_ns - entry->time_ns >= lc_key_ttl_ns(keys, entry);
}

static inline void lc_keys_enter(lc_key_region *region)
{
    lc_lock_acquire(&region->lock);
    region->users++;
    lc_lock_release(&region->lock);
}

/* The last stripe to leave a level gives its memory back; zeroed pages come in when it is used
 * again. Entering waits for that, so that no fresh entry is dropped with the old ones. */
static inline void lc_keys_leave(const lc_keys *keys, lc_key_region *region, uint32_t level)
{
    lc_lock_acquire(&region->lock);
    if (--region->users == 0) {
        size_t bytes = (size_t)keys->capacities[level] * sizeof(lc_key_entry)
                       << keys->stripes_log2;
        if (bytes >= LC_KEY_LEVEL_BYTES_MIN)
            madvise(region->entries, bytes, MADV_DONTNEED);
    }
    lc_lock_release(&region->lock);
}

LC_COLD void lc_keys_grow(lc_keys *keys, lc_key_stripe *stripe)
{
    uint32_t current = stripe->current;
    lc_key_generation *generation = &stripe->generations[current];
    uint32_t level = generation->level;
    lc_key_entry *old = lc_keys_entries(keys, stripe, current, level);
    lc_keys_enter(&keys->regions[current][level + 1]);
    __atomic_store_n(&generation->level, level + 1, __ATOMIC_RELAXED);
    memset(lc_keys_entries(keys, stripe, current, level + 1), 0,
           (size_t)keys->capacities[level + 1] * sizeof(lc_key_entry));
    for (uint32_t i = 0; i < keys->capacities[level]; i++) {
        if (old[i].lsn_status != 0) {
            uint64_t hash = lc_keys_hash(keys, old[i].key);
            *lc_keys_probe(keys, stripe, current, hash, old[i].key) = old[i];
        }
    }
    lc_keys_leave(keys, &keys->regions[current][level], level);
}

/* Forget a generation, all of whose keys are dead, and begin it anew at a level. */
LC_COLD void lc_keys_forget(lc_keys *keys, lc_key_stripe *stripe, uint32_t which, uint32_t level)
{
    lc_key_generation *generation = &stripe->generations[which];
    __atomic_fetch_add(&keys->places, generation->count, __ATOMIC_RELAXED);
    lc_keys_enter(&keys->regions[which][level]);
    lc_keys_leave(keys, &keys->regions[which][generation->level], generation->level);
    __atomic_store_n(&generation->level, level, __ATOMIC_RELAXED);
    generation->count = 0;
    generation->ends_ns = INT64_MIN;
    memset(lc_keys_entries(keys, stripe, which, level), 0,
           (size_t)keys->capacities[level] * sizeof(lc_key_entry));
}

/* The current generation becomes the previous one. The new one starts at the same level, for it
 * will hold as many keys; but below the last level, which both cannot fill. */
LC_COLD void lc_keys_rotate(lc_keys *keys, lc_key_stripe *stripe)
{
    uint32_t level = stripe->generations[stripe->current].level;
    uint32_t next = !stripe->current;
    lc_keys_forget(keys, stripe, next, level > 0 && level + 1 == keys->levels ? level - 1 : level);
    __atomic_store_n(&stripe->current, (uint16_t)next, __ATOMIC_RELAXED);
}

/* Claim places for a stripe that has none left; whether there were any. */
LC_COLD bool lc_keys_claim_more(lc_keys *keys, lc_key_stripe *stripe, int64_t now_ns)
{
    const lc_key_generation *previous = &stripe->generations[!stripe->current];
    int64_t places = __atomic_load_n(&keys->places, __ATOMIC_RELAXED), count;
    if (places <= 0 && previous->count > 0 && now_ns >= previous->ends_ns) {
        lc_keys_forget(keys, stripe, !stripe->current, 0);
        places = __atomic_load_n(&keys->places, __ATOMIC_RELAXED);
    }
    do {
        count = places < keys->claim_max ? places : keys->claim_max;
        if (count <= 0)
            return false;
    } while (!__atomic_compare_exchange_n(&keys->places, &places, places - count, false,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    stripe->places = (uint16_t)count;
    return true;
}

/* Claim the place of one more key, so that there are never more than `keys_max`; false where there
 * is none. The stripe's lock is held. */
static inline bool lc_keys_claim(lc_keys *keys, lc_key_stripe *stripe, int64_t now_ns)
{
    if (LC_UNLIKELY(stripe->places == 0 && !lc_keys_claim_more(keys, stripe, now_ns)))
        return false;
    stripe->places--;
    return true;
}

/* Count the places that are left once a recovery has put in what it found. Nobody else is there. */
static inline void lc_keys_settle(lc_keys *keys)
{
    keys->places = keys->keys_max;
    for (uint32_t i = 0; i < 1u << keys->stripes_log2; i++) {
        const lc_key_stripe *stripe = &keys->stripes[i];
        keys->places -= (int64_t)stripe->generations[0].count + stripe->generations[1].count;
        keys->places -= stripe->places;
    }
}

/* Whether one more key fits: rotates or grows if that is what it takes. The stripe's lock is held.
 */
static inline bool lc_keys_make_room(lc_keys *keys, lc_key_stripe *stripe, int64_t now_ns)
{
    lc_key_generation *generation = &stripe->generations[stripe->current];
    const lc_key_generation *previous = &stripe->generations[!stripe->current];
    int64_t ttl_ns = keys->ttls_ns[keys->ttl_current];
    if (LC_UNLIKELY(generation->count > 0 && now_ns - generation->started_ns >= ttl_ns
                    && (previous->count == 0 || now_ns >= previous->ends_ns))) {
        lc_keys_rotate(keys, stripe);
        generation = &stripe->generations[stripe->current];
    }
    if (LC_UNLIKELY(generation->count >= keys->capacities[generation->level] / 8 * 5)) {
        if (generation->level + 1 == keys->levels)
            return false;
        lc_keys_grow(keys, stripe);
    }
    return true;
}

/* Remember a key for which room was made. What the current generation holds of it is dead: an older
 * ledgercore took keys anew whose time was over, and its journals are replayed as they are. */
static inline void lc_keys_insert(lc_keys *keys, lc_key_stripe *stripe, uint64_t hash,
                                  const lc_key_entry *entry)
{
    lc_key_generation *generation = &stripe->generations[stripe->current];
    lc_key_entry *place = lc_keys_probe(keys, stripe, stripe->current, hash, entry->key);
    int64_t ends_ns = entry->time_ns + lc_key_ttl_ns(keys, entry);
    if (generation->count == 0)
        generation->started_ns = entry->time_ns;
    if (generation->count == 0 || generation->ends_ns < ends_ns)
        generation->ends_ns = ends_ns;
    if (place->lsn_status == 0)
        generation->count++;
    *place = *entry;
}

/* Give every stripe its first level, `level` in the current generation. `stripes` and all regions
 * are zeroed memory. */
static inline void lc_keys_start(lc_keys *keys, uint32_t level)
{
    uint32_t stripes = 1u << keys->stripes_log2;
    keys->regions[0][level].users = stripes;
    keys->regions[1][0].users = stripes;
    for (uint32_t i = 0; i < stripes; i++)
        keys->stripes[i].generations[0].level = level;
}

#endif
