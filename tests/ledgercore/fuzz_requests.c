/* The parsers of what clients send, fed with anything: a target of libFuzzer, and, built with
 * LC_FUZZ_MAIN, a program that does a little of the same wherever there is a compiler.
 *
 * The first byte of an input chooses the parser. The rest is copied into memory of exactly its
 * size, so that a sanitizer sees every byte that is read too far; and every byte of every text that
 * was found is read, so that it sees a text that reaches too far, too. Where one parser takes what
 * another has to take as well, that is checked.
 *
 *     fuzz_requests CORPUS...                     with libFuzzer: see its -help=1
 *     fuzz_requests MUTATIONS SEED FILE...        with LC_FUZZ_MAIN
 */
#include <stdio.h>
#include <stdlib.h>

#include "wire/arrow_stream.h"
#include "wire/http_request.h"
#include "wire/transfer_columns.h"

enum { PARSERS = 5, COLUMN_ROWS_MAX = 8 };

static volatile uint32_t sink;

static void read_text(lc_text text)
{
    for (uint32_t i = 0; i < text.length; i++)
        sink += (uint8_t)text.start[i];
}

static void read_transfer(const lc_transfer *found)
{
    read_text(found->source);
    read_text(found->target);
    read_text(found->memo);
    read_text(found->key);
    if (found->amount < 1 || found->source.length > LC_ACCOUNT_ID_BYTES_MAX
        || found->memo.length > LC_MEMO_BYTES_MAX || found->key.length > LC_KEY_BYTES_MAX)
        abort();
}

/* Requests on a connection, as the service reads them. */
static void read_requests(const char *at, const char *end)
{
    lc_request request;
    while (at < end) {
        int length = lc_read_request(at, end, &request);
        if (length <= 0)
            return;
        if (length > end - at || request.transfer.key.length == 0)
            abort();
        if (request.token.length > LC_TOKEN_BYTES_MAX || request.timeout_ms > 99999999
            || !(request.headers & LC_HEADER_TOKEN) != (request.token.length == 0)
            || !(request.headers & LC_HEADER_TIMEOUT) != (request.timeout_ms == 0)
            || request.host.length == 0)
            abort();
        read_text(request.host);
        read_text(request.token);
        read_transfer(&request.transfer);
        at += length;
    }
}

/* An array of transfers, item by item, as service/wire.pyx reads it. */
static void read_array(const char *at, const char *end)
{
    lc_transfer found;
    at = lc_skip_space(at, end);
    if (at >= end || *at != '[')
        return;
    while (at < end && (*at == '[' || *at == ',')) {
        uint32_t members;
        at = lc_read_transfer(lc_skip_space(at + 1, end), end, &found, &members);
        if (!at)
            return;
        if (at > end)
            abort();
        read_transfer(&found);
        at = lc_skip_space(at, end);
    }
}

/* The frame of an Arrow stream. What is good ends in the mark of its end. */
static void read_frame(const char *at, const char *end)
{
    lc_arrow_facts facts;
    if (lc_arrow_check((const uint8_t *)at, (uint64_t)(end - at), &facts) != LC_ARROW_GOOD)
        return;
    if (!facts.has_schema || memcmp(end - 8, "\xff\xff\xff\xff\0\0\0\0", 8) != 0)
        abort();
}

/* The metadata of one message, with a body of 64 bytes behind it. */
static void read_message(const char *at, const char *end)
{
    lc_arrow_facts facts = {.has_schema = true};
    lc_flat flat = {(const uint8_t *)at, (uint32_t)(end - at)};
    int64_t body;
    if (lc_arrow_check_message(flat, 64, &body, &facts) == LC_ARROW_GOOD && (body < 0 || body > 64))
        abort();
}

/* Columns: offsets and numbers are the input's, and so is what they lead to. What is vouched for,
 * that the last offset is inside of the data, is made true. */
