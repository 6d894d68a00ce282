/* Shapes, element types and views. */
#include "testing.h"

#include "tensor/tensor.h"

static void shape_counts_and_compares(void **state)
{
    (void)state;
    qn_shape a = QN_SHAPE(2, 3, 4), b = QN_SHAPE(2, 3), c = QN_SHAPE(2, 3, 5), s = QN_SCALAR;
    assert_int_equal(qn_shape_count(&a), 24);
    assert_int_equal(qn_shape_count(&s), 1);
    assert_int_equal(qn_shape_count(&QN_SHAPE(QN_DIM_BATCH, 3)), -1);
    assert_true(qn_shape_equal(&a, &QN_SHAPE(2, 3, 4)));
    assert_false(qn_shape_equal(&a, &b));
    assert_false(qn_shape_equal(&a, &c));
}

static void shape_prints_symbols(void **state)
{
    (void)state;
    char text[128];
    qn_shape s = QN_SHAPE(QN_DIM_BATCH, QN_DIM_TIME, 784);
    assert_string_equal(qn_shape_text(&s, text), "[B, T, 784]");
    assert_string_equal(qn_shape_text(&QN_SCALAR, text), "[]");
}

/* 4 B, in one dimension, and what it is made of. */
static void shape_knows_multiples_of_symbols(void **state)
{
    (void)state;
    char text[128];
    int64_t heads, all;
    qn_dim_product product = {.known = 4, .batch = 1};
    assert_true(qn_dim_from_product(product, &heads));
    qn_shape s = QN_SHAPE(10, heads, 3);
    assert_string_equal(qn_shape_text(&s, text), "[10, 4B, 3]");
    assert_true(qn_dim_is_symbolic(heads) && heads != QN_DIM_BATCH);
    product = qn_dim_product_of(s.dims, 3);
    assert_int_equal(product.known, 120);
    assert_int_equal(product.batch, 1);
    assert_int_equal(product.time, 0);
    s.dims[2] = QN_DIM_TIME;
    assert_true(qn_dim_from_product(qn_dim_product_of(s.dims, 3), &all));
    assert_string_equal(qn_shape_text(&QN_SHAPE(all), text), "[40BT]");
    assert_true(qn_dim_from_product((qn_dim_product){.known = 1, .time = 1}, &all));
    assert_int_equal(all, QN_DIM_TIME);
    assert_false(qn_dim_from_product((qn_dim_product){.known = 1, .batch = 2}, &all));
    assert_false(qn_dim_from_product((qn_dim_product){.known = 0, .batch = 1}, &all));
    assert_false(qn_dim_from_product((qn_dim_product){.known = INT64_MAX, .batch = 1}, &all));
    product = qn_dim_product_of((int64_t[]){INT64_MAX, 2}, 2);
    assert_int_equal(product.known, -1);
    assert_false(qn_dim_is_symbolic(INT64_MIN));
}

static void shape_rejects_overflow(void **state)
{
    (void)state;
    qn_error err = {0};
    int64_t bytes = 7;
    qn_shape s = QN_SHAPE(INT64_MAX / 8, 3);
    assert_int_equal(qn_shape_check(&s, QN_DTYPE_F32, &bytes, &err), QN_ERR_ARG);
    assert_text(&err, "too large");
    s = QN_SHAPE(0, INT64_MAX, 2);
    assert_int_equal(qn_shape_check(&s, QN_DTYPE_F32, &bytes, &err), QN_ERR_ARG);
    s = QN_SHAPE(3, -4);
    assert_int_equal(qn_shape_check(&s, QN_DTYPE_F32, &bytes, &err), QN_ERR_ARG);
    assert_text(&err, "negative");
    s.rank = 9;
    assert_int_equal(qn_shape_check(&s, QN_DTYPE_F32, &bytes, &err), QN_ERR_ARG);
    assert_int_equal(bytes, 7);
    assert_ok(qn_shape_check(&QN_SHAPE(3, 4), QN_DTYPE_F64, &bytes, &err), &err);
    assert_int_equal(bytes, 96);
    assert_ok(qn_shape_check(&QN_SHAPE(3, 0), QN_DTYPE_F64, &bytes, &err), &err);
    assert_int_equal(bytes, 0);
}

