/* A library that is loaded before the system's own and lets one operation on chosen files fail.
   MED2E3_FAULT: "read NUMBER TIMES FIRST PREFIX": from call FIRST on, TIMES calls of read (or open, or write) on paths that
   start with PREFIX fail with the system's error NUMBER.
   MED2E3_STORM: a timer's signal every millisecond, whose handler writes to its stack. The program is aborted where, once a
   thread with the name "signals" has taken one, another thread takes one, or where that thread never takes any.
   MED2E3_THREADS: the system gives this many threads at once besides the first.
   MED2E3_EARLY_CLOCK: the clock shows a day before 1970. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static char operation[8], prefix[1024];
static int number, times, first, calls;

static volatile int storm, taken;

static void handle(int signal) {
    volatile char room[4096];
    for (unsigned at = 0; at < sizeof room; at++) room[at] = (char)signal;
    char name[16] = "";
    prctl(PR_GET_NAME, name);
    int is_own = strcmp(name, "signals") == 0;
    if (taken && !is_own) abort();
    taken |= is_own;
}

__attribute__((destructor)) static void end(void) {
    if (storm && !taken) abort();
}

__attribute__((constructor)) static void start(void) {
    if (getenv("MED2E3_STORM")) {
        storm = 1;
        struct sigaction action = {.sa_handler = handle, .sa_flags = SA_RESTART};
        struct itimerval timer = {{0, 1000}, {0, 1000}};
        sigaction(SIGALRM, &action, NULL);
        setitimer(ITIMER_REAL, &timer, NULL);
    }
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

static int open_file_fails(const char *what, int file) {
    char link[64], path[1024];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = strcmp(what, operation) == 0 ? readlink(link, path, sizeof path - 1) : -1;
    if (length <= 0) return 0;
    path[length] = 0;
    return fails(what, path);
}

ssize_t read(int file, void *out, size_t bytes) {
    static ssize_t (*real)(int, void *, size_t);
    if (!real) real = (ssize_t (*)(int, void *, size_t))dlsym(RTLD_NEXT, "read");
    return open_file_fails("read", file) ? -1 : real(file, out, bytes);
}

ssize_t write(int file, const void *bytes, size_t count) {
    static ssize_t (*real)(int, const void *, size_t);
    if (!real) real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return open_file_fails("write", file) ? -1 : real(file, bytes, count);
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

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, now);
    if (clock == CLOCK_REALTIME && getenv("MED2E3_EARLY_CLOCK")) now->tv_sec = -86400;
    return result;
}

struct body {
    void *(*run)(void *);
    void *argument;
};

static int threads;

static void *run(void *given) {
    struct body body = *(struct body *)given;
    free(given);
    void *result = body.run(body.argument);
    __sync_sub_and_fetch(&threads, 1);
    return result;
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *argument) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) real = (int (*)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *))dlsym(RTLD_NEXT, "pthread_create");
    const char *most = getenv("MED2E3_THREADS");
    if (!most) return real(thread, attributes, start, argument);
    if (__sync_add_and_fetch(&threads, 1) > atoi(most)) {
        __sync_sub_and_fetch(&threads, 1);
        return EAGAIN;
    }
    struct body *body = malloc(sizeof *body);
    *body = (struct body){start, argument};
    return real(thread, attributes, run, body);
}
