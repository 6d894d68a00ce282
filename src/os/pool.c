/*
 * The worker pool: one job at a time, described by plain fields and guarded by one atomic word.
 *
 *     state = generation | WAITING | OPEN | active
 *
 * The caller writes the job, then publishes it by a store that sets OPEN and a new generation. A
 * worker joins by raising `active` while OPEN is set, claims chunks from a shared counter until
 * none is left, and lowers `active`. The caller claims chunks too, then clears OPEN and waits until
 * `active` is 0: a worker that the system never scheduled has not joined and is not waited for; one
 * that joined holds at most one chunk. Nobody touches the job's fields outside that window, so the
 * fields need no atomics.
 */
#include "os/pool.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include "base/alloc.h"
#include "os/clock.h"

enum {
    THREADS_MAX = 1024,
    RUN_CHUNKS_MAX = 1 << 30, /* a range's ends are 32 bits */
    SPIN_NS = 100000, /* a training step has its next job within this; to be woken takes 20 us */
    SPIN_BATCH = 16,  /* pauses between looks at the clock */
    TURN_NS = 700000, /* below a scheduler's slice, 1 to 4 ms */
    SHARED_NS = 100000000, /* a core on which another process ran counts as shared so long */
    AWAY_NS = 20000        /* a yield that lets somebody in takes longer */
};

#define STATE_ACTIVE     0x3FFFu
#define STATE_OPEN       0x4000u
#define STATE_WAITING    0x8000u
#define STATE_GENERATION 0xFFFF0000u
#define GENERATION_ONE   0x00010000u

/* Futex bit sets: workers and caller sleep on the same word. */
enum { WAKE_WORKERS = 1, WAKE_CALLER = 2 };

typedef struct {
    qn_pool *pool;
    pthread_t thread;
    int number; /* 1 .. threads - 1; the caller is 0 */
} pool_worker;

/* A worker's turn on its core, which another process may want too. */
typedef struct {
    int64_t began_ns;
    long preempted;          /* count_preemptions() when last looked at */
    int64_t shared_until_ns; /* somebody else was on the core not long ago */
} pool_turn;

/* What is left of a thread's chunks: begin in the upper half, end in the lower. */
typedef struct {
    _Alignas(64) _Atomic uint64_t left;
} pool_range;

struct qn_pool {
    int threads;
    int64_t spin_ns;
    pool_worker *workers;
    pool_range *ranges;

    qn_pool_fn fn;
    void *context;
    int64_t chunks;
    int64_t chunk_first; /* what a range's 0 stands for */

    _Alignas(64) _Atomic uint32_t state; /* on its own cache line: it is watched */
    _Alignas(64) _Atomic int sleepers;
    atomic_bool stopping;
};

static void futex_wait(_Atomic uint32_t *word, uint32_t expected, uint32_t bits)
{
    syscall(SYS_futex, word, FUTEX_WAIT_BITSET_PRIVATE, expected, NULL, NULL, bits);
}

static void futex_wake(_Atomic uint32_t *word, int count, uint32_t bits)
{
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET_PRIVATE, count, NULL, NULL, bits);
}