static void shape_broadcasts_like_numpy(void **state)
{
    (void)state;
    qn_error err = {0};
    qn_shape out = {0};
    assert_ok(qn_shape_broadcast(&QN_SHAPE(2, 1, 4), &QN_SHAPE(3, 1), &out, &err), &err);
    assert_true(qn_shape_equal(&out, &QN_SHAPE(2, 3, 4)));
    assert_ok(qn_shape_broadcast(&QN_SHAPE(QN_DIM_BATCH, 4), &QN_SHAPE(4), &out, &err), &err);
    assert_true(qn_shape_equal(&out, &QN_SHAPE(QN_DIM_BATCH, 4)));
    assert_ok(qn_shape_broadcast(&QN_SCALAR, &QN_SHAPE(0), &out, &err), &err);
    assert_true(qn_shape_equal(&out, &QN_SHAPE(0)));
    assert_int_equal(qn_shape_broadcast(&QN_SHAPE(2, 3), &QN_SHAPE(2), &out, &err), QN_ERR_ARG);
    assert_text(&err, "cannot broadcast [2, 3] with [2]");
}

static void dtype_knows_three_spellings(void **state)
{
    (void)state;
    for (int i = 0; i < QN_DTYPE_COUNT; i++) {
        qn_dtype found = QN_DTYPE_COUNT, dtype = (qn_dtype)i;
        assert_true(qn_dtype_find(qn_dtype_name(dtype), &found) && found == dtype);
        assert_true(qn_dtype_find(qn_dtype_oip(dtype), &found) && found == dtype);
        assert_true(qn_dtype_find(qn_dtype_safetensors(dtype), &found) && found == dtype);
        assert_true(qn_dtype_size(dtype) >= 1 && qn_dtype_size(dtype) <= 8);
    }
    qn_dtype found = QN_DTYPE_I8;
    assert_false(qn_dtype_find("float", &found));
    assert_int_equal(found, QN_DTYPE_I8);
    assert_true(qn_dtype_is_float(QN_DTYPE_BF16));
    assert_false(qn_dtype_is_float(QN_DTYPE_BOOL));
}

static void view_refuses_other_counts_and_strides(void **state)
{
    (void)state;
    qn_error err = {0};
    float data[12] = {0};
    qn_tensor t = qn_tensor_of(data, QN_DTYPE_F32, QN_SHAPE(3, 4)), v = {0};
    assert_ok(qn_tensor_view(&t, QN_SHAPE(2, 6), &v, &err), &err);
    assert_int_equal(v.strides[0], 6);
    assert_int_equal(qn_tensor_view(&t, QN_SHAPE(5, 2), &v, &err), QN_ERR_ARG);
    assert_string_equal(err.text, "cannot view 12 elements as [5, 2]");
    t.strides[0] = 1;
    t.strides[1] = 3;
    assert_false(qn_tensor_contiguous(&t));
    assert_int_equal(qn_tensor_view(&t, QN_SHAPE(12), &v, &err), QN_ERR_ARG);
}

static void rows_are_a_window(void **state)
{
    (void)state;
    int16_t data[6] = {0, 1, 2, 3, 4, 5};
    qn_tensor t = qn_tensor_of(data, QN_DTYPE_I16, QN_SHAPE(3, 2));
    qn_tensor rows = qn_tensor_rows(&t, 1, 3);
    assert_int_equal(rows.shape.dims[0], 2);
    assert_ptr_equal(rows.data, data + 2);
    assert_int_equal(qn_tensor_bytes(&rows), 8);
    assert_true(qn_tensor_contiguous(&rows));
    rows = qn_tensor_rows(&t, 3, 3);
    assert_int_equal(qn_tensor_bytes(&rows), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shape_counts_and_compares),
        cmocka_unit_test(shape_prints_symbols),
        cmocka_unit_test(shape_knows_multiples_of_symbols),
        cmocka_unit_test(shape_rejects_overflow),
        cmocka_unit_test(shape_broadcasts_like_numpy),
        cmocka_unit_test(dtype_knows_three_spellings),
        cmocka_unit_test(view_refuses_other_counts_and_strides),
        cmocka_unit_test(rows_are_a_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
