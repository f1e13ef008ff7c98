/* What an engine counts of itself: outcomes, and where the time of a transfer goes.
 *
 * Written by the native threads without a lock and without the GIL, a few times a batch. A meter is
 * never read to decide anything: switched off, the engine does the same.
 */
#ifndef LC_METERS_H
#define LC_METERS_H

#include "clock.h"
#include "histogram.h"
#include "record.h"
#include "status.h"

/* Times are in ns of CLOCK_MONOTONIC; those of a transfer count once for each transfer. */
enum lc_meter {
    LC_METER_QUEUE,   /* of a transfer: from its submission to the worker that takes it */
    LC_METER_KERNEL,  /* of a transfer: the batch that it was applied in */
    LC_METER_JOURNAL, /* of a transfer: from there to the disk */
    LC_METER_SYNC,    /* of a group: one write and one sync */
    LC_METER_BATCH,   /* transfers of a batch */
    LC_METER_GROUP,   /* records of a group */
    LC_METERS_END
};

typedef struct lc_meters {
    lc_histogram histograms[LC_METERS_END];
    uint64_t outcomes[LC_STATUS_END]; /* of first answers, by enum lc_status */
    uint64_t replays;                 /* answers that a key had already */
    uint64_t journal_bytes;
    bool is_on;
} lc_meters;

static inline void lc_meter_add(uint64_t *counter, uint64_t count)
{
    __atomic_fetch_add(counter, count, __ATOMIC_RELAXED);
}

/* The time, where it is measured, or 0. */
static inline int64_t lc_meters_look(const lc_meters *meters)
{
    return meters->is_on ? lc_monotonic_ns() : 0;
}

/* Count the transfers of a batch that was submitted, taken and applied at these times. */
static inline void lc_meters_note_batch(
    lc_meters *meters, uint32_t count, int64_t queued_ns, int64_t begun_ns, int64_t applied_ns)
{
    lc_histogram *histograms = meters->histograms;
    lc_histogram_record(&histograms[LC_METER_QUEUE], begun_ns - queued_ns, count);
    lc_histogram_record(&histograms[LC_METER_KERNEL], applied_ns - begun_ns, count);
    lc_histogram_record(&histograms[LC_METER_BATCH], count, 1);
}

/* Count a group of records that was written and synced since a time. */
static inline void lc_meters_note_group(
    lc_meters *meters, uint32_t count, uint32_t bytes, int64_t begun_ns)
{
    lc_histogram *histograms = meters->histograms;
    lc_histogram_record(&histograms[LC_METER_SYNC], lc_monotonic_ns() - begun_ns, 1);
    lc_histogram_record(&histograms[LC_METER_GROUP], count, 1);
    lc_meter_add(&meters->journal_bytes, bytes);
}

/* Count the outcomes of a batch; returns how many of them took an LSN. Gathered first: one addition
 * to shared memory for each status. */
static inline uint32_t lc_meters_count(
    lc_meters *meters, const lc_outcome *outcomes, uint32_t count)
{
    uint32_t seen[LC_STATUS_END] = {0}, replays = 0, taken = 0;
    for (uint32_t i = 0; i < count; i++) {
        replays += outcomes[i].replayed;
        seen[outcomes[i].status] += !outcomes[i].replayed;
        taken += outcomes[i].status < LC_OUTCOME_END && !outcomes[i].replayed;
    }
    if (!meters->is_on)
        return taken;
    for (uint32_t status = 0; status < LC_STATUS_END; status++)
        if (seen[status] > 0)
            lc_meter_add(&meters->outcomes[status], seen[status]);
    if (replays > 0)
        lc_meter_add(&meters->replays, replays);
    return taken;
}

#endif
