/*
 * Batches. `qn_pack` applies the transforms to a part once (images stay u8); a loader then gathers
 * shuffled rows straight into a plan's input tensors. The order is a pure function of (seed,
 * epoch), and the position is two integers, so a resumed run sees exactly the rows that an
 * uninterrupted one would.
 */
#ifndef QN_DATA_LOADER_H
#define QN_DATA_LOADER_H

#include "data/transform.h"

/* One packed tensor: rows of `count` elements. U8 rows become f32 * scale when gathered. */
typedef struct {
    qn_str name;
    qn_dtype stored; /* U8, F32 or I64 */
    qn_dtype dtype;  /* what a batch holds: F32 or I64 */
    qn_shape shape;  /* of one row */
    int64_t count;   /* elements of one row */
    float scale;     /* U8: 1/255 */
    const void *data;
} qn_packed_tensor;

/* The tensors of qn_transforms_outputs in their order, then "target": i64 [B] for classes, f32 [B,
 * 1] for numbers ((y - mean) / deviation), an array of either a row where the target is one. */
typedef struct {
    qn_packed_tensor *tensors;
    int64_t tensors_count;
    int64_t rows;
} qn_packed;

/* Packs `rows` (NULL = 0..count-1) of the frame. A frame without the target column, or
 * `with_target` false, gives no "target". Memory: `arena`; image columns that are u8 arrays of the
 * right shape are not copied when rows is NULL. */
QN_MUST_USE qn_status qn_pack(const qn_transforms *transforms, const qn_frame *frame,
                              const int64_t *rows, int64_t count, bool with_target, qn_pool *pool,
                              qn_arena *arena, qn_packed *ret, qn_error *err);
/* Packs tensors the caller already has (C API, NPZ): no copies. */
QN_MUST_USE qn_status qn_pack_arrays(const qn_named_tensor *arrays, int64_t arrays_count,
                                     qn_arena *arena, qn_packed *ret, qn_error *err);

typedef enum {
    QN_LAST_KEEP, /* a last smaller batch */
    QN_LAST_DROP,
} qn_last_batch;

typedef struct {
    int64_t batch;
    uint64_t seed;
    bool shuffle;
    qn_last_batch last;
    qn_pool *pool; /* that gathers; NULL = the caller does */
} qn_loader_options;

typedef struct {
    int64_t epoch; /* from 0 */
    int64_t batch; /* batches of this epoch already given */
} qn_loader_cursor;

typedef struct {
    const qn_packed *packed;
    qn_loader_options options;
    qn_loader_cursor cursor;
    int64_t *order; /* rows of the current epoch; private */
} qn_loader;

/* Memory: the order in `arena`. Errors: ERR_ARG (batch < 1, no rows), ERR_MEMORY. Threads: one. */
QN_MUST_USE qn_status qn_loader_init(qn_loader *loader, const qn_packed *packed,
                                     const qn_loader_options *options, qn_arena *arena,
                                     qn_error *err);
int64_t qn_loader_batches(const qn_loader *loader); /* per epoch */
/* Goes to a stored position: the next batch is the one an uninterrupted run would give. */
void qn_loader_seek(qn_loader *loader, qn_loader_cursor cursor);
/* Fills dst[i] (the plan's input for packed->tensors[i]; NULL skips it) with the next batch and
 * returns its rows. 0 = the epoch is over: the cursor stands at the start of the next one and the
 * following call begins it. No allocation. */
int64_t qn_loader_next(qn_loader *loader, void *const *dst);
/* Fills dst with given packed rows (evaluation, worst examples). rows NULL = first..first+count-1. pool may be NULL. */
void qn_packed_gather(const qn_packed *packed, qn_pool *pool, const int64_t *rows, int64_t first,
                      int64_t count, void *const *dst);

#endif
