/* The record: 64 bytes, one for each thing that happened, the same in memory, in the ring, in the
 * journal and on a socket. It carries no pointer. Little-endian, no padding.
 *
 *   offset  size  transfer                  account opened/changed     key (snapshots only)
 *        0     8  lsn                       lsn                        position in the snapshot
 *        8     1  kind                      kind                       kind
 *        9     1  status (enum lc_status)   0                          status
 *       10     1  0                         flags (LC_FROZEN)          0
 *       11     1  0                         0                          0
 *       12     4  client (0 = none)         0                          time to live, s
 *       16    16  key fingerprint           floor, ceiling             key fingerprint
 *       32     8  source slot, target slot  slot, asset number         payload digest
 *       40     8  amount                    balance (snapshots only)   lsn of the transfer
 *       48     8  time, ns since 1970       time                       time
 *       56     4  offset of its text in the frame's text section
 *       60     2  length of its text
 *       62     1  bytes of text that name   the account                -
 *                 the source
 *       63     1  bytes of text that name   the asset                  -
 *                 the target
 *
 * A transfer's text is: the source's id, the target's id (each only where no account of that id
 * existed, so that its slot is LC_SLOT_NONE), then the memo, to the end.
 */
#ifndef LC_RECORD_H
#define LC_RECORD_H

#include "base.h"
#include "status.h"

/* ledgercore/layouts.py mirrors this list and the structs below. */
enum lc_kind {
    LC_TRANSFER = 1,
    LC_ACCOUNT_OPENED = 2,
    LC_ACCOUNT_CHANGED = 3,
    /* 4 to 15 are kept for holds, groups and cross-shard steps. */
    LC_ACCOUNT_STATE = 16, /* snapshots only */
    LC_KEY_STATE = 17,     /* snapshots only */
    LC_SNAPSHOT_END = 18,  /* snapshots only: the LSN in `amount`, the number of records in `key` */
};

/* The last LSN. Far below 2^48, where an entry of the key table ends; and below 2^53, so that an id
 * is exact as a double. */
#define LC_LSN_MAX (1ULL << 47)

enum { LC_FROZEN = 1, LC_OPEN = 128 /* in memory only: the slot is in use */ };

typedef struct lc_record {
    uint64_t lsn;
    uint8_t kind;
    uint8_t status;
    uint8_t flags;
    uint8_t reserved;
    uint32_t client;
    union {
        struct {
            uint64_t key[2];
            union {
                struct {
                    uint32_t source;
                    uint32_t target;
                };
                uint64_t digest;
            };
            int64_t amount;
        };
        struct {
            int64_t floor;
            int64_t ceiling;
            uint32_t slot;
            uint32_t asset;
            int64_t balance;
        };
    };
    int64_t time_ns;
    uint32_t text_offset;
    uint16_t text_length;
    uint8_t first_length;
    uint8_t second_length;
} lc_record;

_Static_assert(sizeof(lc_record) == 64, "a record is one cache line");
_Static_assert(offsetof(lc_record, key) == 16 && offsetof(lc_record, floor) == 16, "layout");
_Static_assert(offsetof(lc_record, source) == 32 && offsetof(lc_record, slot) == 32, "layout");
_Static_assert(offsetof(lc_record, amount) == 40 && offsetof(lc_record, balance) == 40, "layout");
_Static_assert(offsetof(lc_record, time_ns) == 48, "layout");
_Static_assert(offsetof(lc_record, second_length) == 63, "layout");

/* Whether a record says nothing but what this program knows. What a newer one wrote must not be
 * taken for damage, nor be applied by half. */
static inline bool lc_record_known(const lc_record *record)
{
    uint8_t flags = 0, status_end = 1;
    bool has_client = false;
    switch (record->kind) {
    case LC_TRANSFER: status_end = LC_OUTCOME_END; break;
    case LC_ACCOUNT_OPENED:
    case LC_ACCOUNT_CHANGED:
    case LC_ACCOUNT_STATE: flags = LC_FROZEN; break;
    case LC_KEY_STATE:
        status_end = LC_OUTCOME_END;
        has_client = true;
        break;
    case LC_SNAPSHOT_END: break;
    default: return false;
    }
    return record->reserved == 0 && (record->flags & ~flags) == 0 && record->status < status_end
           && (has_client || record->client == 0);
}

#define LC_RECORD_TEXT_BYTES_MAX (2 * LC_ACCOUNT_ID_BYTES_MAX + LC_MEMO_BYTES_MAX)

/* A row of a batch, as numpy callers hand it in (ledgercore.TRANSFER). */
typedef struct lc_row {
    uint64_t key[2];
    uint32_t source;
    uint32_t target;
    int64_t amount;
} lc_row;

_Static_assert(sizeof(lc_row) == 32, "ledgercore.TRANSFER");

/* A row of the answer (ledgercore.OUTCOME). It holds all that is told of what was stored, so that
 * no answer reads the ledger again, whose state may be another one by then. */
typedef struct lc_outcome {
    uint64_t lsn;
    int64_t time_ns;
    uint8_t status;
    uint8_t replayed;
    uint16_t asset; /* the number of the transfer's asset + 1; 0 where there is none to tell */
    uint32_t reserved;
} lc_outcome;

_Static_assert(sizeof(lc_outcome) == 24, "ledgercore.OUTCOME");

/* An account in memory, 32 bytes; its balance is in an array of its own. */
typedef struct lc_account {
    int64_t floor;
    int64_t ceiling;
    uint64_t id_hash;
    uint32_t id_offset; /* in the arena of ids */
    uint16_t asset;
    uint8_t id_length;
    uint8_t flags;
} lc_account;

_Static_assert(sizeof(lc_account) == 32, "two accounts a cache line");

#endif
