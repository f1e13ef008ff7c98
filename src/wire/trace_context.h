/* The trace that a request belongs to: W3C Trace Context (https://www.w3.org/TR/trace-context/).
 *
 *   traceparent: 00-<trace id: 32 hex digits>-<parent's span id: 16>-<flags: 2>
 *
 * Digits are of lower case, and neither id is all zeros. A higher version is read as far as this
 * one goes. What is anything else is as if it were not there: a trace begins anew, and the request
 * is none the worse. Ids are random, which is all that they have to be: nobody may rest a secret
 * on them.
 */
#ifndef LC_TRACE_CONTEXT_H
#define LC_TRACE_CONTEXT_H

#include <sys/random.h>

#include "text.h"

#define LC_TRACEPARENT_BYTES 55
#define LC_TRACE_LINES_BYTES_MAX 128
#define LC_TRACE_SAMPLED 1

typedef struct lc_trace {
    uint64_t id[2];  /* big-endian halves: what is written first is id[0] */
    uint64_t parent; /* the span that the request came from; 0 where it told none */
    uint64_t span;   /* our own */
    uint8_t flags;   /* of the request */
} lc_trace;

/* The state of xoshiro256** (D. Blackman, S. Vigna, https://prng.di.unimi.it), for one thread. */
typedef struct lc_random {
    uint64_t state[4];
} lc_random;

static inline bool lc_random_start(lc_random *random)
{
    return getrandom(random, sizeof(*random), 0) == (ssize_t)sizeof(*random);
}

static inline uint64_t lc_rotate_left(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static inline uint64_t lc_random_next(lc_random *random)
{
    uint64_t *state = random->state;
    uint64_t result = lc_rotate_left(state[1] * 5, 7) * 9, shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = lc_rotate_left(state[3], 45);
    return result;
}

static inline bool lc_read_hex(const char *at, uint32_t digits, uint64_t *number)
{
    *number = 0;
    for (uint32_t i = 0; i < digits; i++) {
        char digit = at[i];
        if (digit >= '0' && digit <= '9')
            digit = (char)(digit - '0');
        else if (digit >= 'a' && digit <= 'f')
            digit = (char)(digit - 'a' + 10);
        else
            return false;
        *number = *number << 4 | (uint64_t)digit;
    }
    return true;
}

static inline char *lc_write_hex(char *at, uint64_t number, uint32_t digits)
{
    static const char hex[] = "0123456789abcdef";
    for (uint32_t i = digits; i > 0; i--, number >>= 4)
        at[i - 1] = hex[number & 15];
    return at + digits;
}

/* Read a traceparent; false where it is none. */
static inline bool lc_trace_read(lc_text text, lc_trace *trace)
{
    const char *at = text.start;
    uint64_t version, flags;
    if (text.length < LC_TRACEPARENT_BYTES || at[2] != '-' || at[35] != '-' || at[52] != '-')
        return false;
    if (!lc_read_hex(at, 2, &version) || version == 0xff)
        return false;
    if (text.length > LC_TRACEPARENT_BYTES && (version == 0 || at[LC_TRACEPARENT_BYTES] != '-'))
        return false;
    if (!lc_read_hex(at + 3, 16, &trace->id[0]) || !lc_read_hex(at + 19, 16, &trace->id[1])
        || !lc_read_hex(at + 36, 16, &trace->parent) || !lc_read_hex(at + 53, 2, &flags))
        return false;
    trace->flags = (uint8_t)flags;
    return (trace->id[0] | trace->id[1]) != 0 && trace->parent != 0;
}

/* Begin our span, in the trace that the request told, or in a new one. */
static inline void lc_trace_begin(lc_text told, lc_random *random, lc_trace *trace)
{
    if (told.length == 0 || !lc_trace_read(told, trace)) {
        trace->id[0] = lc_random_next(random);
        trace->id[1] = lc_random_next(random) | 1; /* An id is not all zeros. */
        trace->parent = 0;
        trace->flags = 0;
    }
    trace->span = lc_random_next(random) | 1;
}

/* Write the header lines of an answer; returns where they end. */
static inline char *lc_trace_write(char *at, const lc_trace *trace, bool is_sampled)
{
    static const char parent[] = "traceparent: 00-", request[] = "\r\nx-request-id: ";
    memcpy(at, parent, sizeof(parent) - 1);
    const char *id = at += sizeof(parent) - 1;
    at = lc_write_hex(at, trace->id[0], 16);
    at = lc_write_hex(at, trace->id[1], 16);
    *at++ = '-';
    at = lc_write_hex(at, trace->span, 16);
    *at++ = '-';
    at = lc_write_hex(at, is_sampled ? LC_TRACE_SAMPLED : 0, 2);
    memcpy(at, request, sizeof(request) - 1);
    at += sizeof(request) - 1;
    memcpy(at, id, 32);
    at += 32;
    *at++ = '\r';
    *at++ = '\n';
    return at;
}

#endif
