/* Numbers and times as text, for answers. The caller sees to the room; nothing is terminated. */
#ifndef LC_FORMAT_H
#define LC_FORMAT_H

#include "base.h"

#define LC_NUMBER_BYTES_MAX 20
#define LC_TIME_BYTES 27
#define LC_HTTP_DATE_BYTES 29

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

typedef struct lc_date {
    uint64_t year, month, day; /* the last two from 1 */
} lc_date;

/* The date of a day since 1970: Hinnant's civil_from_days
 * (http://howardhinnant.github.io/date_algorithms.html), for years up to 9999. */
static inline lc_date lc_find_date(uint64_t days)
{
    days += 719468;
    uint64_t era = days / 146097, day_of_era = days % 146097;
    uint64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    uint64_t month = (5 * day_of_year + 2) / 153; /* 0 is March */
    return (lc_date){
        .year = year_of_era + era * 400 + (month >= 10),
        .month = month < 10 ? month + 3 : month - 9,
        .day = day_of_year - (153 * month + 2) / 5 + 1,
    };
}

/* The time of a day, of which so many seconds have passed: 15:04:05. */
static inline char *lc_write_clock(char *at, uint64_t seconds)
{
    at = lc_write_digits(at, seconds / 3600, 2);
    *at++ = ':';
    at = lc_write_digits(at, seconds / 60 % 60, 2);
    *at++ = ':';
    return lc_write_digits(at, seconds % 60, 2);
}

/* A time, ns since 1970 and not before it, as RFC 3339 in UTC to the microsecond, which is cut and
 * never rounded: 2026-11-22T15:04:05.000006Z. */
static inline char *lc_write_time(char *at, int64_t time_ns)
{
    uint64_t seconds = (uint64_t)time_ns / 1000000000;
    uint64_t micros = (uint64_t)time_ns % 1000000000 / 1000;
    lc_date date = lc_find_date(seconds / 86400);
    at = lc_write_digits(at, date.year, 4);
    *at++ = '-';
    at = lc_write_digits(at, date.month, 2);
    *at++ = '-';
    at = lc_write_digits(at, date.day, 2);
    *at++ = 'T';
    at = lc_write_clock(at, seconds % 86400);
    *at++ = '.';
    at = lc_write_digits(at, micros, 6);
    *at++ = 'Z';
    return at;
}

/* A time, seconds since 1970 and not before it, as HTTP has it (RFC 9110, 5.6.7), which is
 * LC_HTTP_DATE_BYTES long: Sun, 22 Nov 2026 15:04:05 GMT. */
static inline char *lc_write_http_date(char *at, int64_t time_s)
{
    static const char weekdays[] = "ThuFriSatSunMonTueWed"; /* 1970 began on a Thursday */
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    uint64_t days = (uint64_t)time_s / 86400;
    lc_date date = lc_find_date(days);
    memcpy(at, weekdays + days % 7 * 3, 3);
    memcpy(at + 3, ", ", 2);
    at = lc_write_digits(at + 5, date.day, 2);
    *at++ = ' ';
    memcpy(at, months + (date.month - 1) * 3, 3);
    at[3] = ' ';
    at = lc_write_digits(at + 4, date.year, 4);
    *at++ = ' ';
    at = lc_write_clock(at, (uint64_t)time_s % 86400);
    memcpy(at, " GMT", 4);
    return at + 4;
}

#endif
