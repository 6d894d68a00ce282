/* Terminal: is it one, how wide, may it be coloured (NO_COLOR). One live line that rewrites itself.
 */
#ifndef QN_OS_TERM_H
#define QN_OS_TERM_H

#include <stdbool.h>

bool qn_term_is(int fd);
int qn_term_columns(int fd); /* 80 when unknown */
bool qn_term_colour(int fd);
void qn_term_live(int fd, const char *line); /* replaces the live line; cut to the width */
void qn_term_live_end(int fd);               /* clears it */

#endif
