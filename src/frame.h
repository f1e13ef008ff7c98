/* The journal's file format. This comment is its specification; tests/ledgercore/test_frame.py pins
 * its bytes.
 *
 * A segment is a file of a fixed size: a header of 4096 bytes, then frames, then zeros. A snapshot
 * is a file of the same format, whose frames hold the state instead of what happened.
 *
 *   segment header                            frame header, 128 bytes, at a multiple of 64
 *   offset  size                              offset  size
 *        0     8  magic "LCSEGMT1"                 0     4  magic "LCFR"
 *        8     4  version, 1                       4     2  version, 1
 *       12     4  kind: 1 journal, 2 snapshot      6     2  0
 *       16     8  salt, random per file            8     8  salt of the file
 *       24     8  number of the segment           16     8  first LSN
 *       32     8  first LSN                       24     4  count of records
 *       40     4  header CRC of the frame         28     4  length of the frame, a multiple of 64
 *                 before this file                32     8  synced_lsn: how far the journal was
 *       44     4  0                                         synced when this was written
 *       48    16  id of the ledger                40     4  header CRC of the frame before
 *       64    16  key of the ledger's hashes      44     4  CRC of the body
 *       80     8  time of creation, ns            48    32  kept for a hash chain, 0
 *       88     8  time that keys are kept, ns      80     4  length of the text section
 *       96  3996  0                               84    40  0
 *     4092     4  CRC of bytes 0 to 4091         124     4  CRC of bytes 0 to 123
 *
 * A frame is one group: the header, `count` records (record.h), the text section, zeros to the next
 * multiple of 64. The body CRC covers all that follows the header. LSNs rise by one from record to
 * record, from frame to frame and from segment to segment, and each frame names the header CRC of
 * the one before, so nothing can be taken out or put in. The salt keeps bytes that an older file or
 * a client wrote from being taken for a frame. All CRCs are CRC-32C.
 *
 * The next frame is written only after the last one is synced. So a crash can tear at most the last
 * frame, which nobody was told of. A bad frame is a torn tail only if nothing says that it was
 * synced: no later frame with this salt whose synced_lsn reaches it, and not the seal (seal.h).
 *
 * In every version, headers begin with the same letters, and their CRC stands where it stands here.
 * So what a newer program wrote can be told from damage: its CRC is right, and its version, its
 * kind or a field that is 0 here is none that this program knows. Nothing may touch such a file.
 */
#ifndef LC_FRAME_H
#define LC_FRAME_H

#include "crc32c.h"
#include "record.h"

#define LC_SEGMENT_MAGIC 0x31544d474553434cULL /* "LCSEGMT1" */
#define LC_FRAME_MAGIC 0x5246434cU             /* "LCFR" */

enum {
    LC_FORMAT_VERSION = 1,
    LC_SEGMENT_JOURNAL = 1,
    LC_SEGMENT_SNAPSHOT = 2,
    LC_SEGMENT_HEADER_BYTES = 4096,
    LC_FRAME_ALIGNMENT = 64,
    LC_FRAME_RECORDS_MAX = 16384,
    LC_FRAME_TEXT_BYTES_MAX = 1 << 20,
    /* What two records may add: with less room than that left for text, a group is full. */
    LC_GROUP_TEXT_SPARE = 2 * LC_RECORD_TEXT_BYTES_MAX,
};

typedef struct lc_segment_header {
    uint64_t magic;
    uint32_t version;
    uint32_t kind;
    uint64_t salt;
    uint64_t number;
    uint64_t first_lsn;
    uint32_t previous_crc;
    uint32_t reserved;
    uint8_t ledger_id[16];
    uint64_t hash_key[2];
    int64_t created_ns;
    int64_t key_ttl_ns;
    uint8_t zeros[3996];
    uint32_t crc;
} lc_segment_header;

