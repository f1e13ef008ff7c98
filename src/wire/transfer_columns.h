/* A transfer as a row of columns, as the Arrow C data interface lays them out, read in place.
 *
 * A row is taken where each of its values is what lc_read_transfer takes of that member. What is
 * wrong with a row is not said, only in which column it is: whoever tells a client looks again.
 *
 * Of a column of strings no byte is read that is not between its first and its last offset, and of
 * any column no row at `rows` or behind it; the memory below is what the decoder vouches for. The
 * texts found point into what was read.
 */
#ifndef LC_TRANSFER_COLUMNS_H
#define LC_TRANSFER_COLUMNS_H

#include "record.h"
#include "wire/transfer_json.h"

enum lc_column_kind {
    LC_COLUMN_ABSENT = 0,
    LC_COLUMN_STRING = 1,       /* offsets of 32 bits */
    LC_COLUMN_LARGE_STRING = 2, /* offsets of 64 bits */
    LC_COLUMN_ENTRY = 3,        /* numbers of entries of a dictionary */
    LC_COLUMN_SLOT = 4,         /* numbers of accounts, in the order of their opening */
    LC_COLUMN_AMOUNT = 5,
};

enum lc_cell {
    LC_CELL_GOOD = 0,
    LC_CELL_NULL = 1,
    LC_CELL_OUT_OF_RANGE = 2, /* of a number that names an entry or an account */
    LC_CELL_BROKEN = 3,       /* offsets that go back, or beyond the last */
};

typedef struct lc_column {
    enum lc_column_kind kind;
    const uint8_t *validity; /* a bit for each row, NULL where all are there */
    const void *numbers;     /* offsets, numbers of entries or accounts, or amounts */
    const char *data;        /* of strings */
    int64_t rows;
    /* How an LC_COLUMN_ENTRY is written: the letter of Arrow's format, one of cCsSiIlL. */
    char number_format;
    const struct lc_column *dictionary; /* strings */
    uint32_t account_count;
} lc_column;

typedef struct lc_transfer_columns {
    lc_column key, source, target, amount, memo;
} lc_transfer_columns;

static inline bool lc_is_there(const lc_column *column, int64_t row)
{
    return !column->validity || column->validity[row >> 3] >> (row & 7) & 1;
}

static inline enum lc_cell lc_read_offsets(const lc_column *column, int64_t row, lc_text *text)
{
    int64_t start, end, last;
    if (column->kind == LC_COLUMN_STRING) {
        const int32_t *offsets = (const int32_t *)column->numbers;
        start = offsets[row], end = offsets[row + 1], last = offsets[column->rows];
    } else {
        const int64_t *offsets = (const int64_t *)column->numbers;
        start = offsets[row], end = offsets[row + 1], last = offsets[column->rows];
    }
    if (start < 0 || end < start || last < end || end - start > INT32_MAX)
        return LC_CELL_BROKEN;
    text->start = column->data ? column->data + start : "";
    text->length = (uint32_t)(end - start);
    return column->data || text->length == 0 ? LC_CELL_GOOD : LC_CELL_BROKEN;
}

/* The number of an entry, -1 where it is larger than any there could be. */
static inline int64_t lc_read_entry_number(const lc_column *column, int64_t row)
{
    const void *numbers = column->numbers;
    switch (column->number_format) {
    case 'c': return ((const int8_t *)numbers)[row];
    case 'C': return ((const uint8_t *)numbers)[row];
    case 's': return ((const int16_t *)numbers)[row];
    case 'S': return ((const uint16_t *)numbers)[row];
    case 'i': return ((const int32_t *)numbers)[row];
    case 'I': return ((const uint32_t *)numbers)[row];
    case 'l': return ((const int64_t *)numbers)[row];
    case 'L': {
        uint64_t number = ((const uint64_t *)numbers)[row];
        return number > INT64_MAX ? -1 : (int64_t)number;
    }
    default: return -1;
    }
}

