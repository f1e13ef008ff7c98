/* Preloaded by test_logged_time.py: the clocks of a process, each set off by what a file says.
 *
 * The file of the environment's STEPPED_CLOCK holds two int64 of nanoseconds, which are added to
 * CLOCK_REALTIME and to CLOCK_BOOTTIME. It is mapped, so that a step is seen at once.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offsets;

__attribute__((constructor)) static void map_offsets(void)
{
    const char *path = getenv("STEPPED_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd < 0)
        abort();
    void *mapping = mmap(NULL, 16, PROT_READ, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED)
        abort();
    offsets = mapping;
    close(fd);
}

int clock_gettime(clockid_t clock, struct timespec *time)
{
    int result = (int)syscall(SYS_clock_gettime, clock, time);
    if (result == 0 && offsets && (clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME)) {
        int64_t offset = offsets[clock == CLOCK_BOOTTIME];
        int64_t ns = (int64_t)time->tv_sec * 1000000000 + time->tv_nsec + offset;
        time->tv_sec = ns / 1000000000;
        time->tv_nsec = ns % 1000000000;
    }
    return result;
}
