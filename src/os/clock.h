/* Clocks and memory readings of this process. */
#ifndef QN_OS_CLOCK_H
#define QN_OS_CLOCK_H

#include <stdint.h>

int64_t qn_now_ns(void);      /* monotonic */
int64_t qn_wall_s(void);      /* seconds since 1970 */
int64_t qn_cpu_time_ns(void); /* this process, all threads */
int64_t qn_rss_bytes(void);
int64_t qn_rss_peak_bytes(void);
int64_t qn_memory_available_bytes(void);         /* the smaller of the machine's and the cgroup's */
void qn_wall_text(int64_t wall_s, char dst[32]); /* 2026-01-31T12:00:00Z */

#endif
