/* The status of a transfer: its outcome, or why it was rejected.
 *
 * Values below LC_REJECTION_FIRST are outcomes: logged, numbered by an LSN, and stored with their
 * key; they are part of the journal's format, so a number never changes its meaning. The others
 * are rejections: nothing was stored.
 * ledgercore/status.py mirrors this list, and tests/ledgercore/test_status.py compares the two.
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

#endif
