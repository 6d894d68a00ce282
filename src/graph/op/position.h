/* The angle of a pair at a position, for the row and for the tables of its kernel. */
#ifndef QN_GRAPH_OP_POSITION_H
#define QN_GRAPH_OP_POSITION_H

#include <stdint.h>

/* Units: radians. step * base^(-i / half) */
double qn_op_angle(int64_t step, int64_t i, int64_t half, double base);

#endif
