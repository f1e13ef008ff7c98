/* A transfer as it is asked for: one value, from whoever has read it to the record.
 *
 * Its texts point into what was read, and are good no longer than that. Whoever reads a request
 * fills all of it, and nobody takes it apart on the way; so what a transfer gains is added here, to
 * the readers and to the record, and passes through what is between them.
 */
#ifndef LC_TRANSFER_H
#define LC_TRANSFER_H

#include "record.h"
#include "text.h"

typedef struct lc_transfer {
    lc_text client; /* the scope of the key, at most LC_KEY_BYTES_MAX bytes; of length 0: none */
    lc_text key;
    lc_text source, target; /* of length 0 where the slot is told instead */
    uint32_t source_slot, target_slot; /* LC_SLOT_NONE where the id is told */
    lc_text memo; /* of length 0: none */
    int64_t amount;
    int64_t deadline_ns; /* by CLOCK_MONOTONIC, until when it may be applied; 0: at any time */
} lc_transfer;

/* Nothing is asked for yet. */
static inline void lc_transfer_clear(lc_transfer *transfer)
{
    memset(transfer, 0, sizeof(*transfer));
    transfer->source_slot = transfer->target_slot = LC_SLOT_NONE;
}

#endif
