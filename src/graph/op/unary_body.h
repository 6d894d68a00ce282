/* Typed loops of unary.c (typed.h). */
static void FN(map)(T *dst, const T *src, int64_t count, unary_fn fn, double a, double b)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = (T)fn((double)src[i], a, b);
}

static void FN(map_grad)(T *dx, const T *dy, const T *saved, int64_t count, unary_fn fn, double a,
                         double b)
{
    for (int64_t i = 0; i < count; i++)
        dx[i] = (T)((double)dy[i] * fn((double)saved[i], a, b));
}
