/* The frame of an Arrow IPC stream, walked before a library decodes it: what it holds, and that it
 * holds no more than it says.
 *
 * A stream is messages, each 0xffffffff, the length of its metadata, the metadata (a flatbuffer)
 * and a body; then 0xffffffff 00000000 (Arrow columnar format 1.5, "Serialization and IPC").
 * Checked is what a decoder would trust: that the stream is whole, that a schema comes first and
 * only once, that every buffer lies in its body, and begins where numbers may be read, that every
 * column has as many rows as its batch, and that nothing is compressed, since a small body could
 * become any size. What the columns are is not looked at.
 *
 * No byte behind `length` is read.
 */
#ifndef LC_ARROW_STREAM_H
#define LC_ARROW_STREAM_H

#include "base.h"

#define LC_ARROW_METADATA_BYTES_MAX 65536
#define LC_ARROW_MESSAGES_MAX 4097 /* a schema and 4096 batches, each of which costs memory */
#define LC_ARROW_ALIGNMENT 8

enum lc_arrow_result {
    LC_ARROW_GOOD = 0,
    LC_ARROW_MALFORMED = 1,
    LC_ARROW_COMPRESSED = 2,
};

enum lc_arrow_message { LC_ARROW_SCHEMA = 1, LC_ARROW_DICTIONARY = 2, LC_ARROW_BATCH = 3 };

typedef struct lc_arrow_facts {
    uint64_t rows; /* of all batches, without their dictionaries */
    uint32_t messages;
    bool has_schema;
} lc_arrow_facts;

/* -- flatbuffers --------------------------------------------------------------------------------
 * A table begins with the distance back to its list of fields: two lengths, then for each field
 * where it is in the table, or 0 where it is absent. */
typedef struct lc_flat {
    const uint8_t *start;
    uint32_t length;
} lc_flat;

enum { LC_FLAT_ABSENT = 0, LC_FLAT_BAD = -1 };

static inline bool lc_flat_load(lc_flat flat, int64_t at, void *value, uint32_t size)
{
    if (at < 0 || at > flat.length || size > flat.length - at)
        return false;
    memcpy(value, flat.start + at, size);
    return true;
}

/* Where a field of a table is, or LC_FLAT_ABSENT or LC_FLAT_BAD. */
static inline int64_t lc_flat_find(lc_flat flat, int64_t table, uint32_t field)
{
    int32_t back;
    uint16_t length, offset;
    if (!lc_flat_load(flat, table, &back, sizeof(back)))
        return LC_FLAT_BAD;
    int64_t fields = table - back, entry = fields + 4 + 2 * (int64_t)field;
    if (!lc_flat_load(flat, fields, &length, sizeof(length)))
        return LC_FLAT_BAD;
    if (entry + 2 > fields + length)
        return LC_FLAT_ABSENT;
    if (!lc_flat_load(flat, entry, &offset, sizeof(offset)))
        return LC_FLAT_BAD;
    return offset == 0 ? LC_FLAT_ABSENT : table + offset;
}

/* A number of a table; 0 where it is absent. */
static inline bool lc_flat_number(lc_flat flat, int64_t table, uint32_t field, int64_t *number,
                                  uint32_t size)
{
    int64_t at = lc_flat_find(flat, table, field);
    *number = 0;
    return at == LC_FLAT_ABSENT || lc_flat_load(flat, at, number, size);
}

/* Where the table or the vector is that a field refers to, or LC_FLAT_ABSENT or LC_FLAT_BAD. */
static inline int64_t lc_flat_follow(lc_flat flat, int64_t table, uint32_t field)
{
    uint32_t offset;
    int64_t at = lc_flat_find(flat, table, field);
    if (at <= 0)
        return at;
    return lc_flat_load(flat, at, &offset, sizeof(offset)) ? at + offset : LC_FLAT_BAD;
}

/* -- messages ------------------------------------------------------------------------------------
 * Every item of both vectors of a batch is two 64-bit numbers: of a column its rows and how many of
 * them are null, of a buffer where it is in the body and its length. */
