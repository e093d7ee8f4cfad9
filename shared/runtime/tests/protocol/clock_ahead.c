/* Preloaded into a process: its clock is CLOCK_AHEAD_S seconds ahead. The monotonic clock is not
   touched, as on a machine whose time was set wrong. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *at) {
    long failed = syscall(SYS_clock_gettime, clock, at);
    const char *ahead = getenv("CLOCK_AHEAD_S");
    if (failed == 0 && clock == CLOCK_REALTIME && ahead != NULL) {
        at->tv_sec += atol(ahead);
    }
    return (int)failed;
}
