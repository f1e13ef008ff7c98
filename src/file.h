/* Durable writes to files: each is whole and in place, or an errno.
 *
 * Nothing is retried but an interrupted call. After a failed sync the kernel may have dropped the
 * data and called the pages clean, so a second sync would lie; the caller stops instead.
 */
#ifndef LC_FILE_H
#define LC_FILE_H

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base.h"

enum { LC_FILL_BYTES = 1 << 20, LC_FILL_SYNC_BYTES = 8 << 20 };

/* Returns 0, or the errno that stopped it. */
static inline int lc_write_all(int fd, const void *data, size_t length, uint64_t offset)
{
    const char *bytes = (const char *)data;
    while (length > 0) {
        ssize_t written = pwrite(fd, bytes, length, (off_t)offset);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return errno;
        if (written == 0)
            return ENOSPC;
        bytes += written;
        offset += (uint64_t)written;
        length -= (size_t)written;
    }
    return 0;
}

static inline int lc_sync_data(int fd)
{
    return fdatasync(fd) == 0 ? 0 : errno;
}

/* Put zeros from `offset` to `end` and sync them, a few MiB at a time, so that others who sync
 * on the same disk do not wait for all of it. */
static inline int lc_fill_zeros(int fd, uint64_t offset, uint64_t end, const uint8_t *zeros)
{
    int error = 0;
    uint64_t unsynced = 0;
    while (offset < end && error == 0) {
        uint64_t length = end - offset < LC_FILL_BYTES ? end - offset : LC_FILL_BYTES;
        error = lc_write_all(fd, zeros, length, offset);
        offset += length;
        unsynced += length;
        if (error == 0 && (unsynced >= LC_FILL_SYNC_BYTES || offset >= end)) {
            error = lc_sync_data(fd);
            unsynced = 0;
        }
    }
    return error;
}

#endif
