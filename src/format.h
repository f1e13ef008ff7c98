/* Numbers and times as text, for answers. The caller sees to the room; nothing is terminated. */
#ifndef LC_FORMAT_H
#define LC_FORMAT_H

#include "base.h"

#define LC_NUMBER_BYTES_MAX 20
#define LC_TIME_BYTES 27

/* A whole number in decimal; returns where it ends. */
static inline char *lc_write_number(char *at, uint64_t number)
{
    char digits[LC_NUMBER_BYTES_MAX];
    int first = LC_NUMBER_BYTES_MAX;
    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    memcpy(at, digits + first, (size_t)(LC_NUMBER_BYTES_MAX - first));
    return at + LC_NUMBER_BYTES_MAX - first;
}

/* Exactly `width` digits. */
static inline char *lc_write_digits(char *at, uint64_t number, int width)
{
    for (int i = width - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + width;
}

/* A time, ns since 1970 and not before it, as RFC 3339 in UTC to the microsecond, which is cut and
 * never rounded: 2026-11-22T15:04:05.000006Z. The date is Hinnant's civil_from_days
 * (http://howardhinnant.github.io/date_algorithms.html), for years up to 9999. */
static inline char *lc_write_time(char *at, int64_t time_ns)
{
    uint64_t seconds = (uint64_t)time_ns / 1000000000;
    uint64_t micros = (uint64_t)time_ns % 1000000000 / 1000;
    uint64_t days = seconds / 86400 + 719468, rest = seconds % 86400;
    uint64_t era = days / 146097, day_of_era = days % 146097;
    uint64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    uint64_t day = day_of_year - (153 * month + 2) / 5 + 1;
    uint64_t year = year_of_era + era * 400 + (month >= 10);
    at = lc_write_digits(at, year, 4);
    *at++ = '-';
    at = lc_write_digits(at, month < 10 ? month + 3 : month - 9, 2);
    *at++ = '-';
    at = lc_write_digits(at, day, 2);
    *at++ = 'T';
    at = lc_write_digits(at, rest / 3600, 2);
    *at++ = ':';
    at = lc_write_digits(at, rest / 60 % 60, 2);
    *at++ = ':';
    at = lc_write_digits(at, rest % 60, 2);
    *at++ = '.';
    at = lc_write_digits(at, micros, 6);
    *at++ = 'Z';
    return at;
}

#endif