static inline bool lc_arrow_check_pairs(lc_flat flat, int64_t vector, int64_t rows, int64_t body)
{
    uint32_t count = 0;
    if (vector != LC_FLAT_ABSENT && !lc_flat_load(flat, vector, &count, sizeof(count)))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        int64_t pair[2];
        if (!lc_flat_load(flat, vector + 4 + 16 * (int64_t)i, pair, sizeof(pair)))
            return false;
        bool is_column = body < 0;
        if (is_column && (pair[0] != rows || pair[1] < 0 || pair[1] > rows))
            return false;
        if (!is_column && (pair[0] < 0 || pair[1] < 0 || pair[0] > body
                           || pair[1] > body - pair[0] || pair[0] % LC_ARROW_ALIGNMENT != 0))
            return false;
    }
    return true;
}

static inline enum lc_arrow_result lc_arrow_check_batch(lc_flat flat, int64_t batch, int64_t body,
                                                        int64_t *rows)
{
    if (batch <= 0 || !lc_flat_number(flat, batch, 0, rows, 8))
        return LC_ARROW_MALFORMED;
    if (*rows < 0 || *rows > UINT32_MAX)
        return LC_ARROW_MALFORMED;
    if (lc_flat_find(flat, batch, 3) != LC_FLAT_ABSENT)
        return LC_ARROW_COMPRESSED;
    bool good = lc_arrow_check_pairs(flat, lc_flat_follow(flat, batch, 1), *rows, -1)
                && lc_arrow_check_pairs(flat, lc_flat_follow(flat, batch, 2), *rows, body);
    return good ? LC_ARROW_GOOD : LC_ARROW_MALFORMED;
}

static inline enum lc_arrow_result lc_arrow_check_message(lc_flat flat, uint64_t left,
                                                          int64_t *body, lc_arrow_facts *facts)
{
    uint32_t root;
    int64_t kind, rows;
    if (!lc_flat_load(flat, 0, &root, sizeof(root)) || !lc_flat_number(flat, root, 1, &kind, 1)
        || !lc_flat_number(flat, root, 3, body, 8) || *body < 0 || (uint64_t)*body > left
        || *body % LC_ARROW_ALIGNMENT != 0)
        return LC_ARROW_MALFORMED;
    int64_t header = lc_flat_follow(flat, root, 2);
    if (header <= 0 || (kind == LC_ARROW_SCHEMA) == facts->has_schema)
        return LC_ARROW_MALFORMED;
    if (kind == LC_ARROW_SCHEMA) {
        facts->has_schema = true;
        return *body == 0 ? LC_ARROW_GOOD : LC_ARROW_MALFORMED;
    }
    if (kind == LC_ARROW_DICTIONARY)
        return lc_arrow_check_batch(flat, lc_flat_follow(flat, header, 1), *body, &rows);
    if (kind != LC_ARROW_BATCH)
        return LC_ARROW_MALFORMED;
    enum lc_arrow_result result = lc_arrow_check_batch(flat, header, *body, &rows);
    facts->rows += result == LC_ARROW_GOOD ? (uint64_t)rows : 0;
    return result;
}

/* Walk a whole stream, which has to end with its end mark. */
static inline enum lc_arrow_result lc_arrow_check(const uint8_t *at, uint64_t length,
                                                  lc_arrow_facts *facts)
{
    const uint8_t *end = at + length;
    memset(facts, 0, sizeof(*facts));
    while (end - at >= 8) {
        uint32_t prefix[2];
        int64_t body;
        memcpy(prefix, at, sizeof(prefix));
        at += sizeof(prefix);
        if (prefix[0] != UINT32_MAX || prefix[1] > LC_ARROW_METADATA_BYTES_MAX
            || prefix[1] % LC_ARROW_ALIGNMENT != 0)
            return LC_ARROW_MALFORMED;
        if (prefix[1] == 0)
            return facts->has_schema && at == end ? LC_ARROW_GOOD : LC_ARROW_MALFORMED;
        if (prefix[1] > (uint64_t)(end - at) || ++facts->messages > LC_ARROW_MESSAGES_MAX)
            return LC_ARROW_MALFORMED;
        lc_flat flat = {at, prefix[1]};
        at += prefix[1];
        enum lc_arrow_result result =
            lc_arrow_check_message(flat, (uint64_t)(end - at), &body, facts);
        if (result != LC_ARROW_GOOD)
            return result;
        at += body;
    }
    return LC_ARROW_MALFORMED;
}

#endif
