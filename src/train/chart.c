/*
 * Inline SVG by printing: no dependency, no script.
 */
#include "train/chart.h"

#include <math.h>
#include <stdio.h>

#include "base/str.h"

enum { LEFT = 68, RIGHT = 12, TOP = 26, BOTTOM = 40 };

void qn_html_text(qn_buf *dst, qn_str text)
{
    for (size_t i = 0; i < text.size; i++) {
        switch (text.data[i]) {
        case '&':
            qn_buf_text(dst, "&amp;");
            break;
        case '<':
            qn_buf_text(dst, "&lt;");
            break;
        case '>':
            qn_buf_text(dst, "&gt;");
            break;
        case '"':
            qn_buf_text(dst, "&quot;");
            break;
        case '\'':
            qn_buf_text(dst, "&#39;");
            break;
        default:
            qn_buf_byte(dst, text.data[i]);
        }
    }
}

static double pixel_x(const qn_chart *chart, double x)
{
    double share = (x - chart->x_low) / (chart->x_high - chart->x_low);
    return LEFT + share * (chart->width - LEFT - RIGHT);
}

static double pixel_y(const qn_chart *chart, double y)
{
    double share = (y - chart->y_low) / (chart->y_high - chart->y_low);
    return chart->height - BOTTOM - share * (chart->height - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, so that four to eight fit. */
static double tick_step(double low, double high)
{
    double rough = (high - low) / 5, power = pow(10, floor(log10(rough)));
    double times = rough / power;
    return power * (times < 1.5 ? 1 : times < 3.5 ? 2 : times < 7.5 ? 5 : 10);
}

/* Ticks are whole multiples of the step; the end counts when only rounding keeps it out. */
static int64_t ticks_end(double high, double step)
{
    return (int64_t)floor(high / step + 1e-6) + 1;
}

static void draw_ticks(const qn_chart *chart)
{
    char text[32];
    double step = tick_step(chart->y_low, chart->y_high);
    int64_t first = (int64_t)ceil(chart->y_low / step), end = ticks_end(chart->y_high, step);
    for (int64_t k = first; k < end; k++) {
        double y = (double)k * step, at = pixel_y(chart, y);
        qn_buf_printf(chart->dst,
                      "<line class='grid' x1='%d' x2='%d' y1='%.1f' y2='%.1f'/><text x='%d' "
                      "y='%.1f' class='ty'>%s</text>",
                      LEFT, chart->width - RIGHT, at, at, LEFT - 6, at + 3.5,
                      qn_f64_to_brief(y, text));
    }
    step = tick_step(chart->x_low, chart->x_high);
    first = (int64_t)ceil(chart->x_low / step);
    end = ticks_end(chart->x_high, step);
    for (int64_t k = first; k < end; k++) {
        double x = (double)k * step;
        qn_buf_printf(chart->dst, "<text x='%.1f' y='%d' class='tx'>%s</text>", pixel_x(chart, x),
                      chart->height - BOTTOM + 15, qn_f64_to_brief(x, text));
    }
}

static void spread(double *low, double *high)
{
    if (!isfinite(*low) || !isfinite(*high)) {
        *low = 0;
        *high = 1;
    }
    if (*high - *low < 1e-12 * fmax(1, fabs(*low))) {
        *low -= 0.5;
        *high += 0.5;
    }
}

void qn_chart_begin(qn_chart *chart, const char *title, const char *x_label, const char *y_label)
{
    if (chart->width == 0)
        chart->width = 440;
    if (chart->height == 0)
        chart->height = 280;
    spread(&chart->x_low, &chart->x_high);
    spread(&chart->y_low, &chart->y_high);
    qn_buf_printf(chart->dst,
                  "<figure><svg viewBox='0 0 %d %d' role='img' aria-label='%s'><text x='%d' y='16' "
                  "class='title'>%s</text>",
                  chart->width, chart->height, title, LEFT, title);
    draw_ticks(chart);
    qn_buf_printf(chart->dst,
                  "<line class='axis' x1='%d' x2='%d' y1='%d' y2='%d'/><text x='%d' y='%d' "
                  "class='tx'>%s</text><text transform='translate(12 %d) rotate(-90)' "
                  "class='tx'>%s</text>",
                  LEFT, chart->width - RIGHT, chart->height - BOTTOM, chart->height - BOTTOM,
                  (LEFT + chart->width - RIGHT) / 2, chart->height - 8, x_label,
                  (TOP + chart->height - BOTTOM) / 2, y_label);
}

void qn_chart_end(qn_chart *chart)
{
    qn_buf_text(chart->dst, "</svg></figure>\n");
}

void qn_chart_line(qn_chart *chart, const double *x, const double *y, int64_t count, int colour)
{
    bool open = false;
    for (int64_t i = 0; i < count; i++) {
        if (!isfinite(y[i]) || !isfinite(x[i])) {
            if (open)
                qn_buf_text(chart->dst, "'/>");
            open = false;
            continue;
        }
        if (!open)
            qn_buf_printf(chart->dst, "<polyline class='line c%d' points='", colour % 10);
        open = true;
        double shown = fmin(fmax(y[i], chart->y_low), chart->y_high);
        qn_buf_printf(chart->dst, "%.1f,%.1f ", pixel_x(chart, x[i]), pixel_y(chart, shown));
    }
    if (open)
        qn_buf_text(chart->dst, "'/>");
}

void qn_chart_level(qn_chart *chart, double y, int colour)
{
    double at = pixel_y(chart, y);
    qn_buf_printf(chart->dst, "<line class='level c%d' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>",
                  colour % 10, pixel_x(chart, chart->x_low), at, pixel_x(chart, chart->x_high), at);
}

void qn_chart_dashed(qn_chart *chart, double x0, double y0, double x1, double y1)
{
    qn_buf_printf(chart->dst, "<line class='dashed' x1='%.1f' y1='%.1f' x2='%.1f' y2='%.1f'/>",
                  pixel_x(chart, x0), pixel_y(chart, y0), pixel_x(chart, x1), pixel_y(chart, y1));
}

void qn_chart_dot(qn_chart *chart, double x, double y, double radius, int colour)
{
    if (isfinite(x) && isfinite(y))
        qn_buf_printf(chart->dst, "<circle class='dot c%d' cx='%.1f' cy='%.1f' r='%.1f'/>",
                      colour % 10, pixel_x(chart, x), pixel_y(chart, y), radius);
}

void qn_chart_bar(qn_chart *chart, double x0, double x1, double y, int colour)
{
    double top = pixel_y(chart, y), bottom = pixel_y(chart, chart->y_low);
    double left = pixel_x(chart, x0), right = pixel_x(chart, x1);
    qn_buf_printf(chart->dst,
                  "<rect class='bar c%d' x='%.1f' y='%.1f' width='%.1f' height='%.1f'/>",
                  colour % 10, left + 0.5, top, fmax(0.5, right - left - 1), fmax(0, bottom - top));
}

void qn_chart_legend(qn_buf *dst, const char *const *names, int count)
{
    qn_buf_text(dst, "<p class='legend'>");
    for (int i = 0; i < count; i++) {
        qn_buf_printf(dst, "<span class='key c%d'></span>", i % 10);
        qn_html_text(dst, qn_str_from(names[i]));
        qn_buf_byte(dst, ' ');
    }
    qn_buf_text(dst, "</p>\n");
}
