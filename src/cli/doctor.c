/*
 * quern doctor: what this machine offers, and a self-test on synthetic data.
 */
#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "os/clock.h"
#include "os/cpu.h"
#include "os/file.h"
#include "quern/net.h"

typedef struct {
    char cpu[160];
    const char *level;
    int threads;
    int64_t memory_bytes, disk_bytes;
    double selftest_ms, selftest_error;
} findings;

enum { ROWS = 256, EPOCHS = 200 };

/* Learns y = 2 a - b + 0.5 from 256 rows: forward, backward and update as in any training. */
static qn_status self_test(findings *found, qn_error *err)
{
    static float inputs[ROWS][2], targets[ROWS][1];
    static const float questions[1][2] = {{0.25F, -0.5F}};
    float answers[1][1] = {{0}};
    for (int i = 0; i < ROWS; i++) {
        inputs[i][0] = (float)(i % 16) / 8 - 1;
        inputs[i][1] = (float)(i % 17) / 8 - 1;
        targets[i][0] = 2 * inputs[i][0] - inputs[i][1] + 0.5F;
    }
    int64_t began = qn_now_ns();
    qn_net *net = qn_net_create(QN_INPUT(2), err);
    qn_net_dense(net, 1, QN_LINEAR);
    qn_fit_options fit = {.loss = QN_LOSS_MSE, .optimizer = qn_adam(0.05F), .epochs = EPOCHS};
    qn_status status = qn_net_fit(net, QN_VIEW(inputs), QN_VIEW(targets), &fit, err);
    if (status == QN_OK)
        status = qn_net_predict(net, QN_VIEW(questions), QN_VIEW_OUT(answers), err);
    qn_net_destroy(net);
    found->selftest_ms = (double)(qn_now_ns() - began) / 1e6;
    found->selftest_error = fabs((double)answers[0][0] - 1.5);
    return status;
}

static void write_json(const findings *found, qn_buf *dst)
{
    qn_json_writer w;
    qn_cli_event_begin(&w, dst, "result");
    qn_json_put_text(&w, "version", QN_VERSION);
    qn_json_put_text(&w, "cpu", found->cpu);
    qn_json_put_text(&w, "kernels", found->level);
    qn_json_put_i64(&w, "threads", found->threads);
    qn_json_put_i64(&w, "memory_bytes", found->memory_bytes);
    qn_json_put_i64(&w, "disk_bytes", found->disk_bytes);
    qn_json_put_f64(&w, "selftest_ms", found->selftest_ms);
    qn_json_put_f64(&w, "selftest_error", found->selftest_error);
    qn_cli_event_end(&w, dst);
}

static void write_text(const findings *found, qn_buf *dst)
{
    qn_buf_printf(dst, "quern      %s\ncpu        %s\nkernels    %s\nthreads    %d\n", QN_VERSION,
                  found->cpu, found->level, found->threads);
    qn_buf_printf(dst, "memory     %.1f GiB free\ndisk       %.1f GiB free here\n",
                  (double)found->memory_bytes / (1 << 30), (double)found->disk_bytes / (1 << 30));
    qn_buf_printf(dst, "self-test  a line learned from %d rows in %.1f ms, off by %.1e\n", ROWS,
                  found->selftest_ms, found->selftest_error);
}

static qn_status run(qn_cli *cli, qn_error *err)
{
    findings found = {.level = qn_cpu_level_name(qn_cpu_level()),
                      .threads = qn_pool_default_threads()};
    qn_cpu_describe(found.cpu, sizeof found.cpu);
    found.memory_bytes = qn_memory_available_bytes();
    QN_TRY(qn_disk_free(".", &found.disk_bytes, err));
    QN_TRY(self_test(&found, err));
    qn_buf text;
    qn_buf_init(&text, 0);
    if (cli->json)
        write_json(&found, &text);
    else
        write_text(&found, &text);
    qn_status status = qn_cli_print(&text, err);
    qn_buf_deinit(&text);
    if (status == QN_OK && !(found.selftest_error < 0.05))
        QN_FAIL(err, QN_ERR_INTERNAL, "the self-test is off by %g, expected less than 0.05",
                found.selftest_error);
    return status;
}

const qn_verb qn_verb_doctor = {
    .name = "doctor",
    .arguments = "",
    .summary = "what this machine offers, and a self-test",
    .about = "Prints CPU features, the kernels chosen, threads, memory and disk, and trains a line "
             "on synthetic data.\n"
             "QUERN_CPU=portable, neon, avx2, avx512, avx512bf16 or amx limits the kernels to that "
             "level.",
    .arguments_min = 0,
    .arguments_max = 0,
    .common = QN_FLAG_JSON | QN_FLAG_QUIET,
    .examples = {"quern doctor", "is all well here?", "quern doctor --json",
                 "the same for a program"},
    .run = run,
};