static inline enum lc_cell lc_read_entry(const lc_column *column, int64_t row, lc_text *text)
{
    const lc_column *dictionary = column->dictionary;
    int64_t number = lc_read_entry_number(column, row);
    if (number < 0 || number >= dictionary->rows)
        return LC_CELL_OUT_OF_RANGE;
    if (!lc_is_there(dictionary, number))
        return LC_CELL_NULL;
    return lc_read_offsets(dictionary, number, text);
}

/* The text of a row, whatever it holds; of an account that is told by its slot there is none. */
static inline enum lc_cell lc_read_cell(const lc_column *column, int64_t row, lc_text *text)
{
    if (!lc_is_there(column, row))
        return LC_CELL_NULL;
    switch (column->kind) {
    case LC_COLUMN_STRING:
    case LC_COLUMN_LARGE_STRING:
        return lc_read_offsets(column, row, text);
    case LC_COLUMN_ENTRY:
        return lc_read_entry(column, row, text);
    case LC_COLUMN_SLOT: {
        uint32_t slot = ((const uint32_t *)column->numbers)[row];
        return slot < column->account_count ? LC_CELL_GOOD : LC_CELL_OUT_OF_RANGE;
    }
    default:
        return LC_CELL_BROKEN;
    }
}

/* Whether a text is what a member may be. An empty memo is none. */
static inline bool lc_is_member(lc_text text, enum lc_member member)
{
    switch (member) {
    case LC_MEMBER_KEY:
        return lc_is_key(text);
    case LC_MEMBER_MEMO:
        if (text.length > LC_MEMO_BYTES_MAX)
            return false;
        for (uint32_t i = 0; i < text.length; i++)
            if ((uint8_t)text.start[i] < ' ' || text.start[i] == 0x7f)
                return false;
        return lc_is_memo(text);
    default:
        return text.length > 0 && text.length <= LC_ACCOUNT_ID_BYTES_MAX
               && lc_is_class(text, LC_BYTE_ID);
    }
}

/* The value of one column. */
static inline bool lc_take_cell(const lc_column *column, int64_t row, enum lc_member member,
                                lc_text *text)
{
    return lc_read_cell(column, row, text) == LC_CELL_GOOD && lc_is_member(*text, member);
}

/* The account of one column: its id, or its slot, which needs no further check. */
static inline bool lc_take_account(const lc_column *column, int64_t row, enum lc_member member,
                                   lc_text *id, uint32_t *slot)
{
    if (column->kind != LC_COLUMN_SLOT)
        return lc_take_cell(column, row, member, id);
    if (lc_read_cell(column, row, id) != LC_CELL_GOOD)
        return false;
    *slot = ((const uint32_t *)column->numbers)[row];
    return true;
}

/* Read one row; returns 0, or the member whose column holds something else. */
static inline int lc_read_row(const lc_transfer_columns *columns, int64_t row,
                              lc_transfer *found)
{
    lc_transfer_clear(found);
    if (!lc_take_cell(&columns->key, row, LC_MEMBER_KEY, &found->key))
        return LC_MEMBER_KEY;
    if (!lc_take_account(&columns->source, row, LC_MEMBER_FROM, &found->source,
                         &found->source_slot))
        return LC_MEMBER_FROM;
    if (!lc_take_account(&columns->target, row, LC_MEMBER_TO, &found->target,
                         &found->target_slot))
        return LC_MEMBER_TO;
    found->amount = ((const int64_t *)columns->amount.numbers)[row];
    if (found->amount < 1 || !lc_is_there(&columns->amount, row))
        return LC_MEMBER_AMOUNT;
    /* A memo that is null is none, and is no fault: a column cannot leave one out otherwise. */
    if (columns->memo.kind == LC_COLUMN_ABSENT)
        return 0;
    enum lc_cell memo = lc_read_cell(&columns->memo, row, &found->memo);
    if (memo == LC_CELL_NULL)
        return 0;
    return memo == LC_CELL_GOOD && lc_is_member(found->memo, LC_MEMBER_MEMO) ? 0 : LC_MEMBER_MEMO;
}

#endif
