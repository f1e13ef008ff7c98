/* The digest of a transfer's payload, by which a repeat is distinguished from another transfer
 * under the same key.
 *
 * A payload is the source, the target, the amount and the memo. An account counts by the hash of
 * its id, so that it is one and the same by slot and by name; an id that names no account counts by
 * its own hash, and a slot that holds none by its number.
 */
#ifndef LC_PAYLOAD_H
#define LC_PAYLOAD_H

#include "record.h"
#include "siphash.h"

/* The accounts of a ledger, as far as a payload needs them. */
typedef struct lc_parties {
    lc_hash_key hash_key;
    const lc_account *accounts;
    uint32_t count_max;
} lc_parties;

static inline uint64_t lc_party_hash(const lc_parties *parties, uint32_t slot, const char *id,
                                     size_t length)
{
    if (length > 0) /* It was not there when it was looked up; by now it may be. */
        return lc_siphash(parties->hash_key, id, length).low;
    const lc_account *account = &parties->accounts[slot];
    bool is_open = slot < parties->count_max
                   && __atomic_load_n(&account->flags, __ATOMIC_ACQUIRE) & LC_OPEN;
    return is_open ? account->id_hash : lc_mix(slot);
}

/* Equal digests mean the same payload, but for one chance in 2^64. */
static inline uint64_t lc_payload_digest(uint64_t source_hash, uint64_t target_hash,
                                         int64_t amount, uint64_t memo_hash)
{
    uint64_t digest = lc_mix((uint64_t)amount + lc_mix(memo_hash));
    return lc_mix(source_hash + lc_mix(target_hash + digest));
}

static inline uint64_t lc_payload_of(const lc_parties *parties, const lc_record *transfer,
                                     const char *text)
{
    size_t first = transfer->first_length, second = transfer->second_length;
    size_t named = first + second;
    uint64_t memo = 0;
    text = transfer->text_length > 0 ? text + transfer->text_offset : "";
    if (LC_UNLIKELY(transfer->text_length > named))
        memo = lc_siphash(parties->hash_key, text + named, transfer->text_length - named).low;
    return lc_payload_digest(lc_party_hash(parties, transfer->source, text, first),
                             lc_party_hash(parties, transfer->target, text + first, second),
                             transfer->amount, memo);
}

/* Whether a payload by slots is the one with this digest, from when a slot held no account yet. */
static inline bool lc_payload_was_unopened(const lc_parties *parties, const lc_record *transfer,
                                           uint64_t digest)
{
    if (transfer->text_length > 0)
        return false;
    uint64_t source = lc_party_hash(parties, transfer->source, NULL, 0);
    uint64_t target = lc_party_hash(parties, transfer->target, NULL, 0);
    uint64_t bare_source = lc_mix(transfer->source), bare_target = lc_mix(transfer->target);
    return digest == lc_payload_digest(bare_source, target, transfer->amount, 0)
           || digest == lc_payload_digest(source, bare_target, transfer->amount, 0)
           || digest == lc_payload_digest(bare_source, bare_target, transfer->amount, 0);
}

#endif
