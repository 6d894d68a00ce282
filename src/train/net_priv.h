/*
 * What the files of the C interface share: the net itself, and the caller's numbers packed for a
 * learner.
 */
#ifndef QN_TRAIN_NET_PRIV_H
#define QN_TRAIN_NET_PRIV_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "data/loader.h"
#include "model/architecture.h"
#include "model/predictor.h"
#include "nn/schedules.h"
#include "os/pool.h"
#include "quern/net.h"
#include "train/learner.h"

struct qn_net {
    qn_arena load;
    qn_input input;
    qn_buf layers;    /* JSON objects with commas between */
    int depth;        /* residual branches that are open */
    unsigned bridged; /* bit k: branch k has come to its shortcut */
    qn_error sticky;  /* code QN_OK = none */
    qn_graph *graph;  /* inference; NULL until the first use */
    qn_state *state;
    qn_predictor *predictor;
    qn_pool *pool;
    int threads;
    qn_nn_loss loss;       /* of the last fit; without class weights */
    const char *closing;   /* activation between scores and outputs */
    int64_t outputs_count; /* numbers in one sample's output */
    qn_buf plan_text;      /* of qn_net_plan */
};

/* As recipes and quern.json spell them, by qn_loss. */
extern const char *const qn_net_loss_names[QN_LOSS_FOCAL + 1];

/* What the public description says; Adam at its usual rate where it says none. */
bool qn_net_is_lbfgs(const qn_optimizer *chosen);
qn_nn_optimizer qn_net_optimizer_of(const qn_optimizer *chosen);
/* ERR_ARG for a kind that does not exist or a warm-up that is no share. */
QN_MUST_USE qn_status qn_net_check_schedule(const qn_rate_schedule *chosen, qn_error *err);
/* rate: the peak. steps_epoch: steps of an epoch. */
qn_nn_schedule qn_net_schedule_of(const qn_rate_schedule *chosen, double rate, int64_t steps_epoch,
                                  int64_t steps_total);
/* Memory: `arena`. groups NULL = none. */
QN_MUST_USE qn_status qn_net_set_groups(const qn_group *groups, int count, qn_arena *arena,
                                        qn_nn_optimizer *optimizer, qn_error *err);
/* A model folder without transforms; net: JSON from which the model is made again. */
QN_MUST_USE qn_status qn_net_write_folder(const char *folder, const qn_graph *graph,
                                          const qn_state *state, const qn_buf *net, qn_error *err);
/* The sticky error, or that there is no net. */
QN_MUST_USE qn_status qn_net_usable(const qn_net *net, qn_error *err);
/* Forgets graph, weights and plans. */
void qn_net_drop_built(qn_net *net);
/* The architecture over the one input tensor "input". */
QN_MUST_USE qn_status qn_net_describe(const qn_net *net, qn_nn_loss_kind loss, qn_arena *arena,
                                      qn_architecture *ret, qn_error *err);
/* Inference graph and fresh weights, for a net that is used before it was fitted. */
QN_MUST_USE qn_status qn_net_build_fresh(qn_net *net, qn_error *err);
/* Numbers in one sample's output. */
int64_t qn_net_row_count(const qn_type *type);
/* Workers, once there is work enough for them. */
QN_MUST_USE qn_status qn_net_need_pool(qn_net *net, int threads, int64_t flops, qn_error *err);
/* ERR_ARG unless rank and dimensions of an input are possible. */
QN_MUST_USE qn_status qn_net_check_input(const qn_input *input, qn_error *err);

/* Samples must have the shape [dims...]; dimensions of 1 at the end may be left out. The message
 * names the first dimension that differs. */
QN_MUST_USE qn_status qn_net_check_samples(const qn_view *view, const char *what, int rank,
                                           const int64_t *dims, qn_error *err);
qn_tensor qn_net_view_tensor(const qn_view *view);

typedef struct {
    qn_packed packed;
    qn_packed_tensor tensors[2]; /* "input", "target" */
} qn_net_samples;
/* `output`: shape of the network's scores, which targets must match. Without targets (triplets) only the input is packed. */
QN_MUST_USE qn_status qn_net_pack(const qn_net *net, const qn_view *inputs, const qn_view *targets,
                                  const qn_nn_loss *loss, const qn_shape *output, qn_arena *arena,
                                  qn_net_samples *ret, qn_error *err);
/* Loss and accuracy of answers, f32 [samples, ...]. */
QN_MUST_USE qn_status qn_net_score(const qn_nn_loss *loss, const char *closing,
                                   const qn_packed *packed, const qn_tensor *answers,
                                   qn_evaluation *ret, qn_error *err);

#endif
