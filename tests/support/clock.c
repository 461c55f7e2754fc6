/* Makes the clocks of one process jump, for the tests: preloaded, it moves what the process is told of the time.
 *
 *   CLOCK_JUMP           which clocks and by how many seconds, such as "wall -3600"
 *                        wall:  the wall clock alone, as when somebody sets it
 *                        sleep: the wall clock and CLOCK_BOOTTIME, as when the machine was suspended
 *                        run:   the monotonic clocks, as in a virtual machine that was paused and whose clocks went on.
 *                        The kernel's waits until a moment of these clocks are told the moment that is meant.
 *   CLOCK_JUMP_AFTER_MS  so long after the process began (default: from the beginning)
 *   CLOCK_JUMP_FILE      in place of these two: a file that may come later and may change, with the same words in it
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum which { WALL, SLEEP, RUN };
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
    which = !strcmp(name, "sleep") ? SLEEP : !strcmp(name, "run") ? RUN : WALL;
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
        return of == RUN ? 0 : by_s;
    case CLOCK_BOOTTIME:
        return of == WALL ? 0 : by_s;
    case CLOCK_MONOTONIC:
    case CLOCK_MONOTONIC_COARSE:
    case CLOCK_MONOTONIC_RAW:
        return of == RUN ? by_s : 0;
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

/* Until when the kernel is to wait, by its own clock. */
static struct timespec meant(clockid_t clock, const struct timespec *until) {
    struct timespec by_kernel = *until;
    by_kernel.tv_sec -= moved_s(clock);
    if (by_kernel.tv_sec < 0) by_kernel.tv_sec = by_kernel.tv_nsec = 0;
    return by_kernel;
}

/* How Rust's threads wait. */
long syscall(long number, ...) {
    static long (*real)(long, ...);
    if (!real) real = dlsym(RTLD_NEXT, "syscall");
    va_list list;
    long a[6];
    va_start(list, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
    va_end(list);
    int is_until = number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT_BITSET && !(a[1] & FUTEX_CLOCK_REALTIME);
    if (!is_until || !a[3]) return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    pthread_once(&once, set_up);
    struct timespec until = meant(CLOCK_MONOTONIC, (const struct timespec *)a[3]);
    return real(number, a[0], a[1], a[2], &until, a[4], a[5]);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *time, struct timespec *left) {
    static int (*real)(clockid_t, int, const struct timespec *, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_nanosleep");
    pthread_once(&once, set_up);
    if (!(flags & TIMER_ABSTIME)) return real(clock, flags, time, left);
    struct timespec until = meant(clock, time);
    return real(clock, flags, &until, left);
}

int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *time) {
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
    pthread_once(&once, set_up);
    struct timespec until = meant(clock, time);
    return real(condition, mutex, clock, &until);
}
