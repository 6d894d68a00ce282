/* What the route table names: one function per row. */
#ifndef QN_SERVE_HANDLERS_PRIV_H
#define QN_SERVE_HANDLERS_PRIV_H

#include "serve_priv.h"

/* health.c */
void qn_answer_health(qn_call *call);
void qn_answer_live(qn_call *call);
void qn_answer_ready(qn_call *call);
void qn_answer_grpc_check(qn_call *call);
void qn_answer_grpc_list(qn_call *call);
void qn_stream_watch(qn_call *call, qn_str message);
void qn_stream_watch_end(qn_call *call);
/* oip_meta.c */
void qn_answer_server(qn_call *call);
void qn_answer_model_names(qn_call *call);
void qn_answer_model(qn_call *call);
void qn_answer_model_ready(qn_call *call);
void qn_answer_grpc_live(qn_call *call);
void qn_answer_grpc_ready(qn_call *call);
void qn_answer_grpc_model_ready(qn_call *call);
void qn_answer_grpc_server(qn_call *call);
void qn_answer_grpc_model(qn_call *call);
/* repository.c */
void qn_answer_config(qn_call *call);
void qn_answer_stats(qn_call *call);
void qn_answer_all_stats(qn_call *call);
void qn_answer_index(qn_call *call);
void qn_answer_grpc_config(qn_call *call);
void qn_answer_grpc_stats(qn_call *call);
void qn_answer_grpc_index(qn_call *call);
/* oip_json.c, oip_grpc.c */
void qn_answer_infer(qn_call *call);
void qn_answer_grpc_infer(qn_call *call);
void qn_stream_infer(qn_call *call, qn_str message);
void qn_stream_end(qn_call *call);
/* tfs.c */
void qn_answer_v1_models(qn_call *call);
void qn_answer_v1_model(qn_call *call);
void qn_answer_v1_metadata(qn_call *call);
void qn_answer_predict(qn_call *call);
/* reflection.c */
void qn_stream_reflect(qn_call *call, qn_str message);
/* metrics.c, openapi.c */
void qn_answer_metrics(qn_call *call);
void qn_answer_openapi(qn_call *call);

#endif
