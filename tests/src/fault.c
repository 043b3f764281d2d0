/* A library that is loaded before the system's own and lets one operation on chosen files fail.
   MED2E3_FAULT: "read NUMBER TIMES FIRST PREFIX": from call FIRST on, TIMES calls of read (or open) on paths that start
   with PREFIX fail with the system's error NUMBER. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char operation[8], prefix[1024];
static int number, times, first, calls;

__attribute__((constructor)) static void start(void) {
    const char *fault = getenv("MED2E3_FAULT");
    if (fault && sscanf(fault, "%7s %d %d %d %1023[^\n]", operation, &number, &times, &first, prefix) != 5) abort();
}

static int fails(const char *what, const char *path) {
    if (strcmp(what, operation) != 0 || strncmp(path, prefix, strlen(prefix)) != 0) return 0;
    int call = __sync_add_and_fetch(&calls, 1);
    if (call < first || call >= first + times) return 0;
    errno = number;
    return 1;
}

ssize_t read(int file, void *out, size_t bytes) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = operation[0] == 'r' ? readlink(link, path, sizeof path - 1) : -1;
    if (length > 0) {
        path[length] = 0;
        if (fails("read", path)) return -1;
    }
    return real(file, out, bytes);
}

int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    if (!real) real = (int (*)(const char *, int, ...))dlsym(RTLD_NEXT, "open64");
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    return fails("open", path) ? -1 : real(path, flags, mode);
}
