/* A transfer as JSON, read in place: from, to, amount, and maybe memo and idempotency_key, in any
 * order.
 *
 * This takes only what is plain, and never says what is wrong: NULL means that the whole grammar,
 * in Python, has to look. Plain is an object of known members, none twice, strings without escapes,
 * a memo that is UTF-8 without control characters, an amount of digits alone from 1 to 2^63 - 1,
 * bare or as a string.
 * What this takes, the whole grammar takes too, and reads the same
 * (tests/service/wire/test_transfers_json.py).
 *
 * No byte at `end` or behind it is read. The texts found point into what was read.
 */
#ifndef LC_TRANSFER_JSON_H
#define LC_TRANSFER_JSON_H

#include "transfer.h"

#define LC_AMOUNT_DIGITS_MAX 19

enum lc_member {
    LC_MEMBER_FROM = 1,
    LC_MEMBER_TO = 2,
    LC_MEMBER_AMOUNT = 4,
    LC_MEMBER_MEMO = 8,
    LC_MEMBER_KEY = 16,
    LC_MEMBERS_REQUIRED = 7,
};

static inline const char *lc_skip_space(const char *at, const char *end)
{
    while (at < end && lc_byte_classes[(uint8_t)*at] & LC_BYTE_SPACE)
        at++;
    return at;
}

/* A string, all of one class, of at most `length_max` bytes; returns where it ends, or NULL. */
static inline const char *lc_read_string(const char *at, const char *end, uint8_t byte_class,
                                         uint32_t length_max, lc_text *text)
{
    if (at >= end || *at != '"')
        return NULL;
    text->start = ++at;
    while (at < end && lc_byte_classes[(uint8_t)*at] & byte_class)
        at++;
    if (at >= end || *at != '"' || at - text->start > length_max)
        return NULL;
    text->length = (uint32_t)(at - text->start);
    return at + 1;
}

/* The digits of an amount, bare or as a string: some clients have no numbers beyond 2^53. */
static inline const char *lc_read_amount(const char *at, const char *end, int64_t *amount)
{
    const bool is_string = at < end && *at == '"';
    const char *start = at += is_string;
    uint64_t value = 0;
    while (at < end && at - start < LC_AMOUNT_DIGITS_MAX && *at >= '0' && *at <= '9')
        value = value * 10 + (uint64_t)(*at++ - '0');
    if (at == start || *start == '0' || value > INT64_MAX)
        return NULL;
    *amount = (int64_t)value;
    if (is_string && (at >= end || *at != '"'))
        return NULL;
    return at + is_string;
}

/* Well-formed UTF-8 (Unicode 15, table 3-7) without the controls U+0080 to U+009F. The controls
 * below them are in no memo's class. */
static inline bool lc_is_memo(lc_text text)
{
    const uint8_t *at = (const uint8_t *)text.start, *end = at + text.length;
    while (at < end) {
        uint8_t first = *at++;
        if (first < 0x80)
            continue;
        int more = first < 0xe0 ? 1 : first < 0xf0 ? 2 : 3;
        uint8_t low = first == 0xc2 ? 0xa0 : first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
        uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
        if (first < 0xc2 || first > 0xf4 || end - at < more || *at < low || *at > high)
            return false;
        for (at++, more--; more > 0; at++, more--)
            if (*at < 0x80 || *at > 0xbf)
                return false;
    }
    return true;
}

static inline enum lc_member lc_find_member(lc_text name)
{
    static const struct {
        const char *name;
        uint8_t length, member;
    } known[] = {
        {"from", 4, LC_MEMBER_FROM}, {"to", 2, LC_MEMBER_TO}, {"amount", 6, LC_MEMBER_AMOUNT},
        {"memo", 4, LC_MEMBER_MEMO}, {"idempotency_key", 15, LC_MEMBER_KEY},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (name.length == known[i].length && memcmp(name.start, known[i].name, name.length) == 0)
            return (enum lc_member)known[i].member;
    return (enum lc_member)0;
}

static inline const char *lc_read_member(const char *at, const char *end, enum lc_member member,
                                         lc_transfer *found)
{
    lc_text *id = member == LC_MEMBER_FROM ? &found->source : &found->target;
    switch (member) {
    case LC_MEMBER_FROM:
    case LC_MEMBER_TO:
        at = lc_read_string(at, end, LC_BYTE_ID, LC_ACCOUNT_ID_BYTES_MAX, id);
        return id->length > 0 ? at : NULL;
    case LC_MEMBER_AMOUNT:
        return lc_read_amount(at, end, &found->amount);
    case LC_MEMBER_MEMO:
        at = lc_read_string(at, end, LC_BYTE_MEMO, LC_MEMO_BYTES_MAX, &found->memo);
        return at && lc_is_memo(found->memo) ? at : NULL;
    case LC_MEMBER_KEY:
        at = lc_read_string(at, end, LC_BYTE_KEY, LC_KEY_BYTES_MAX, &found->key);
        return found->key.length > 0 ? at : NULL;
    default:
        return NULL;
    }
}

/* Read one object that begins at `at`; returns where it ends, or NULL where it is not plain. What
 * it has of enum lc_member is in `members`. */
static inline const char *lc_read_transfer(const char *at, const char *end, lc_transfer *found,
                                           uint32_t *members)
{
    uint32_t seen = 0;
    lc_transfer_clear(found);
    if (at >= end || *at != '{')
        return NULL;
    do {
        lc_text name;
        at = lc_skip_space(at + 1, end);
        at = lc_read_string(at, end, LC_BYTE_KEY, LC_KEY_BYTES_MAX, &name);
        if (!at)
            return NULL;
        enum lc_member member = lc_find_member(name);
        at = lc_skip_space(at, end);
        if (at >= end || *at != ':' || seen & member)
            return NULL;
        at = lc_read_member(lc_skip_space(at + 1, end), end, member, found);
        if (!at)
            return NULL;
        seen |= member;
        at = lc_skip_space(at, end);
    } while (at < end && *at == ',');
    bool whole = (seen & LC_MEMBERS_REQUIRED) == LC_MEMBERS_REQUIRED;
    *members = seen;
    return at < end && *at == '}' && whole ? at + 1 : NULL;
}

#endif