_Static_assert(sizeof(lc_segment_header) == LC_SEGMENT_HEADER_BYTES, "layout");
_Static_assert(offsetof(lc_segment_header, hash_key) == 64, "layout");
_Static_assert(offsetof(lc_segment_header, crc) == 4092, "layout");

typedef struct lc_frame {
    uint32_t magic;
    uint16_t version;
    uint16_t reserved;
    uint64_t salt;
    uint64_t first_lsn;
    uint32_t count;
    uint32_t length;
    uint64_t synced_lsn;
    uint32_t previous_crc;
    uint32_t body_crc;
    uint8_t chain[32];
    uint32_t text_length;
    uint8_t zeros[40];
    uint32_t crc;
} lc_frame;

_Static_assert(sizeof(lc_frame) == 128, "layout");
_Static_assert(offsetof(lc_frame, chain) == 48 && offsetof(lc_frame, crc) == 124, "layout");

#define LC_FRAME_BYTES_MAX \
    (sizeof(lc_frame) + LC_FRAME_RECORDS_MAX * sizeof(lc_record) + LC_FRAME_TEXT_BYTES_MAX)

/* NEWER: sound, and written by a newer program. */
enum lc_frame_check {
    LC_FRAME_GOOD = 0,
    LC_FRAME_END = 1,
    LC_FRAME_BAD = 2,
    LC_FRAME_NEWER = 3,
};

static inline bool lc_all_zero(const void *bytes, size_t length)
{
    const uint8_t *first = (const uint8_t *)bytes;
    return first[0] == 0 && memcmp(first, first + 1, length - 1) == 0;
}

static inline lc_record *lc_frame_records(const lc_frame *frame)
{
    return (lc_record *)((char *)frame + sizeof(lc_frame));
}

static inline char *lc_frame_text(const lc_frame *frame)
{
    return (char *)(lc_frame_records(frame) + frame->count);
}

static inline uint64_t lc_frame_last_lsn(const lc_frame *frame)
{
    return frame->first_lsn + frame->count - 1;
}

/* Finish a frame in place. The caller has filled the records, the text, first_lsn, count and
 * text_length, and owns LC_FRAME_BYTES_MAX bytes. Returns the frame's length. */
static inline uint32_t lc_frame_finish(lc_frame *frame, uint64_t salt, uint32_t previous_crc,
                                       uint64_t synced_lsn)
{
    size_t used = sizeof(lc_frame) + frame->count * sizeof(lc_record) + frame->text_length;
    size_t length = lc_round_up(used, LC_FRAME_ALIGNMENT);
    memset((char *)frame + used, 0, length - used);
    frame->magic = LC_FRAME_MAGIC;
    frame->version = LC_FORMAT_VERSION;
    frame->reserved = 0;
    frame->salt = salt;
    frame->length = (uint32_t)length;
    frame->synced_lsn = synced_lsn;
    frame->previous_crc = previous_crc;
    memset(frame->chain, 0, sizeof(frame->chain));
    memset(frame->zeros, 0, sizeof(frame->zeros));
    frame->body_crc = lc_crc32c(0, frame + 1, length - sizeof(lc_frame));
    frame->crc = lc_crc32c(0, frame, offsetof(lc_frame, crc));
    return frame->length;
}

/* Whether every record's text lies within the text section, and the LSNs are in a row. */
static inline bool lc_frame_records_fit(const lc_frame *frame)
{
    const lc_record *records = lc_frame_records(frame);
    for (uint32_t i = 0; i < frame->count; i++) {
        if (records[i].lsn != frame->first_lsn + i
            || (uint64_t)records[i].text_offset + records[i].text_length > frame->text_length
            || records[i].first_length + records[i].second_length > records[i].text_length)
            return false;
    }
    return true;
}

/* Whether a frame's header, whose CRC is right, says nothing but what this program knows. */
static inline bool lc_frame_known(const lc_frame *frame)
{
    return frame->version == LC_FORMAT_VERSION && frame->reserved == 0
           && lc_all_zero(frame->chain, sizeof(frame->chain))
           && lc_all_zero(frame->zeros, sizeof(frame->zeros));
}

