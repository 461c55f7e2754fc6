/* Makes the disk under one directory fail, for the tests: preloaded into a process, it fails or drops writes
 * and syncs of files under FAULTFS_DIRECTORY from a counted call on.
 *
 *   FAULTFS_OPERATION  write | sync | any: which calls are counted
 *   FAULTFS_AFTER      so many calls are let through
 *   FAULTFS_FAILURE    full: ENOSPC until FAULTFS_FREED bytes were unlinked | eio: EIO, for ever |
 *                      once: EIO, one time | kill: SIGKILL before the call | torn: half of a write, then SIGKILL
 *                      slow: each call takes FAULTFS_MS longer
 *                      power: every write is logged to FAULTFS_LOG, each sync as a barrier, nothing fails
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum operation { WRITE = 1, SYNC = 2 };
enum failure { NONE, FULL, EIO_ALWAYS, EIO_ONCE, KILL, TORN, SLOW, POWER };

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *directory;
static size_t directory_length;
static int operations;
static enum failure failure;
static long remaining;
static long slow_ms;
static int log_fd = -1;
/* Room that was made by removing a file; the full disk has this much. */
static long freed;

static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_write)(int, const void *, size_t);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);

static void set_up(void) {
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_write = dlsym(RTLD_NEXT, "write");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rename = dlsym(RTLD_NEXT, "rename");
    directory = getenv("FAULTFS_DIRECTORY");
    directory_length = directory ? strlen(directory) : 0;
    const char *operation = getenv("FAULTFS_OPERATION");
    operations = !operation ? 0
               : !strcmp(operation, "write") ? WRITE
               : !strcmp(operation, "sync") ? SYNC
                                            : WRITE | SYNC;
    const char *after = getenv("FAULTFS_AFTER");
    remaining = after ? atol(after) : 0;
    const char *name = getenv("FAULTFS_FAILURE");
    failure = !name ? NONE
            : !strcmp(name, "full") ? FULL
            : !strcmp(name, "eio") ? EIO_ALWAYS
            : !strcmp(name, "once") ? EIO_ONCE
            : !strcmp(name, "kill") ? KILL
            : !strcmp(name, "torn") ? TORN
            : !strcmp(name, "slow") ? SLOW
            : !strcmp(name, "power") ? POWER
                                     : NONE;
    const char *slow = getenv("FAULTFS_MS");
    slow_ms = slow ? atol(slow) : 0;
    const char *log = getenv("FAULTFS_LOG");
    if (log) log_fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The part of a path behind the directory, or NULL for one of somewhere else. */
static const char *inside(const char *path) {
    pthread_once(&once, set_up);
    if (!directory || failure == NONE) return NULL;
    if (strncmp(path, directory, directory_length) || path[directory_length] != '/') return NULL;
    return path + directory_length + 1;
}

/* The same for an open file. */
static const char *ours(int fd, char path[PATH_MAX]) {
    pthread_once(&once, set_up);
    if (!directory || failure == NONE) return NULL;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return NULL;
    path[length] = 0;
    return inside(path);
}

/* Whether this call is one that fails. */
static int is_due(enum operation operation, size_t bytes) {
    if (!(operations & operation) || failure == POWER) return 0;
    pthread_mutex_lock(&lock);
    int due = remaining <= 0;
    if (remaining > 0) remaining--;
    if (due && failure == FULL && freed >= (long)bytes) {
        freed -= (long)bytes;
        due = 0;
    }
    if (due && failure == EIO_ONCE) remaining = LONG_MAX;
    pthread_mutex_unlock(&lock);
    if (due && failure == KILL) kill(getpid(), SIGKILL);
    if (due && failure == SLOW) {
        usleep((useconds_t)slow_ms * 1000);
        due = 0;
    }
    return due;
}

static int fail(void) {
    errno = failure == FULL ? ENOSPC : EIO;
    return -1;
}

/* A record: kind (0 write, 1 sync, 2 truncate, 3 unlink, 4 rename, whose data is the new name), length of the name, of the data, offset; name; data. */
static void note(uint32_t kind, const char *name, const void *data, size_t length, off_t offset) {
    if (failure != POWER || log_fd < 0) return;
    uint32_t name_length = (uint32_t)strlen(name);
    uint64_t numbers[2] = {length, (uint64_t)offset};
    pthread_mutex_lock(&lock);
    real_write(log_fd, &kind, sizeof kind);
    real_write(log_fd, &name_length, sizeof name_length);
    real_write(log_fd, numbers, sizeof numbers);
    real_write(log_fd, name, name_length);
    if (data) real_write(log_fd, data, length);
    pthread_mutex_unlock(&lock);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) {
    char path[PATH_MAX];
    const char *name = ours(fd, path);
    if (!name) return real_pwrite(fd, data, length, offset);
    if (is_due(WRITE, length)) {
        if (failure == TORN) {
            real_pwrite(fd, data, length / 2, offset);
            kill(getpid(), SIGKILL);
        }
        return fail();
    }
    note(0, name, data, length, offset);
    return real_pwrite(fd, data, length, offset);
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    return pwrite64(fd, data, length, offset);
}

ssize_t write(int fd, const void *data, size_t length) {
    char path[PATH_MAX];
    const char *name = ours(fd, path);
    if (name && is_due(WRITE, length)) return fail();
    if (name) note(0, name, data, length, lseek(fd, 0, SEEK_CUR));
    return real_write(fd, data, length);
}

int ftruncate64(int fd, off_t length) {
    char path[PATH_MAX];
    const char *name = ours(fd, path);
    if (name) note(2, name, NULL, 0, length);
    return real_ftruncate(fd, length);
}

int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int synced(int fd, int (*sync)(int)) {
    char path[PATH_MAX];
    const char *name = ours(fd, path);
    if (name && is_due(SYNC, 0)) return fail();
    int result = sync(fd);
    if (name && result == 0) note(1, name, NULL, 0, 0);
    return result;
}

int fsync(int fd) {
    pthread_once(&once, set_up);
    return synced(fd, real_fsync);
}

int fdatasync(int fd) {
    pthread_once(&once, set_up);
    return synced(fd, real_fdatasync);
}

int unlink(const char *path) {
    const char *name = inside(path);
    struct stat status;
    int counted = name && !stat(path, &status);
    int result = real_unlink(path);
    if (result == 0 && counted) {
        note(3, name, NULL, 0, 0);
        pthread_mutex_lock(&lock);
        freed += (long)status.st_size;
        pthread_mutex_unlock(&lock);
    }
    return result;
}

int rename(const char *from, const char *to) {
    const char *old = inside(from), *new = inside(to);
    int result = real_rename(from, to);
    if (result == 0 && old && new) note(4, old, new, strlen(new), 0);
    return result;
}
