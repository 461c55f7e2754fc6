/* Makes the clocks of one process jump, for the tests: preloaded, it moves what the process is told of the time.
 *
 *   CLOCK_JUMP           which clocks and by how many seconds, such as "wall -3600"
 *                        wall:  the wall clock alone, as when somebody sets it
 *                        sleep: the wall clock and CLOCK_BOOTTIME, as when the machine was suspended
 *                        The monotonic clock is left alone: the kernel's own waits go by it and would know nothing of it.
 *   CLOCK_JUMP_AFTER_MS  so long after the process began (default: from the beginning)
 *   CLOCK_JUMP_FILE      in place of these two: a file that may come later and may change, with the same words in it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum which { WALL, SLEEP };
/* The file is looked at so often. */
static const long look_every_ms = 20;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int (*real_clock_gettime)(clockid_t, struct timespec *);
static const char *file;
static long jumps_at_ms, looked_at_ms;
static enum which which;
static long jump_s;

static long now_ms(void) {
    struct timespec now;
    real_clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void take(const char *words) {
    char name[16];
    long by_s;
    if (!words || sscanf(words, "%15s %ld", name, &by_s) != 2) return;
    which = !strcmp(name, "sleep") ? SLEEP : WALL;
    jump_s = by_s;
}

static void set_up(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    const char *after = getenv("CLOCK_JUMP_AFTER_MS");
    jumps_at_ms = now_ms() + (after ? atol(after) : 0);
    file = getenv("CLOCK_JUMP_FILE");
    take(getenv("CLOCK_JUMP"));
}

/* The process begins when it is loaded, not when it first asks. */
__attribute__((constructor)) static void begin(void) { pthread_once(&once, set_up); }

static void look(long now) {
    char words[64] = {0};
    if (now - looked_at_ms < look_every_ms) return;
    looked_at_ms = now;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    if (read(fd, words, sizeof words - 1) > 0) take(words);
    close(fd);
}

/* By how many seconds this clock is moved now. */
static long moved_s(clockid_t clock) {
    long now = now_ms();
    pthread_mutex_lock(&lock);
    if (file) look(now);
    long by_s = now >= jumps_at_ms ? jump_s : 0;
    enum which of = which;
    pthread_mutex_unlock(&lock);
    switch (clock) {
    case CLOCK_REALTIME:
    case CLOCK_REALTIME_COARSE:
        return by_s;
    case CLOCK_BOOTTIME:
        return of == WALL ? 0 : by_s;
    default:
        return 0;
    }
}

int clock_gettime(clockid_t clock, struct timespec *told) {
    pthread_once(&once, set_up);
    int result = real_clock_gettime(clock, told);
    if (result == 0) told->tv_sec += moved_s(clock);
    return result;
}

time_t time(time_t *told) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (told) *told = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict told, void *restrict zone) {
    (void)zone;
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    told->tv_sec = now.tv_sec;
    told->tv_usec = now.tv_nsec / 1000;
    return 0;
}
