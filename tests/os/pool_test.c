/* The pool: every chunk once, any thread count, sleeping workers, many short jobs. */
#include "testing.h"

#include <stdatomic.h>
#include <stdio.h>
#include <time.h>

#include "base/alloc.h"
#include "os/clock.h"
#include "os/pool.h"

enum { CHUNKS = 1000 };

typedef struct {
    int64_t chunk_ns; /* how long a chunk keeps its core */
    _Atomic int runs[CHUNKS];
    _Atomic int bad_worker;
    int threads;
    int64_t plain_sum[64]; /* per worker, 64 at most */
} job;

static void count_chunk(void *context, int64_t chunk, int worker)
{
    job *j = context;
    atomic_fetch_add(&j->runs[chunk], 1);
    if (worker < 0 || worker >= j->threads)
        atomic_store(&j->bad_worker, 1);
    else
        j->plain_sum[worker] += chunk;
    for (int64_t until_ns = j->chunk_ns ? qn_now_ns() + j->chunk_ns : 0; qn_now_ns() < until_ns;)
        ;
}

static void check_all_once(qn_pool *pool, int64_t chunks, int64_t chunk_ns)
{
    job j = {.chunk_ns = chunk_ns, .threads = qn_pool_threads(pool)};
    int64_t sum = 0;
    qn_pool_run(pool, count_chunk, &j, chunks);
    for (int i = 0; i < CHUNKS; i++)
        assert_int_equal(atomic_load(&j.runs[i]), i < chunks);
    for (int i = 0; i < 64; i++)
        sum += j.plain_sum[i];
    assert_int_equal(sum, chunks * (chunks - 1) / 2);
    assert_int_equal(atomic_load(&j.bad_worker), 0);
}

static void pool_runs_every_chunk_once(void **state)
{
    (void)state;
    static const int threads[] = {1, 2, 3, 7};
    for (size_t i = 0; i < sizeof threads / sizeof threads[0]; i++) {
        qn_pool *pool = NULL;
        qn_error err = {0};
        assert_ok(qn_pool_create(threads[i], &pool, &err), &err);
        assert_int_equal(qn_pool_threads(pool), threads[i]);
        for (int64_t chunks = 0; chunks < 20; chunks++)
            check_all_once(pool, chunks, 0);
        for (int round = 0; round < 200; round++)
            check_all_once(pool, CHUNKS, 0);
        qn_pool_destroy(pool);
    }
}

/* More threads than cores preempt one another: workers leave jobs, let others in and come back. */
static void pool_runs_every_chunk_once_on_shared_cores(void **state)
{
    (void)state;
    qn_pool *pool = NULL;
    qn_error err = {0};
    assert_ok(qn_pool_create(2 * qn_pool_default_threads() + 1, &pool, &err), &err);
    for (int round = 0; round < 5; round++)
        check_all_once(pool, CHUNKS, 100000);
    qn_pool_destroy(pool);
}

static void pool_of_null_is_serial(void **state)
{
    (void)state;
    check_all_once(NULL, 5, 0);
    assert_int_equal(qn_pool_threads(NULL), 1);
}

/* Between the jobs the workers go to sleep, and must wake again. */
static void pool_wakes_sleeping_workers(void **state)
{
    (void)state;
    qn_pool *pool = NULL;
    qn_error err = {0};
    assert_ok(qn_pool_create(4, &pool, &err), &err);
    for (int round = 0; round < 30; round++) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        check_all_once(pool, 100, 0);
    }
    qn_pool_destroy(pool);
}

/* The generation wraps after 65536 jobs. */
static void pool_runs_more_jobs_than_its_generation_counts(void **state)
{
    (void)state;
    qn_pool *pool = NULL;
    qn_error err = {0};
    assert_ok(qn_pool_create(2, &pool, &err), &err);
    job j = {.threads = 2};
    for (int round = 0; round < 140000; round++)
        qn_pool_run(pool, count_chunk, &j, 2);
    assert_int_equal(atomic_load(&j.runs[0]), 140000);
    assert_int_equal(atomic_load(&j.runs[1]), 140000);
    qn_pool_destroy(pool);
}

static void idle_pool_burns_no_cpu(void **state)
{
    (void)state;
    qn_pool *pool = NULL;
    qn_error err = {0};
    assert_ok(qn_pool_create(2, &pool, &err), &err);
    check_all_once(pool, 10, 0);
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
    int64_t before_ns = qn_cpu_time_ns();
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    assert_true(qn_cpu_time_ns() - before_ns < 10000000);
    qn_pool_destroy(pool);
}

static void divide_tiny(void *context, int64_t chunk, int worker)
{
    (void)worker;
    volatile float tiny = 1e-38f;
    ((float *)context)[chunk] = tiny / 100;
}

static void workers_and_caller_flush_denormals(void **state)
{
    (void)state;
    qn_pool *pool = NULL;
    qn_error err = {0};
    float results[64];
    assert_ok(qn_pool_create(3, &pool, &err), &err);
    qn_pool_run(pool, divide_tiny, results, 64);
#if defined(__x86_64__) || defined(__aarch64__)
    for (int i = 0; i < 64; i++)
        assert_true(results[i] == 0);
#endif
    qn_pool_destroy(pool);
}

static void pool_refuses_wild_thread_counts(void **state)
{
    (void)state;
    qn_pool *pool = NULL;
    qn_error err = {0};
    assert_int_equal(qn_pool_create(-1, &pool, &err), QN_ERR_ARG);
    assert_int_equal(qn_pool_create(100000, &pool, &err), QN_ERR_ARG);
    assert_null(pool);
    assert_true(qn_pool_default_threads() >= 1);
}

static void pool_creation_survives_failed_allocations(void **state)
{
    (void)state;
    for (int k = 1; k < 5; k++) {
        qn_pool *pool = NULL;
        qn_error err = {0};
        qn_alloc_fail_at(k);
        qn_status status = qn_pool_create(2, &pool, &err);
        qn_alloc_fail_at(0);
        assert_true(status == QN_OK || status == QN_ERR_MEMORY);
        assert_int_equal(status == QN_OK, pool != NULL);
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pool_runs_every_chunk_once),
        cmocka_unit_test(pool_runs_every_chunk_once_on_shared_cores),
        cmocka_unit_test(pool_of_null_is_serial),
        cmocka_unit_test(pool_wakes_sleeping_workers),
        cmocka_unit_test(pool_runs_more_jobs_than_its_generation_counts),
        cmocka_unit_test(idle_pool_burns_no_cpu),
        cmocka_unit_test(workers_and_caller_flush_denormals),
        cmocka_unit_test(pool_refuses_wild_thread_counts),
        cmocka_unit_test(pool_creation_survives_failed_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