static void cpu_relax(void)
{
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void qn_pool_pause(int64_t waited)
{
    if (waited > 0)
        sched_yield();
    else
        cpu_relax();
}

void qn_flush_denormals(void)
{
#if defined(__x86_64__)
    enum { FTZ = 0x8000, DAZ = 0x0040 };
    unsigned control = _mm_getcsr();
    if ((control & (FTZ | DAZ)) != (FTZ | DAZ))
        _mm_setcsr(control | FTZ | DAZ);
#elif defined(__aarch64__)
    uint64_t control;
    __asm__ volatile("mrs %0, fpcr" : "=r"(control));
    __asm__ volatile("msr fpcr, %0" : : "r"(control | UINT64_C(1) << 24));
#endif
}

/* One chunk from the front (the owner) or the back (others) of a range; -1 when it is empty. */
static int64_t claim(pool_range *range, bool front)
{
    uint64_t left = atomic_load_explicit(&range->left, memory_order_relaxed);
    for (;;) {
        uint32_t begin = (uint32_t)(left >> 32);
        uint32_t end = (uint32_t)left;
        if (begin >= end)
            return -1;
        uint64_t rest = front ? left + (UINT64_C(1) << 32) : left - 1;
        if (atomic_compare_exchange_weak_explicit(&range->left, &left, rest, memory_order_relaxed,
                                                  memory_order_relaxed))
            return front ? begin : end - 1;
    }
}

/* How often the system took the core from this thread, which was not done with it. */
static long count_preemptions(void)
{
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

/* A core that is shared is taken away in the midst of a chunk, and everybody waits for that chunk
 * until the other process's slice ends. So a worker that was preempted leaves the job after a while
 * and lets the other in of its own accord, while the threads that run take what is left. */
static bool is_turn_over(pool_turn *turn)
{
    int64_t now_ns = qn_now_ns();
    if (now_ns - turn->began_ns < TURN_NS)
        return false;
    long preempted = count_preemptions();
    if (preempted != turn->preempted)
        turn->shared_until_ns = now_ns + SHARED_NS;
    turn->preempted = preempted;
    turn->began_ns = now_ns;
    return now_ns < turn->shared_until_ns;
}

static void give_way(pool_turn *turn)
{
    int64_t since_ns = qn_now_ns();
    sched_yield();
    turn->began_ns = qn_now_ns();
    if (turn->began_ns - since_ns > AWAY_NS)
        turn->shared_until_ns = turn->began_ns + SHARED_NS;
    turn->preempted = count_preemptions(); /* a yield counts as one */
}

/* Runs chunks until none is left; false: a turn, where there is one, ended before. */
static bool run_chunks(qn_pool *pool, int worker, pool_turn *turn)
{
    for (int i = 0; i < pool->threads; i++) {
        pool_range *range = &pool->ranges[(worker + i) % pool->threads];
        int64_t chunk;
        while ((chunk = claim(range, i == 0)) >= 0) {
            pool->fn(pool->context, pool->chunk_first + chunk, worker);
            if (turn && is_turn_over(turn))
                return false;
        }
    }
    return true;
}

/* Is there a job that this worker has not seen? */
static bool has_new_job(uint32_t state, uint32_t seen)
{
    return (state & STATE_OPEN) && (state & STATE_GENERATION) != seen;
}

/* Spins, then sleeps, until there is a new job or the pool stops; returns the last state read. */
static uint32_t await_job(qn_pool *pool, uint32_t seen)
{
    uint32_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);
    if (pool->spin_ns > 0 && !has_new_job(state, seen)) {
        int64_t until_ns = qn_now_ns() + pool->spin_ns;
        do {
            for (int i = 0; i < SPIN_BATCH && !has_new_job(state, seen); i++) {
                cpu_relax();
                state = atomic_load_explicit(&pool->state, memory_order_relaxed);
            }
        } while (!has_new_job(state, seen) && qn_now_ns() < until_ns);
    }
    if (has_new_job(state, seen))
        return state;
    /* The counter goes up before the state is read again, and the caller stores the state before it
     * reads the counter: one of the two always sees the other. */
    atomic_fetch_add(&pool->sleepers, 1);
    state = atomic_load(&pool->state);
    while (!has_new_job(state, seen) && !atomic_load(&pool->stopping)) {
        futex_wait(&pool->state, state, WAKE_WORKERS);
        state = atomic_load(&pool->state);
    }
    atomic_fetch_sub(&pool->sleepers, 1);
    return state;
}

static bool join_job(qn_pool *pool, uint32_t state, uint32_t seen)
{
    while (has_new_job(state, seen))
        if (atomic_compare_exchange_weak_explicit(&pool->state, &state, state + 1,
                                                  memory_order_acquire, memory_order_relaxed))
            return true;
    return false;
}

static void leave_job(qn_pool *pool)
{
    uint32_t state = atomic_fetch_sub_explicit(&pool->state, 1, memory_order_release) - 1;
    if ((state & STATE_WAITING) && (state & STATE_ACTIVE) == 0)
        futex_wake(&pool->state, 1, WAKE_CALLER);
}

static void *worker_main(void *argument)
{
    pool_worker *self = argument;
    qn_pool *pool = self->pool;
    char name[16];
    snprintf(name, sizeof name, "quern-%d", self->number);
    pthread_setname_np(pthread_self(), name);
    qn_flush_denormals();
    pool_turn turn = {0};
    uint32_t seen = 0; /* no job has generation 0 before the first wrap */
    while (!atomic_load(&pool->stopping)) {
        uint32_t state = await_job(pool, seen);
        if (!join_job(pool, state, seen))
            continue;
        seen = state & STATE_GENERATION;
        bool finished = run_chunks(pool, self->number, &turn);
        leave_job(pool);
        if (!finished) {
            give_way(&turn);
            seen = 0; /* what is left of the job is still wanted */
        }
    }
    return NULL;
}

static void publish(qn_pool *pool)
{
    uint32_t state = atomic_load_explicit(&pool->state, memory_order_relaxed);
    uint32_t generation = (state & STATE_GENERATION) + GENERATION_ONE;
    for (int64_t i = 0; i < pool->threads; i++) {
        uint64_t begin = (uint64_t)(pool->chunks * i / pool->threads);
        uint64_t end = (uint64_t)(pool->chunks * (i + 1) / pool->threads);
        atomic_store_explicit(&pool->ranges[i].left, begin << 32 | end, memory_order_relaxed);
    }
    atomic_store(&pool->state, generation | STATE_OPEN);
    int sleepers = atomic_load(&pool->sleepers);
    if (sleepers > 0)
        futex_wake(&pool->state, pool->chunks - 1 < sleepers ? (int)(pool->chunks - 1) : sleepers,
                   WAKE_WORKERS);
}

/* Closes the job and waits for the workers that joined it. */
static void finish(qn_pool *pool)
{
    uint32_t state =
        atomic_fetch_and_explicit(&pool->state, ~STATE_OPEN, memory_order_acquire) & ~STATE_OPEN;
    if (pool->spin_ns > 0 && (state & STATE_ACTIVE)) {
        int64_t until_ns = qn_now_ns() + pool->spin_ns;
        do {
            for (int i = 0; i < SPIN_BATCH && (state & STATE_ACTIVE); i++) {
                cpu_relax();
                state = atomic_load_explicit(&pool->state, memory_order_acquire);
            }
        } while ((state & STATE_ACTIVE) && qn_now_ns() < until_ns);
    }
    if (!(state & STATE_ACTIVE))
        return;
    state =
        atomic_fetch_or_explicit(&pool->state, STATE_WAITING, memory_order_acquire) | STATE_WAITING;
    while (state & STATE_ACTIVE) {
        futex_wait(&pool->state, state, WAKE_CALLER);
        state = atomic_load_explicit(&pool->state, memory_order_acquire);
    }
}

void qn_pool_run(qn_pool *pool, qn_pool_fn fn, void *context, int64_t chunks)
{
    qn_flush_denormals();
    if (!pool || pool->threads == 1 || chunks <= 1) {
        for (int64_t chunk = 0; chunk < chunks; chunk++)
            fn(context, chunk, 0);
        return;
    }
    pool->fn = fn;
    pool->context = context;
    for (int64_t first = 0; first < chunks; first += pool->chunks) {
        int64_t left = chunks - first;
        pool->chunk_first = first;
        pool->chunks = left < RUN_CHUNKS_MAX ? left : RUN_CHUNKS_MAX;
        publish(pool);
        run_chunks(pool, 0, NULL);
        finish(pool);
    }
}

/* Workers take no signals: the program's main thread handles them. */
static int start_worker(pool_worker *worker)
{
    sigset_t all;
    sigset_t old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int failed = pthread_create(&worker->thread, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return failed;
}

static void stop_workers(qn_pool *pool, int started)
{
    atomic_store(&pool->stopping, true);
    atomic_fetch_add(&pool->state, GENERATION_ONE); /* those about to sleep see another value */
    futex_wake(&pool->state, THREADS_MAX, WAKE_WORKERS);
    for (int i = 0; i < started; i++)
        pthread_join(pool->workers[i].thread, NULL);
}

static qn_status start_workers(qn_pool *pool, qn_error *err)
{
    for (int i = 0; i < pool->threads - 1; i++) {
        pool->workers[i] = (pool_worker){.pool = pool, .number = i + 1};
        int failed = start_worker(&pool->workers[i]);
        if (failed) {
            stop_workers(pool, i);
            return qn_error_set_os(err, QN_ERR_MEMORY, failed, NULL,
                                   "cannot start worker thread %d of %d", i + 1, pool->threads);
        }
    }
    return QN_OK;
}

static void free_pool(qn_pool *pool)
{
    qn_free(pool->workers);
    qn_free(pool->ranges);
    qn_free(pool);
}

qn_status qn_pool_create(int threads, qn_pool **ret, qn_error *err)
{
    int granted = qn_pool_default_threads();
    if (threads < 0 || threads > THREADS_MAX)
        QN_FAIL(err, QN_ERR_ARG, "%d threads; expected 0 (all that are granted) to %d", threads,
                THREADS_MAX);
    if (threads == 0)
        threads = granted;
    qn_pool *pool = qn_alloc_aligned(sizeof *pool, _Alignof(qn_pool));
    if (!pool)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for a pool of %d threads", threads);
    *pool = (qn_pool){.threads = threads, .spin_ns = threads <= granted ? SPIN_NS : 0};
    pool->workers = qn_alloc_zero(threads, sizeof *pool->workers);
    pool->ranges = qn_alloc_aligned(sizeof *pool->ranges * (size_t)threads, _Alignof(pool_range));
    qn_status status = QN_OK;
    if (!pool->workers || !pool->ranges)
        status =
            qn_error_set(err, QN_ERR_MEMORY, NULL, "no memory for a pool of %d threads", threads);
    else
        status = start_workers(pool, err);
    if (status != QN_OK) {
        free_pool(pool);
        return status;
    }
    *ret = pool;
    return QN_OK;
}

void qn_pool_destroy(qn_pool *pool)
{
    if (!pool)
        return;
    stop_workers(pool, pool->threads - 1);
    free_pool(pool);
}

int qn_pool_threads(const qn_pool *pool)
{
    return pool ? pool->threads : 1;
}
