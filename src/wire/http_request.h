/* One request for POST /transfer, read in place: its head (RFC 9112) and its small JSON body.
 *
 * This takes only what is plain, and never guesses: whatever any two parsers might read differently
 * is handed over, from its first byte, to the one that reads everything. Plain is
 *
 *   the request line, byte for byte, "POST /transfer HTTP/1.1";
 *   header lines "name: value", where the name is one of those below, directly before the colon,
 *   and the value visible ASCII and spaces, with no space at its end; lines end in CRLF;
 *   exactly one Host, one Content-Length and one Content-Type, at most one of each of the others,
 *   and at most one of Authorization, with a bearer token, and X-API-Key; what a traceparent says
 *   is not judged, and whether the host is one of ours is the caller's to say;
 *   a body of that length that lc_read_transfer takes, with nothing but space around it;
 *   a key: in the header, bare, or in the body; where it is in both, the same.
 *
 * No byte at `end` or behind it is read. The texts found point into what was read.
 */
#ifndef LC_HTTP_REQUEST_H
#define LC_HTTP_REQUEST_H

#include <strings.h>

#include "wire/transfer_json.h"

#define LC_HEAD_BYTES_MAX 4096
#define LC_BODY_BYTES_MAX 4096
#define LC_HEADERS_MAX 32
#define LC_TOKEN_BYTES_MAX 255
#define LC_TIMEOUT_DIGITS_MAX 8
#define LC_REQUEST_LINE "POST /transfer HTTP/1.1\r\n"

enum lc_request_result {
    LC_REQUEST_OTHER = -1,  /* not plain: hand it over */
    LC_REQUEST_PARTIAL = 0, /* plain so far, and not yet whole */
};

enum lc_header {
    LC_HEADER_IGNORED = 0,
    LC_HEADER_HOST = 1,
    LC_HEADER_LENGTH = 2,
    LC_HEADER_TYPE = 4,
    LC_HEADER_KEY = 8,
    LC_HEADER_CONNECTION = 16,
    LC_HEADER_TOKEN = 32,   /* Authorization or X-API-Key */
    LC_HEADER_TIMEOUT = 64, /* X-Request-Timeout-Ms */
    LC_HEADER_TRACE = 128,  /* Traceparent */
    LC_HEADER_UNKNOWN = 256,
};

typedef struct lc_request {
    lc_transfer transfer; /* with the key, wherever it was */
    uint32_t members;     /* of its body */
    lc_text key;
    lc_text host;
    lc_text token; /* of length 0 where there was none, as the next */
    lc_text traceparent;
    uint32_t body_length;
    uint32_t timeout_ms; /* 0 where there was none */
    uint32_t headers; /* enum lc_header, those that were there */
} lc_request;

static inline bool lc_equals(lc_text text, const char *lower, size_t length)
{
    return text.length == length && strncasecmp(text.start, lower, length) == 0;
}

/* What a header means here. What is ignored means nothing to any handler of this address. What a
 * browser tells of its page (Origin, Sec-Fetch-Site) is none of these. */
static inline enum lc_header lc_find_header(lc_text name)
{
    static const struct {
        const char *name;
        uint8_t length, header;
    } known[] = {
        {"host", 4, LC_HEADER_HOST},
        {"content-length", 14, LC_HEADER_LENGTH},
        {"content-type", 12, LC_HEADER_TYPE},
        {"idempotency-key", 15, LC_HEADER_KEY},
        {"connection", 10, LC_HEADER_CONNECTION},
        {"authorization", 13, LC_HEADER_TOKEN},
        {"x-api-key", 9, LC_HEADER_TOKEN},
        {"x-request-timeout-ms", 20, LC_HEADER_TIMEOUT},
        {"traceparent", 11, LC_HEADER_TRACE},
        {"tracestate", 10, LC_HEADER_IGNORED},
        {"x-request-id", 12, LC_HEADER_IGNORED},
        {"user-agent", 10, LC_HEADER_IGNORED},
        {"accept", 6, LC_HEADER_IGNORED},
        {"accept-encoding", 15, LC_HEADER_IGNORED},
        {"accept-language", 15, LC_HEADER_IGNORED},
        {"cache-control", 13, LC_HEADER_IGNORED},
        {"pragma", 6, LC_HEADER_IGNORED},
        {"referer", 7, LC_HEADER_IGNORED},
    };
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (lc_equals(name, known[i].name, known[i].length))
            return (enum lc_header)known[i].header;
    return LC_HEADER_UNKNOWN;
}

static inline bool lc_is_digit(char byte)
{
    return byte >= '0' && byte <= '9';
}

/* host or host:port, of what both names and addresses are made of. */
static inline bool lc_is_host(lc_text value)
{
    const char *at = value.start, *end = at + value.length;
    for (; at < end && *at != ':'; at++) {
        bool is_letter = (*at >= 'a' && *at <= 'z') || (*at >= 'A' && *at <= 'Z');
        if (!is_letter && !lc_is_digit(*at) && *at != '.' && *at != '-')
            return false;
    }
    if (at == value.start || at == end)
        return at != value.start;
    for (at++; at < end; at++)
        if (!lc_is_digit(*at))
            return false;
    return true;
}

/* A number of at most `digits_max` (9) digits, the first of which is no zero. */
static inline bool lc_read_count(lc_text value, uint32_t digits_max, uint32_t *count)
{
    if (value.length == 0 || value.length > digits_max || value.start[0] == '0')
        return false;
    *count = 0;
    for (uint32_t i = 0; i < value.length; i++) {
        if (!lc_is_digit(value.start[i]))
            return false;
        *count = *count * 10 + (uint32_t)(value.start[i] - '0');
    }
    return true;
}

