/*
 * The one worker pool. Work is cut into chunks whose boundaries depend on the work alone; workers
 * (and the caller) claim chunks as they get free, so a busy neighbour never holds up the rest.
 * Workers spin briefly for the next job, then sleep on a futex. Every worker flushes denormals
 * (FTZ, DAZ).
 */
#ifndef QN_OS_POOL_H
#define QN_OS_POOL_H

#include <stdint.h>

#include "base/error.h"

typedef struct qn_pool qn_pool;

/* Called once per chunk with chunk in [0, chunks); `worker` in [0, threads) for per-thread scratch.
 * Must not fail and must not call qn_pool_run on the same pool. */
typedef void (*qn_pool_fn)(void *context, int64_t chunk, int worker);

/* threads: workers including the caller; 0 = what the cgroup quota and affinity grant. A pool of
 * one thread has no workers and runs in the caller. */
QN_MUST_USE qn_status qn_pool_create(int threads, qn_pool **ret, qn_error *err);
void qn_pool_destroy(qn_pool *pool);
int qn_pool_threads(const qn_pool *pool);
/* Runs all chunks and returns when they are done. pool may be NULL (serial). One caller at a time.
 */
void qn_pool_run(qn_pool *pool, qn_pool_fn fn, void *context, int64_t chunks);
/* A moment's rest in a loop that waits for what another thread does: short, or where `waited` > 0 the system may give the
 * core to somebody else. */
void qn_pool_pause(int64_t waited);
int qn_pool_default_threads(void);
/* Sets FTZ and DAZ in the calling thread (all that run kernels: workers and callers). */
void qn_flush_denormals(void);

#endif