static void read_columns(const char *at, const char *end)
{
    enum { NUMBERS_BYTES = (COLUMN_ROWS_MAX + 1) * 8 };
    if (end - at < 2 + NUMBERS_BYTES)
        return;
    uint8_t shape[2] = {(uint8_t)at[0], (uint8_t)at[1]};
    int64_t rows = shape[0] % COLUMN_ROWS_MAX;
    bool is_large = shape[1] & 1;
    size_t numbers_bytes = (size_t)(rows + 1) * (is_large ? 8 : 4);
    void *numbers = malloc(numbers_bytes);
    memcpy(numbers, at + 2, numbers_bytes);
    int64_t length = end - at - 2 - NUMBERS_BYTES;
    if (is_large)
        ((int64_t *)numbers)[rows] = length;
    else
        ((int32_t *)numbers)[rows] = (int32_t)length;
    lc_column text = {.kind = is_large ? LC_COLUMN_LARGE_STRING : LC_COLUMN_STRING,
                      .numbers = numbers, .data = at + 2 + NUMBERS_BYTES, .rows = rows};
    lc_column entry = {.kind = LC_COLUMN_ENTRY, .numbers = numbers, .rows = rows,
                       .number_format = "cCsSiIlL"[(shape[1] >> 1) % (is_large ? 8 : 6)],
                       .dictionary = &text};
    uint8_t validity[COLUMN_ROWS_MAX / 8] = {(uint8_t)(shape[0] >> 3 | shape[1] << 5)};
    int64_t amounts[COLUMN_ROWS_MAX] = {1, 2, INT64_MAX, 0, -1, INT64_MIN, 7, 8};
    lc_column amount = {.kind = LC_COLUMN_AMOUNT, .numbers = amounts, .rows = rows};
    lc_transfer_columns columns = {text, entry, text, amount, entry};
    columns.memo.validity = validity;
    for (int64_t row = 0; row < rows; row++) {
        lc_transfer found;
        if (lc_read_row(&columns, row, &found) == 0)
            read_transfer(&found);
    }
    free(numbers);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parsers[PARSERS])(const char *, const char *) = {
        read_requests, read_array, read_frame, read_message, read_columns,
    };
    if (size < 1)
        return 0;
    char *copy = malloc(size - 1);
    if (size > 1)
        memcpy(copy, data + 1, size - 1);
    parsers[data[0] % PARSERS](copy, copy + size - 1);
    free(copy);
    return 0;
}

#ifdef LC_FUZZ_MAIN

enum { INPUT_BYTES_MAX = 65536, EDITS_MAX = 4 };

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state += 0x9e3779b97f4a7c15ULL;
    return (uint32_t)(lc_mix(state) >> 32) % below;
}

/* Change some bytes, and take some out: what the parsers care about is where things end. */
static size_t mutate(uint8_t *input, size_t size)
{
    static const uint8_t signs[] = "\0\xff\x7f\x80\r\n :\",{}[]\\0 9";
    for (uint32_t edits = 1 + draw(EDITS_MAX); edits > 0 && size > 2; edits--) {
        size_t at = 1 + draw((uint32_t)size - 1), left = size - at;
        switch (draw(4)) {
        case 0:
            input[at] = (uint8_t)draw(256);
            break;
        case 1:
            input[at] = signs[draw(sizeof(signs) - 1)];
            break;
        case 2:
            memmove(input + at, input + at + 1, left - 1);
            size--;
            break;
        default:
            size = at;
        }
    }
    return size;
}

int main(int count, char **arguments)
{
    static uint8_t seed[INPUT_BYTES_MAX], input[INPUT_BYTES_MAX];
    if (count < 4)
        return 2;
    long mutations = atol(arguments[1]);
    state = strtoull(arguments[2], NULL, 10);
    for (int i = 3; i < count; i++) {
        FILE *file = fopen(arguments[i], "rb");
        if (!file)
            return 2;
        size_t size = fread(seed, 1, sizeof(seed), file);
        fclose(file);
        LLVMFuzzerTestOneInput(seed, size);
        for (long run = 0; run < mutations; run++) {
            memcpy(input, seed, size);
            LLVMFuzzerTestOneInput(input, mutate(input, size));
        }
    }
    printf("ran %ld\n", (count - 3) * (mutations + 1));
    return 0;
}

#endif