/* A bearer token (RFC 6750, 2.1), or with no scheme what X-API-Key holds; no space is in either. */
static inline bool lc_read_token(lc_text value, bool has_scheme, lc_text *token)
{
    static const char scheme[] = "bearer ";
    const uint32_t length = has_scheme ? sizeof(scheme) - 1 : 0;
    if (value.length <= length || strncasecmp(value.start, scheme, length) != 0)
        return false;
    token->start = value.start + length;
    token->length = value.length - length;
    return token->length <= LC_TOKEN_BYTES_MAX && lc_is_class(*token, LC_BYTE_KEY);
}

static inline bool lc_take_header(lc_text name, lc_text value, lc_request *request)
{
    enum lc_header header = lc_find_header(name);
    if (request->headers & header)
        return false;
    request->headers |= header;
    switch (header) {
    case LC_HEADER_HOST:
        request->host = value;
        return lc_is_host(value);
    case LC_HEADER_LENGTH:
        return lc_read_count(value, 4, &request->body_length)
               && request->body_length <= LC_BODY_BYTES_MAX;
    case LC_HEADER_TYPE:
        return lc_equals(value, "application/json", 16)
               || lc_equals(value, "application/json; charset=utf-8", 31);
    case LC_HEADER_KEY:
        request->key = value;
        return lc_is_key(value) && value.start[0] != '"';
    case LC_HEADER_TOKEN:
        return lc_read_token(value, name.length == 13, &request->token);
    case LC_HEADER_TIMEOUT:
        return lc_read_count(value, LC_TIMEOUT_DIGITS_MAX, &request->timeout_ms);
    case LC_HEADER_TRACE:
        request->traceparent = value;
        return true;
    case LC_HEADER_CONNECTION:
        return lc_equals(value, "keep-alive", 10);
    case LC_HEADER_IGNORED:
        return true;
    default:
        return false;
    }
}

/* One header line; moves `at` behind it. */
static inline int lc_read_header(const char **at, const char *end, lc_request *request)
{
    const char *next = *at;
    lc_text name = {next, 0}, value;
    while (next < end && (lc_byte_classes[(uint8_t)*next] & LC_BYTE_ID) && *next != ':')
        next++;
    if (next >= end)
        return LC_REQUEST_PARTIAL;
    if (*next != ':' || next == name.start)
        return LC_REQUEST_OTHER;
    name.length = (uint32_t)(next++ - name.start);
    while (next < end && *next == ' ')
        next++;
    value.start = next;
    while (next < end && (lc_is_visible(*next) || *next == ' '))
        next++;
    if (next >= end)
        return LC_REQUEST_PARTIAL;
    value.length = (uint32_t)(next - value.start);
    if (*next != '\r' || (value.length > 0 && next[-1] == ' '))
        return LC_REQUEST_OTHER;
    if (end - next < 2)
        return LC_REQUEST_PARTIAL;
    if (next[1] != '\n' || !lc_take_header(name, value, request))
        return LC_REQUEST_OTHER;
    *at = next + 2;
    return 1;
}

/* The head; moves `at` behind it. */
static inline int lc_read_head(const char **at, const char *end, lc_request *request)
{
    static const char line[] = LC_REQUEST_LINE;
    const uint32_t needed = LC_HEADER_HOST | LC_HEADER_LENGTH | LC_HEADER_TYPE;
    size_t length = sizeof(line) - 1, there = (size_t)(end - *at);
    if (memcmp(*at, line, there < length ? there : length) != 0)
        return LC_REQUEST_OTHER;
    if (there < length)
        return LC_REQUEST_PARTIAL;
    const char *start = *at;
    *at += length;
    for (int headers = 0; headers <= LC_HEADERS_MAX; headers++) {
        if (*at < end && **at == '\r') {
            if (end - *at < 2)
                return LC_REQUEST_PARTIAL;
            if ((*at)[1] != '\n' || *at - start > LC_HEAD_BYTES_MAX)
                return LC_REQUEST_OTHER;
            *at += 2;
            return (request->headers & needed) == needed ? 1 : LC_REQUEST_OTHER;
        }
        int result = lc_read_header(at, end, request);
        if (result <= 0)
            return end - start > LC_HEAD_BYTES_MAX ? LC_REQUEST_OTHER : result;
    }
    return LC_REQUEST_OTHER;
}

static inline bool lc_settle_key(lc_request *request)
{
    lc_text *field = &request->transfer.key;
    if (!(request->headers & LC_HEADER_KEY))
        return request->members & LC_MEMBER_KEY;
    if ((request->members & LC_MEMBER_KEY)
        && (field->length != request->key.length
            || memcmp(field->start, request->key.start, field->length) != 0))
        return false;
    *field = request->key;
    return true;
}

/* Read one request that begins at `start`; returns its length, or an lc_request_result. */
static inline int lc_read_request(const char *start, const char *end, lc_request *request)
{
    const char *at = start;
    memset(request, 0, sizeof(*request));
    int result = lc_read_head(&at, end, request);
    if (result <= 0)
        return result;
    if ((size_t)(end - at) < request->body_length)
        return LC_REQUEST_PARTIAL;
    end = at + request->body_length;
    at = lc_read_transfer(lc_skip_space(at, end), end, &request->transfer, &request->members);
    if (!at || lc_skip_space(at, end) != end || !lc_settle_key(request))
        return LC_REQUEST_OTHER;
    return (int)(end - start);
}

#endif
