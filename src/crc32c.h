/* CRC-32C (Castagnoli), as in RFC 3720 appendix B.4: polynomial 0x1EDC6F41 reflected, initial value
 * and final xor all ones. The check value of "123456789" is 0xe3069283.
 *
 * The instruction is chosen at run time, so that one portable build is fast where it can be.
 */
#ifndef LC_CRC32C_H
#define LC_CRC32C_H

#include "base.h"

static inline uint32_t lc_crc32c_bitwise(uint32_t crc, const uint8_t *bytes, size_t length)
{
    /* Four bits a step from a table of 16: small, and fast enough where there is no instruction. */
    static const uint32_t table[16] = {
        0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3,
        0x61c69362, 0x7198540d, 0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
        0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
    };
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        crc = (crc >> 4) ^ table[crc & 15];
        crc = (crc >> 4) ^ table[crc & 15];
    }
    return crc;
}

#if defined(__x86_64__)
__attribute__((target("sse4.2")))
static inline uint32_t lc_crc32c_sse42(uint32_t crc, const uint8_t *bytes, size_t length)
{
    uint64_t wide = crc;
    for (; length >= 8; length -= 8, bytes += 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        wide = __builtin_ia32_crc32di(wide, word);
    }
    crc = (uint32_t)wide;
    for (; length > 0; length--, bytes++)
        crc = __builtin_ia32_crc32qi(crc, *bytes);
    return crc;
}
#endif

/* The checksum of `length` bytes; to go on over further bytes, give the last result as `crc`. */
static inline uint32_t lc_crc32c(uint32_t crc, const void *data, size_t length)
{
    const uint8_t *bytes = (const uint8_t *)data;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~lc_crc32c_sse42(~crc, bytes, length);
#endif
    return ~lc_crc32c_bitwise(~crc, bytes, length);
}

#endif
