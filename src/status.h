/* What becomes of a transfer.
 *
 * Values below LC_REJECTION_FIRST are outcomes: logged, numbered by an LSN, and stored with their
 * key; they are part of the journal's format, so a number never changes its meaning. The others
 * are rejections: nothing was stored.
 * ledgercore/status.py mirrors this list.
 */
#ifndef LC_STATUS_H
#define LC_STATUS_H

enum lc_status {
    LC_APPLIED = 0,
    LC_SOURCE_NOT_FOUND = 1,
    LC_TARGET_NOT_FOUND = 2,
    LC_SAME_ACCOUNT = 3,
    LC_ASSET_MISMATCH = 4,
    LC_SOURCE_FROZEN = 5,
    LC_TARGET_FROZEN = 6,
    LC_INSUFFICIENT_FUNDS = 7,
    LC_CEILING_EXCEEDED = 8,
    LC_BALANCE_OVERFLOW = 9,
    LC_OUTCOME_END = 10,

    LC_REJECTION_FIRST = 64,
    LC_KEY_MISSING = 64,
    LC_AMOUNT_INVALID = 65,
    LC_KEY_REUSED = 66,
    LC_KEYS_FULL = 67,
    LC_DEADLINE_PASSED = 68,
    LC_KEY_EXPIRED = 69,
    LC_LEDGER_FULL = 70,
    LC_STATUS_END = 71,
};

/* The name of a status, or NULL where the number has none. */
static inline const char *lc_status_name(int status)
{
    switch (status) {
    case LC_APPLIED: return "APPLIED";
    case LC_SOURCE_NOT_FOUND: return "SOURCE_NOT_FOUND";
    case LC_TARGET_NOT_FOUND: return "TARGET_NOT_FOUND";
    case LC_SAME_ACCOUNT: return "SAME_ACCOUNT";
    case LC_ASSET_MISMATCH: return "ASSET_MISMATCH";
    case LC_SOURCE_FROZEN: return "SOURCE_FROZEN";
    case LC_TARGET_FROZEN: return "TARGET_FROZEN";
    case LC_INSUFFICIENT_FUNDS: return "INSUFFICIENT_FUNDS";
    case LC_CEILING_EXCEEDED: return "CEILING_EXCEEDED";
    case LC_BALANCE_OVERFLOW: return "BALANCE_OVERFLOW";
    case LC_KEY_MISSING: return "KEY_MISSING";
    case LC_AMOUNT_INVALID: return "AMOUNT_INVALID";
    case LC_KEY_REUSED: return "KEY_REUSED";
    case LC_KEYS_FULL: return "KEYS_FULL";
    case LC_DEADLINE_PASSED: return "DEADLINE_PASSED";
    case LC_KEY_EXPIRED: return "KEY_EXPIRED";
    case LC_LEDGER_FULL: return "LEDGER_FULL";
    default: return 0;
    }
}

#endif
