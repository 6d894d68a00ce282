/* Typed loops of pool.c, straight from the definition. */
static void FN(max_pool)(const qn_op_run *run, const pool_sizes *z)
{
    const T *x = run->inputs[0].data;
    T *y = run->outputs[0].data;
    const int64_t c = z->window.c, count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t best = -1;
        T top = 0;
        qn_op_place at = qn_op_place_of(z->window.out, i / c);
        for (int64_t place = 0; place < qn_op_window_places(&z->window); place++) {
            int64_t pixel = qn_op_window_pixel(&z->window, &at, place);
            if (pixel < 0)
                continue;
            T value = x[pixel * c + i % c];
            if (best < 0 || (!isnan(top) && (value > top || isnan(value)))) {
                best = place;
                top = value;
            }
        }
        y[i] = top;
        set_choice(&run->outputs[1], i, best);
    }
}

static void FN(max_pool_grad)(const qn_op_run *run, const pool_sizes *z)
{
    const T *dy = run->inputs[0].data;
    T *dx = run->outputs[0].data;
    const int64_t c = z->window.c, count = qn_shape_count(&run->inputs[0].shape);
    memset(dx, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        qn_op_place at = qn_op_place_of(z->window.out, i / c);
        int64_t choice = get_choice(&run->inputs[1], i);
        if (choice < 0 || choice >= qn_op_window_places(&z->window))
            continue; /* choices may come from outside */
        int64_t pixel = qn_op_window_pixel(&z->window, &at, choice);
        if (pixel >= 0)
            dx[pixel * c + i % c] += dy[i];
    }
}

static void FN(avg_pool)(const qn_op_run *run, const pool_sizes *z, bool backward)
{
    const T *src = run->inputs[0].data;
    T *dst = run->outputs[0].data;
    const int64_t c = z->window.c;
    const int64_t count = qn_shape_count(backward ? &run->inputs[0].shape : &run->outputs[0].shape);
    if (backward)
        memset(dst, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        qn_op_place at = qn_op_place_of(z->window.out, i / c);
        double sum = 0, divisor = pool_divisor(z, &at);
        for (int64_t place = 0; place < qn_op_window_places(&z->window); place++) {
            int64_t pixel = qn_op_window_pixel(&z->window, &at, place);
            if (pixel >= 0 && backward)
                dst[pixel * c + i % c] += (T)((double)src[i] / divisor);
            else if (pixel >= 0)
                sum += (double)src[pixel * c + i % c];
        }
        if (!backward)
            dst[i] = (T)(sum / divisor);
    }
}

/* y = (sum |x|^p)^(1/p) */
static void FN(lp_pool)(const qn_op_run *run, const pool_sizes *z)
{
    const T *x = run->inputs[0].data;
    T *y = run->outputs[0].data;
    const int64_t c = z->window.c, count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        qn_op_place at = qn_op_place_of(z->window.out, i / c);
        double sum = 0;
        for (int64_t place = 0; place < qn_op_window_places(&z->window); place++) {
            int64_t pixel = qn_op_window_pixel(&z->window, &at, place);
            if (pixel >= 0)
                sum += pow(fabs((double)x[pixel * c + i % c]), z->p);
        }
        y[i] = (T)pow(sum, 1 / z->p);
    }
}

/* dx = dy sign(x) (|x| / y)^(p - 1); 0 where y is 0 */
static void FN(lp_pool_grad)(const qn_op_run *run, const pool_sizes *z)
{
    const T *dy = run->inputs[0].data, *x = run->inputs[1].data, *y = run->inputs[2].data;
    T *dx = run->outputs[0].data;
    const int64_t c = z->window.c, count = qn_shape_count(&run->inputs[0].shape);
    memset(dx, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        qn_op_place at = qn_op_place_of(z->window.out, i / c);
        for (int64_t place = 0; place < qn_op_window_places(&z->window); place++) {
            int64_t pixel = qn_op_window_pixel(&z->window, &at, place), k = pixel * c + i % c;
            if (pixel < 0 || !(y[i] > 0))
                continue;
            double slope = pow(fabs((double)x[k]) / (double)y[i], z->p - 1);
            dx[k] += (T)((double)dy[i] * copysign(slope, (double)x[k]));
        }
    }
}
