/*
 * Dates as people write them, to seconds since 1970 (UTC) and to calendar parts.
 */
#ifndef QN_DATA_DATES_H
#define QN_DATA_DATES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/* How day and month are ordered where the text itself does not say. */
typedef enum { QN_DATE_ISO, QN_DATE_DAY_FIRST, QN_DATE_MONTH_FIRST, QN_DATE_ORDERS } qn_date_order;

/* 2026-01-31, 2026/01/31, optionally followed by a time (T or space, hh:mm[:ss[.fff]], Z or +hh:mm); 31.01.2026,
 * 31/01/2026 and 01/31/2026 in the order given. false = not such a date. */
bool qn_date_parse(qn_str text, qn_date_order order, double *ret_seconds);

typedef struct {
    int year, month, day; /* month and day from 1 */
    int weekday;          /* 0 = Monday */
    double hour;          /* 0..24 with fraction */
} qn_date_parts;
qn_date_parts qn_date_split(double seconds);

#endif
