/* Make one call of a kind fail: preloaded into a command by faults.py.

   FAULT_KIND names the kind, FAULT_NUMBER which call of it fails (0: none) after begin_faults(), and
   FAULT_COUNT a file that gets the numbers of calls when the process ends. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static const char *const KINDS[] = {
    "write", "open", "rename", "lock", "fsync", "thread", "load", "allocation", NULL};
static atomic_long calls[8];
static const size_t LARGE = 256 << 10; /* bytes; small ones fail in the libraries' own hands */

static const char *wanted;
static long number;

void begin_faults(void)
{
    wanted = getenv("FAULT_KIND");
    number = getenv("FAULT_NUMBER") ? atol(getenv("FAULT_NUMBER")) : 0;
}

static int fails(const char *kind)
{
    int place = 0;
    while (strcmp(KINDS[place], kind))
        place++;
    return wanted && ++calls[place] == number && !strcmp(wanted, kind);
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((destructor)) static void report(void)
{
    const char *path = getenv("FAULT_COUNT");
    char text[64];
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, 0644) : -1;
    for (int place = 0; file >= 0 && KINDS[place]; place++) {
        int size = snprintf(text, sizeof text, "%s %ld\n", KINDS[place], (long)calls[place]);
        syscall(SYS_write, file, text, size);
    }
}

ssize_t write(int file, const void *data, size_t size)
{
    struct stat about;
    if (file != 2 && (file == 1 || (!fstat(file, &about) && S_ISREG(about.st_mode))) &&
        fails("write")) {
        errno = ENOSPC;
        return -1;
    }
    return REAL(write)(file, data, size);
}

int fsync(int file)
{
    if (fails("fsync")) {
        errno = EIO;
        return -1;
    }
    return REAL(fsync)(file);
}

int rename(const char *from, const char *to)
{
    if (fails("rename")) {
        errno = EACCES;
        return -1;
    }
    return REAL(rename)(from, to);
}

int flock(int file, int how)
{
    if (fails("lock")) {
        errno = ENOLCK;
        return -1;
    }
    return REAL(flock)(file, how);
}

int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, mode_t);
    va_end(rest);
    if (flags & (O_WRONLY | O_RDWR) && fails("open")) {
        errno = EACCES;
        return -1;
    }
    return REAL(open64)(path, flags, mode);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *how, void *(*run)(void *), void *given)
{
    return fails("thread") ? EAGAIN : REAL(pthread_create)(thread, how, run, given);
}

void *dlopen(const char *path, int flags)
{
    return REAL(dlopen)(path && fails("load") ? "/no such library" : path, flags);
}

void *malloc(size_t size)
{
    return size >= LARGE && fails("allocation") ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return count * size >= LARGE && fails("allocation") ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return size >= LARGE && fails("allocation") ? NULL : __libc_realloc(old, size);
}

int posix_memalign(void **place, size_t alignment, size_t size)
{
    *place = size >= LARGE && fails("allocation") ? NULL : __libc_memalign(alignment, size);
    return *place || !size ? 0 : ENOMEM;
}
