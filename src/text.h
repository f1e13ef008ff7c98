/* A text that is not terminated, and which bytes an id, a key and a memo may have.
 *
 * This is the one place where C has the alphabets of ids and keys. ledgercore/grammar.py has them
 * for Python, and tests/ledgercore/test_grammar.py compares the two, byte for byte. */
#ifndef LC_TEXT_H
#define LC_TEXT_H

#include "base.h"

#define LC_KEY_BYTES_MAX 255

typedef struct lc_text {
    const char *start;
    uint32_t length;
} lc_text;

/* What a byte may be part of. */
enum lc_byte_class { LC_BYTE_ID = 1, LC_BYTE_KEY = 2, LC_BYTE_MEMO = 4, LC_BYTE_SPACE = 8 };

static const uint8_t lc_byte_classes[256] = {
    ['\t'] = LC_BYTE_SPACE, ['\n'] = LC_BYTE_SPACE, ['\r'] = LC_BYTE_SPACE,
    [' '] = LC_BYTE_SPACE | LC_BYTE_MEMO,
    ['!'] = LC_BYTE_KEY | LC_BYTE_MEMO,
    ['#' ... ','] = LC_BYTE_KEY | LC_BYTE_MEMO,
    ['-' ... ':'] = LC_BYTE_ID | LC_BYTE_KEY | LC_BYTE_MEMO, /* - . / 0-9 : */
    [';' ... '?'] = LC_BYTE_KEY | LC_BYTE_MEMO,
    ['@' ... 'Z'] = LC_BYTE_ID | LC_BYTE_KEY | LC_BYTE_MEMO,
    ['['] = LC_BYTE_KEY | LC_BYTE_MEMO,
    [']' ... '^'] = LC_BYTE_KEY | LC_BYTE_MEMO,
    ['_'] = LC_BYTE_ID | LC_BYTE_KEY | LC_BYTE_MEMO,
    ['`'] = LC_BYTE_KEY | LC_BYTE_MEMO,
    ['a' ... 'z'] = LC_BYTE_ID | LC_BYTE_KEY | LC_BYTE_MEMO,
    ['{' ... '~'] = LC_BYTE_KEY | LC_BYTE_MEMO,
    [0x80 ... 0xff] = LC_BYTE_MEMO,
};

/* Whether all bytes of a text are of one class. Without a branch for each, since they nearly always
 * are. */
static inline bool lc_is_class(lc_text text, uint8_t byte_class)
{
    uint8_t common = byte_class;
    for (uint32_t i = 0; i < text.length; i++)
        common &= lc_byte_classes[(uint8_t)text.start[i]];
    return common != 0;
}

static inline bool lc_is_visible(char byte)
{
    return byte > ' ' && byte < 0x7f;
}

/* A key as it is. A quote and a backslash may be in one; only JSON has to write them otherwise. */
static inline bool lc_is_key(lc_text text)
{
    for (uint32_t i = 0; i < text.length; i++)
        if (!lc_is_visible(text.start[i]))
            return false;
    return text.length > 0 && text.length <= LC_KEY_BYTES_MAX;
}

#endif
