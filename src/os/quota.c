/*
 * How many CPUs this process may use: the affinity mask, limited by the cgroup's CPU quota (v2
 * cpu.max, v1 cfs_quota) of the process's group and of every group above it.
 */
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "os/pool.h"

enum { PATH_BYTES = 600, LINE_BYTES = 512 };

static bool read_line(const char *path, char *dst, int size)
{
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    bool got = fgets(dst, size, file) != NULL;
    fclose(file);
    return got;
}

/* A share of one and a half CPUs keeps two threads busy three quarters of the time: round up. */
static int cpus_of(double quota_us, double period_us, int most)
{
    if (quota_us <= 0 || period_us <= 0 || quota_us >= period_us * most)
        return most;
    int cpus = (int)((quota_us + period_us - 1) / period_us);
    return cpus < 1 ? 1 : cpus;
}

/* "max 100000" or "150000 100000". */
static int limit_v2(const char *folder, int most)
{
    char path[PATH_BYTES + 32];
    char line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/cpu.max", folder);
    if (!read_line(path, line, sizeof line))
        return most;
    char *rest; /* "max" is no number: 0, which limits nothing */
    double quota = strtod(line, &rest);
    return cpus_of(quota, strtod(rest, NULL), most);
}

static int limit_v1(const char *folder, int most)
{
    char path[PATH_BYTES + 32];
    char quota[LINE_BYTES];
    char period[LINE_BYTES];
    snprintf(path, sizeof path, "%s/cpu.cfs_quota_us", folder);
    if (!read_line(path, quota, sizeof quota))
        return most;
    snprintf(path, sizeof path, "%s/cpu.cfs_period_us", folder);
    if (!read_line(path, period, sizeof period))
        return most;
    return cpus_of(strtod(quota, NULL), strtod(period, NULL), most);
}

/* From the group's folder up to the mount point. In a container without a cgroup namespace the
 * group's path does not exist below the mount; the walk then ends at the mount point, whose files
 * are the right ones. */
static int limit_upwards(const char *mount, const char *group, int most,
                         int (*limit)(const char *, int))
{
    char folder[PATH_BYTES];
    int size = snprintf(folder, sizeof folder, "%s%s", mount, group);
    if (size < 0 || (size_t)size >= sizeof folder)
        return limit(mount, most);
    while (strlen(folder) > strlen(mount)) {
        most = limit(folder, most);
        *strrchr(folder, '/') = '\0';
    }
    return limit(mount, most);
}

static bool has_controller(const char *list, const char *name)
{
    size_t size = strlen(name);
    for (const char *at = list; (at = strstr(at, name)) != NULL; at += size)
        if ((at == list || at[-1] == ',') && (at[size] == ',' || at[size] == '\0'))
            return true;
    return false;
}

/* One line of /proc/self/cgroup: "0::/path" (v2) or "4:cpu,cpuacct:/path" (v1). */
static int limit_of_line(char *line, int most)
{
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *group = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!group)
        return most;
    *group++ = '\0';
    controllers++;
    if (*controllers == '\0') {
        most = limit_upwards("/sys/fs/cgroup", group, most, limit_v2);
        return limit_upwards("/sys/fs/cgroup/unified", group, most, limit_v2);
    }
    if (has_controller(controllers, "cpu"))
        return limit_upwards("/sys/fs/cgroup/cpu", group, most, limit_v1);
    return most;
}

int qn_pool_default_threads(void)
{
    cpu_set_t mask;
    int cpus = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : 1;
    FILE *groups = fopen("/proc/self/cgroup", "re");
    char line[LINE_BYTES];
    while (groups && fgets(line, sizeof line, groups))
        cpus = limit_of_line(line, cpus);
    if (groups)
        fclose(groups);
    return cpus < 1 ? 1 : cpus;
}
