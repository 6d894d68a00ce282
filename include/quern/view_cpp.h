/*
 * What the macros of view.h and net.h are in C++, which has neither _Generic nor compound literals: templates under the same
 * names. Included by view.h; not for programs.
 */
#ifndef QUERN_VIEW_CPP_H
#define QUERN_VIEW_CPP_H

#include "quern/dtype.h"

#ifdef __cplusplus
#include <cstddef>
#include <cstdint>

extern "C++" {

/* Types that views do not know have no overload. */
constexpr qn_dtype qn_view_dtype(const float *)
{
    return QN_DTYPE_F32;
}
constexpr qn_dtype qn_view_dtype(const double *)
{
    return QN_DTYPE_F64;
}
constexpr qn_dtype qn_view_dtype(const std::int64_t *)
{
    return QN_DTYPE_I64;
}
constexpr qn_dtype qn_view_dtype(const std::int32_t *)
{
    return QN_DTYPE_I32;
}
constexpr qn_dtype qn_view_dtype(const std::uint8_t *)
{
    return QN_DTYPE_U8;
}

/* View: qn_view or qn_view_out. */
template <typename View, typename T, typename... Dims>
inline View qn_view_over(T *data, Dims... dims)
{
    return View{data, qn_view_dtype(data), (int)sizeof...(Dims), {(std::int64_t)dims...}};
}

template <typename View, typename T, std::size_t A> inline View qn_view_array(T (&array)[A])
{
    return qn_view_over<View>(&array[0], A);
}
template <typename View, typename T, std::size_t A, std::size_t B>
inline View qn_view_array(T (&array)[A][B])
{
    return qn_view_over<View>(&array[0][0], A, B);
}
template <typename View, typename T, std::size_t A, std::size_t B, std::size_t C>
inline View qn_view_array(T (&array)[A][B][C])
{
    return qn_view_over<View>(&array[0][0][0], A, B, C);
}

/* Input: qn_input. */
template <typename Input, typename... Dims> inline Input qn_input_over(Dims... dims)
{
    return Input{(int)sizeof...(Dims), {(std::int64_t)dims...}};
}

} /* extern "C++" */

#define QN_VIEW(array)               (qn_view_array<qn_view>(array))
#define QN_VIEW_OUT(array)           (qn_view_array<qn_view_out>(array))
#define QN_VIEW_1D(array)            (qn_view_array<qn_view>(array))
#define QN_VIEW_OF(pointer, ...)     (qn_view_over<qn_view>(pointer, __VA_ARGS__))
#define QN_VIEW_OUT_OF(pointer, ...) (qn_view_over<qn_view_out>(pointer, __VA_ARGS__))
#define QN_INPUT(...)                (qn_input_over<qn_input>(__VA_ARGS__))

#endif
#endif