/* Whether `available` bytes begin with a whole frame of the file with this salt. Says nothing of
 * its place in the chain. The header is trusted only after its own CRC. */
static inline enum lc_frame_check lc_frame_check(const void *bytes, uint64_t available,
                                                 uint64_t salt)
{
    const lc_frame *frame = (const lc_frame *)bytes;
    if (available < sizeof(lc_frame) || lc_all_zero(frame, sizeof(lc_frame)))
        return LC_FRAME_END;
    if (frame->magic != LC_FRAME_MAGIC || frame->salt != salt
        || frame->crc != lc_crc32c(0, frame, offsetof(lc_frame, crc)))
        return LC_FRAME_BAD;
    if (!lc_frame_known(frame))
        return LC_FRAME_NEWER;
    uint64_t used = sizeof(lc_frame) + frame->count * (uint64_t)sizeof(lc_record)
                    + frame->text_length;
    if (frame->count == 0 || frame->count > LC_FRAME_RECORDS_MAX
        || frame->text_length > LC_FRAME_TEXT_BYTES_MAX || frame->length > available
        || frame->length != lc_round_up(used, LC_FRAME_ALIGNMENT))
        return LC_FRAME_BAD;
    if (frame->body_crc != lc_crc32c(0, frame + 1, frame->length - sizeof(lc_frame)))
        return LC_FRAME_BAD;
    return lc_frame_records_fit(frame) ? LC_FRAME_GOOD : LC_FRAME_BAD;
}

/* Where the last byte that is not zero ends, or `offset` where all from there on are. */
static inline uint64_t lc_content_end(const uint8_t *file, uint64_t size, uint64_t offset)
{
    static const uint8_t zeros[LC_FRAME_ALIGNMENT];
    while (size >= offset + sizeof(zeros)
           && memcmp(file + size - sizeof(zeros), zeros, sizeof(zeros)) == 0)
        size -= sizeof(zeros);
    while (size > offset && file[size - 1] == 0)
        size--;
    return size;
}

/* Where, at or after `offset`, a whole frame says that LSN `lsn` was synced; 0 if none does. */
static inline uint64_t lc_frame_find_later_synced(const uint8_t *file, uint64_t size,
                                                  uint64_t offset, uint64_t salt, uint64_t lsn)
{
    for (; offset + sizeof(lc_frame) <= size; offset += LC_FRAME_ALIGNMENT) {
        const lc_frame *frame = (const lc_frame *)(file + offset);
        if (frame->magic == LC_FRAME_MAGIC && frame->synced_lsn >= lsn
            && lc_frame_check(frame, size - offset, salt) == LC_FRAME_GOOD)
            return offset;
    }
    return 0;
}

static inline void lc_segment_finish(lc_segment_header *header)
{
    header->magic = LC_SEGMENT_MAGIC;
    header->version = LC_FORMAT_VERSION;
    header->crc = lc_crc32c(0, header, offsetof(lc_segment_header, crc));
}

/* GOOD, NEWER or BAD: what the header of a segment or snapshot is to this program. */
static inline enum lc_frame_check lc_segment_check(const lc_segment_header *header)
{
    if ((header->magic ^ LC_SEGMENT_MAGIC) << 8 != 0 /* all letters but the last */
        || header->crc != lc_crc32c(0, header, offsetof(lc_segment_header, crc)))
        return LC_FRAME_BAD;
    bool known = header->magic == LC_SEGMENT_MAGIC && header->version == LC_FORMAT_VERSION
                 && (header->kind == LC_SEGMENT_JOURNAL || header->kind == LC_SEGMENT_SNAPSHOT)
                 && header->reserved == 0 && lc_all_zero(header->zeros, sizeof(header->zeros));
    return known ? LC_FRAME_GOOD : LC_FRAME_NEWER;
}

#endif
