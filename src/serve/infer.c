/*
 * One inference: at once in the loop thread when the model is small and free, otherwise through the queue.
 */
#include "serve_priv.h"

#include "os/clock.h"

void qn_infer_run(qn_infer *x)
{
    x->begin_ns = qn_now_ns();
    if (x->tensors) {
        x->outputs = QN_NEW(x->arena, qn_named_tensor, x->served->signature->outputs_count);
        x->status = x->outputs
                        ? qn_predictor_tensors(x->served->predictor, x->inputs, x->inputs_count,
                                               x->arena, x->outputs, &x->err)
                        : qn_error_set(&x->err, QN_ERR_MEMORY, NULL, "out of memory");
    } else {
        x->status = qn_predictor_rows(x->served->predictor, &x->frame, x->serve->ignore_unknown,
                                      x->arena, &x->predictions, &x->err);
    }
    x->end_ns = qn_now_ns();
    x->run_rows = x->rows;
}

void qn_infer_submit(qn_infer *x)
{
    qn_serve *serve = x->serve;
    qn_served *served = x->served;
    bool small = !served->pooled &&
                 x->rows <= (serve->limits.inline_us * 1000 - served->run_ns) / served->row_ns;
    if (small && uv_mutex_trylock(&served->lock) == 0) {
        qn_infer_run(x);
        uv_mutex_unlock(&served->lock);
        x->done(x);
        return;
    }
    qn_status status = qn_compute_push(&serve->compute, x, &x->err);
    if (status == QN_OK)
        return;
    x->status = status;
    x->begin_ns = x->end_ns = qn_now_ns();
    x->done(x);
}

/* Index of the batch counter: 1, 2, 3-4, 5-8, ... */
static int batch_index(int64_t rows)
{
    int index = 0;
    while (index + 1 < QN_BATCH_SIZES && (INT64_C(1) << index) < rows)
        index++;
    return index;
}

void qn_infer_count(qn_infer *x, int64_t encoded_ns)
{
    qn_served *served = x->served;
    int64_t decoded_ns = x->start_ns - x->call->start_ns;
    if (x->status != QN_OK) {
        qn_duration_add(&served->fail, encoded_ns - x->call->start_ns);
        return;
    }
    qn_duration_add(&served->success, encoded_ns - x->call->start_ns);
    qn_duration_add(&served->input, decoded_ns);
    qn_duration_add(&served->queue, x->begin_ns - x->start_ns);
    qn_duration_add(&served->infer, x->end_ns - x->begin_ns);
    qn_duration_add(&served->output, encoded_ns - x->end_ns);
    qn_histogram_add(&served->queue_seconds, x->begin_ns - x->start_ns);
    served->rows += x->rows;
    served->last_ms = qn_wall_s() * 1000;
    if (x->run_rows) {
        served->executions++;
        qn_histogram_add(&served->infer_seconds, x->end_ns - x->begin_ns);
        qn_duration_add(&served->batches[batch_index(x->run_rows)], x->end_ns - x->begin_ns);
    }
}
