/* Typed loop of random.c. */
static void FN(dropout)(T *y, const T *x, int64_t count, qn_rng rng, double ratio)
{
    for (int64_t i = 0; i < count; i++) {
        bool kept = (double)qn_rng_uniform(rng, (uint64_t)i) >= ratio;
        y[i] = kept ? (T)((double)x[i] / (1 - ratio)) : (T)0;
    }
}
