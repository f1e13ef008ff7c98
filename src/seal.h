/* The seal: how far the journal was synced, written when there is time for it.
 *
 * A file of two slots of 4096 bytes, written in turn, so that a torn write leaves the other one.
 * It is written when the journal comes to rest, at each new segment, and at a clean end. What it
 * names was synced, so a journal that ends before it is damaged, not torn.
 *
 *   offset  size  slot
 *        0     8  magic "LCSEAL01"
 *        8     8  sequence; the valid slot with the higher one counts
 *       16     8  synced LSN
 *       24     8  number of the segment that holds it
 *       32    16  id of the ledger
 *       48     4  header CRC of the frame that ends with this LSN (0 at LSN 0)
 *       52     4  1 after a clean end, else 0
 *       56     4  0
 *       60     4  CRC-32C of bytes 0 to 59
 *
 * A slot whose CRC is right, but whose last letter of the magic, or whose bytes from 52 on, are
 * none of these, was written by a newer program; then nothing may touch the directory.
 */
#ifndef LC_SEAL_H
#define LC_SEAL_H

#include "crc32c.h"
#include "file.h"

#define LC_SEAL_MAGIC 0x31304c414553434cULL /* "LCSEAL01" */

enum { LC_SEAL_SLOT_BYTES = 4096, LC_SEAL_BYTES = 2 * LC_SEAL_SLOT_BYTES };

typedef struct lc_seal {
    uint64_t magic;
    uint64_t sequence;
    uint64_t synced_lsn;
    uint64_t segment;
    uint8_t ledger_id[16];
    uint32_t frame_crc;
    uint32_t clean;
    uint32_t reserved;
    uint32_t crc;
} lc_seal;

_Static_assert(sizeof(lc_seal) == 64, "layout");

enum lc_seal_check { LC_SEAL_GOOD = 0, LC_SEAL_BAD = 1, LC_SEAL_NEWER = 2 };

static inline enum lc_seal_check lc_seal_check(const lc_seal *seal)
{
    if ((seal->magic ^ LC_SEAL_MAGIC) << 8 != 0 /* all letters but the last */
        || seal->crc != lc_crc32c(0, seal, offsetof(lc_seal, crc)))
        return LC_SEAL_BAD;
    bool known = seal->magic == LC_SEAL_MAGIC && seal->clean <= 1 && seal->reserved == 0;
    return known ? LC_SEAL_GOOD : LC_SEAL_NEWER;
}

/* Finish a seal in place; returns the offset of the slot that its sequence gives it. */
static inline uint64_t lc_seal_finish(lc_seal *seal)
{
    seal->magic = LC_SEAL_MAGIC;
    seal->reserved = 0;
    seal->crc = lc_crc32c(0, seal, offsetof(lc_seal, crc));
    return seal->sequence % 2 * LC_SEAL_SLOT_BYTES;
}

/* Write the next seal into the slot that the last one is not in, and sync it. */
static inline int lc_seal_write(int fd, lc_seal *seal)
{
    seal->sequence++;
    uint64_t offset = lc_seal_finish(seal);
    int error = lc_write_all(fd, seal, sizeof(*seal), offset);
    return error != 0 ? error : lc_sync_data(fd);
}

/* The valid seal of a file's bytes into `seal`, and GOOD; BAD where neither slot is valid; NEWER
 * where a newer program wrote one of them. */
static inline enum lc_seal_check lc_seal_read(const uint8_t *file, size_t length, lc_seal *seal)
{
    enum lc_seal_check found = LC_SEAL_BAD;
    for (int i = 0; i < 2; i++) {
        lc_seal slot;
        size_t offset = (size_t)i * LC_SEAL_SLOT_BYTES;
        if (offset + sizeof(slot) > length)
            break;
        memcpy(&slot, file + offset, sizeof(slot));
        enum lc_seal_check check = lc_seal_check(&slot);
        if (check == LC_SEAL_NEWER)
            return LC_SEAL_NEWER;
        if (check == LC_SEAL_GOOD && (found == LC_SEAL_BAD || slot.sequence > seal->sequence)) {
            *seal = slot;
            found = LC_SEAL_GOOD;
        }
    }
    return found;
}

#endif
