/*
 * Date texts by hand: strptime depends on the locale and accepts too much. Day counts by Howard Hinnant's
 * days_from_civil (http://howardhinnant.github.io/date_algorithms.html), which is exact for every Gregorian date.
 */
#include "data/dates.h"

#include <math.h>

static bool take_digits(qn_str *text, int least, int most, int *ret)
{
    int value = 0, used = 0;
    while (used < most && text->size > 0 && (unsigned char)(*text->data - '0') <= 9) {
        value = value * 10 + (*text->data - '0');
        text->data++;
        text->size--;
        used++;
    }
    *ret = value;
    return used >= least;
}

static bool take_byte(qn_str *text, char byte)
{
    if (text->size == 0 || *text->data != byte)
        return false;
    text->data++;
    text->size--;
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return days[month - 1] + (month == 2 && leap);
}

static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static bool take_fraction(qn_str *text, double *ret)
{
    double unit = 0.1, value = 0;
    while (text->size > 0 && (unsigned char)(*text->data - '0') <= 9) {
        value += unit * (*text->data - '0');
        unit *= 0.1;
        text->data++;
        text->size--;
    }
    *ret = value;
    return unit < 0.1;
}

/* "Z", "+01:00", "-0530" or nothing. */
static bool take_zone(qn_str *text, double *ret_seconds)
{
    *ret_seconds = 0;
    if (text->size == 0 || take_byte(text, 'Z'))
        return true;
    int sign = take_byte(text, '+') ? 1 : take_byte(text, '-') ? -1 : 0;
    int hours, minutes;
    if (!sign || !take_digits(text, 2, 2, &hours))
        return false;
    take_byte(text, ':');
    if (!take_digits(text, 2, 2, &minutes) || hours > 14 || minutes > 59)
        return false;
    *ret_seconds = sign * (hours * 3600.0 + minutes * 60.0);
    return true;
}

static bool take_time(qn_str *text, double *ret_seconds)
{
    int hour, minute, second = 0;
    double fraction = 0, zone;
    if (!take_digits(text, 1, 2, &hour) || !take_byte(text, ':') ||
        !take_digits(text, 2, 2, &minute))
        return false;
    if (take_byte(text, ':') && !take_digits(text, 2, 2, &second))
        return false;
    if (take_byte(text, '.') && !take_fraction(text, &fraction))
        return false;
    if (hour > 23 || minute > 59 || second > 60 || !take_zone(text, &zone))
        return false;
    *ret_seconds = hour * 3600.0 + minute * 60.0 + second + fraction - zone;
    return true;
}

static bool take_day(qn_str *text, qn_date_order order, int *year, int *month, int *day)
{
    int first, second, third;
    if (order == QN_DATE_ISO) {
        if (!take_digits(text, 4, 4, year))
            return false;
        char mark = text->size > 0 ? *text->data : 0;
        return (mark == '-' || mark == '/') && take_byte(text, mark) &&
               take_digits(text, 1, 2, month) && take_byte(text, mark) &&
               take_digits(text, 1, 2, day);
    }
    if (!take_digits(text, 1, 2, &first))
        return false;
    char mark = text->size > 0 ? *text->data : 0;
    if ((mark != '.' && mark != '/' && mark != '-') || !take_byte(text, mark) ||
        !take_digits(text, 1, 2, &second) || !take_byte(text, mark) ||
        !take_digits(text, 4, 4, &third))
        return false;
    *year = third;
    *month = order == QN_DATE_DAY_FIRST ? second : first;
    *day = order == QN_DATE_DAY_FIRST ? first : second;
    return true;
}

bool qn_date_parse(qn_str text, qn_date_order order, double *ret_seconds)
{
    int year = 0, month = 0, day = 0;
    double seconds = 0;
    if (text.size < 8 || text.size > 40 || !take_day(&text, order, &year, &month, &day))
        return false;
    if (month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    if (text.size > 0 &&
        ((!take_byte(&text, 'T') && !take_byte(&text, ' ')) || !take_time(&text, &seconds)))
        return false;
    if (text.size > 0)
        return false;
    *ret_seconds = (double)days_from_civil(year, month, day) * 86400.0 + seconds;
    return true;
}

qn_date_parts qn_date_split(double seconds)
{
    double days = floor(seconds / 86400.0);
    int64_t day = (int64_t)days + 719468;
    int64_t era = (day >= 0 ? day : day - 146096) / 146097;
    int64_t of_era = day - era * 146097;
    int64_t year_of_era = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * of_year + 2) / 153; /* months from March */
    int month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    return (qn_date_parts){.year = (int)(year_of_era + era * 400 + (month <= 2)),
                           .month = month,
                           .day = (int)(of_year - (153 * shifted + 2) / 5 + 1),
                           .weekday = (int)((((int64_t)days + 3) % 7 + 7) % 7),
                           .hour = (seconds - days * 86400.0) / 3600.0};
}
