/* The terminal: its width, its colours, and the one live line that rewrites itself. */
#include "os/term.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

bool qn_term_is(int fd)
{
    const char *kind = getenv("TERM");
    return isatty(fd) && !(kind && strcmp(kind, "dumb") == 0);
}

int qn_term_columns(int fd)
{
    struct winsize size;
    if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}

/* no-color.org: set and not empty means no colour. */
bool qn_term_colour(int fd)
{
    const char *no_colour = getenv("NO_COLOR");
    return qn_term_is(fd) && !(no_colour && *no_colour);
}

/* Bytes of `line` that fill at most `columns`, one column per UTF-8 sequence. */
static int cut_to_columns(const char *line, int columns)
{
    int bytes = 0;
    for (int used = 0; line[bytes] && line[bytes] != '\n'; bytes++)
        if (((unsigned char)line[bytes] & 0xC0) != 0x80 && ++used > columns)
            break;
    return bytes;
}

void qn_term_live(int fd, const char *line)
{
    int columns = qn_term_columns(fd) - 1; /* a full last column would wrap */
    dprintf(fd, "\r%.*s\033[K", cut_to_columns(line, columns), line);
}

void qn_term_live_end(int fd)
{
    dprintf(fd, "\r\033[K");
}
