/*
 * Small charts as inline SVG: axes with round ticks, lines, dots and bars. Colours come from the
 * page's CSS classes c0 to c9, so that one page has one look in light and dark.
 */
#ifndef QN_TRAIN_CHART_H
#define QN_TRAIN_CHART_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

typedef struct {
    qn_buf *dst;
    double x_low, x_high, y_low, y_high; /* data at the edges of the plot */
    int width, height;                   /* pixels; 0 = 440 x 280 */
} qn_chart;

/* Opens the figure and draws frame, grid, ticks and labels. Equal bounds are spread a little. */
void qn_chart_begin(qn_chart *chart, const char *title, const char *x_label, const char *y_label);
void qn_chart_end(qn_chart *chart);
/* Points whose y is not finite break the line. */
void qn_chart_line(qn_chart *chart, const double *x, const double *y, int64_t count, int colour);
/* A dashed line at y across the chart. */
void qn_chart_level(qn_chart *chart, double y, int colour);
void qn_chart_dashed(qn_chart *chart, double x0, double y0, double x1, double y1);
void qn_chart_dot(qn_chart *chart, double x, double y, double radius, int colour);
/* From y_low up to y between x0 and x1. */
void qn_chart_bar(qn_chart *chart, double x0, double x1, double y, int colour);
/* Coloured names under the chart; call after end. */
void qn_chart_legend(qn_buf *dst, const char *const *names, int count);

/* Text with &, <, > and quotes made safe. */
void qn_html_text(qn_buf *dst, qn_str text);

#endif
