/* Clocks and memory readings, from clock_gettime, /proc and the cgroup. */
#include "os/clock.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t qn_now_ns(void)
{
    return clock_ns(CLOCK_MONOTONIC);
}

int64_t qn_wall_s(void)
{
    return (int64_t)time(NULL);
}

int64_t qn_cpu_time_ns(void)
{
    return clock_ns(CLOCK_PROCESS_CPUTIME_ID);
}

int64_t qn_rss_bytes(void)
{
    long long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file)
        return 0;
    if (fscanf(file, "%*s %lld", &pages) != 1)
        pages = 0;
    fclose(file);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

int64_t qn_rss_peak_bytes(void)
{
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0)
        return 0;
    return (int64_t)usage.ru_maxrss * 1024;
}

/* "MemAvailable:  123456 kB" */
static int64_t machine_available(void)
{
    char line[256];
    long long kib = -1;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && kib < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, "MemAvailable:", 13) == 0)
            kib = strtoll(line + 13, NULL, 10);
    if (file)
        fclose(file);
    return kib < 0 ? INT64_MAX : (int64_t)kib * 1024;
}

/* A file with one number; "max" and absent files are no limit. */
static bool read_number(const char *path, int64_t *ret)
{
    char line[64];
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool got = fgets(line, sizeof line, file) && line[0] >= '0' && line[0] <= '9';
    fclose(file);
    if (got)
        *ret = strtoll(line, NULL, 10);
    return got;
}

/* The group's own limit as seen from inside a container, v2 then v1. */
static int64_t cgroup_available(void)
{
    int64_t limit;
    int64_t used;
    if (read_number("/sys/fs/cgroup/memory.max", &limit) &&
        read_number("/sys/fs/cgroup/memory.current", &used))
        return limit > used ? limit - used : 0;
    if (read_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", &limit) &&
        read_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", &used))
        return limit > used ? limit - used : 0;
    return INT64_MAX;
}

int64_t qn_memory_available_bytes(void)
{
    int64_t machine = machine_available();
    int64_t group = cgroup_available();
    return machine < group ? machine : group;
}

void qn_wall_text(int64_t wall_s, char dst[32])
{
    time_t when = (time_t)wall_s;
    struct tm parts;
    if (!gmtime_r(&when, &parts) || strftime(dst, 32, "%Y-%m-%dT%H:%M:%SZ", &parts) == 0)
        dst[0] = '\0';
}
