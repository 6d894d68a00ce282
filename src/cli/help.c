/*
 * Help, man pages and shell completion, all made from the verbs' rows.
 */
#include <stdio.h>
#include <string.h>

#include "cli/verb.h"

void qn_help_program(qn_buf *dst)
{
    qn_buf_text(dst,
                "quern: data in, a trained, evaluated and served model out, on this machine\n\n"
                "usage: quern VERB [ARGUMENT...] [--flag value]\n\n");
    for (int i = 0; qn_verb_at(i); i++)
        qn_buf_printf(dst, "  %-11s %s\n", qn_verb_at(i)->name, qn_verb_at(i)->summary);
    qn_buf_text(
        dst, "\nquern VERB --help says what a verb takes. quern --version prints the version.\n"
             "Start with: quern train data.csv --target COLUMN, then: quern serve models/data\n");
}

/* "--target COLUMN" padded, then what it does, its default behind it. */
static void flag_line(const qn_flag *flag, qn_buf *dst)
{
    char left[64];
    int used = snprintf(left, sizeof left, "--%s%s%s", flag->name, flag->value ? " " : "",
                        flag->value ? flag->value : "");
    qn_buf_printf(dst, "  %-*s %s", used > 24 ? used : 24, left, flag->doc);
    if (flag->fallback)
        qn_buf_printf(dst, " (default: %s)", flag->fallback);
    qn_buf_byte(dst, '\n');
}

void qn_help_verb(const qn_verb *verb, qn_buf *dst)
{
    qn_buf_printf(dst, "usage: quern %s %s%s[--flag value]\n\n%s\n\nflags:\n", verb->name,
                  verb->arguments, *verb->arguments ? " " : "", verb->about);
    for (int i = 0; qn_verb_flag(verb, i); i++)
        flag_line(qn_verb_flag(verb, i), dst);
    qn_buf_text(dst, "\nexamples:\n");
    for (int i = 0; i < 4 && verb->examples[i]; i += 2)
        qn_buf_printf(dst, "  %s\n      %s\n", verb->examples[i], verb->examples[i + 1]);
}

/* Text of a man page: a backslash, and a dot or quote at the start of a line, would be commands. */
static void roff(qn_buf *dst, const char *text)
{
    for (const char *c = text; *c; c++) {
        if ((*c == '.' || *c == '\'') && (c == text || c[-1] == '\n'))
            qn_buf_text(dst, "\\&");
        if (*c == '-')
            qn_buf_text(dst, "\\-");
        else if (*c == '\\')
            qn_buf_text(dst, "\\e");
        else
            qn_buf_byte(dst, *c);
    }
}

static void roff_item(qn_buf *dst, const char *term, const char *text)
{
    qn_buf_text(dst, ".TP\n.B ");
    roff(dst, term);
    qn_buf_byte(dst, '\n');
    roff(dst, text);
    qn_buf_byte(dst, '\n');
}

static void man_program(qn_buf *dst)
{
    qn_buf_text(dst, ".TH QUERN 1 \"\" \"quern " QN_VERSION
                     "\"\n.SH NAME\nquern \\- data in, a trained and served model out\n"
                     ".SH SYNOPSIS\n.B quern\nVERB [ARGUMENT...] [\\-\\-flag value]\n.SH VERBS\n");
    for (int i = 0; qn_verb_at(i); i++)
        roff_item(dst, qn_verb_at(i)->name, qn_verb_at(i)->summary);
    qn_buf_text(dst, ".SH EXIT STATUS\n0 done; 1 a check came out negative; 2 wrong use; 3 bad "
                     "data; 4 a budget does not "
                     "suffice; 5 a file or the network failed; 70 a fault of ours; 130 or 143 "
                     "stopped by a signal.\n");
}

void qn_help_man(const qn_verb *verb, qn_buf *dst)
{
    if (!verb) {
        man_program(dst);
        return;
    }
    qn_buf_printf(dst, ".TH QUERN-%s 1 \"\" \"quern %s\"\n.SH NAME\nquern-%s \\- ", verb->name,
                  QN_VERSION, verb->name);
    roff(dst, verb->summary);
    qn_buf_printf(dst, "\n.SH SYNOPSIS\n.B quern %s\n%s [\\-\\-flag value]\n.SH DESCRIPTION\n",
                  verb->name, verb->arguments);
    roff(dst, verb->about);
    qn_buf_text(dst, "\n.SH OPTIONS\n");
    for (int i = 0; qn_verb_flag(verb, i); i++) {
        const qn_flag *flag = qn_verb_flag(verb, i);
        char term[64];
        snprintf(term, sizeof term, "--%s%s%s", flag->name, flag->value ? " " : "",
                 flag->value ? flag->value : "");
        roff_item(dst, term, flag->doc);
    }
    qn_buf_text(dst, ".SH EXAMPLES\n");
    for (int i = 0; i < 4 && verb->examples[i]; i += 2)
        roff_item(dst, verb->examples[i], verb->examples[i + 1]);
}

static void completion_bash(qn_buf *dst)
{
    qn_buf_text(dst, "_quern() {\n    local word=${COMP_WORDS[COMP_CWORD]} flags=\n"
                     "    if [ \"$COMP_CWORD\" = 1 ]; then\n        COMPREPLY=($(compgen -W \"");
    for (int i = 0; qn_verb_at(i); i++)
        qn_buf_printf(dst, "%s%s", i ? " " : "", qn_verb_at(i)->name);
    qn_buf_text(dst, "\" -- \"$word\"))\n        return\n    fi\n    case ${COMP_WORDS[1]} in\n");
    for (int i = 0; qn_verb_at(i); i++) {
        qn_buf_printf(dst, "    %s) flags=\"", qn_verb_at(i)->name);
        for (int f = 0; qn_verb_flag(qn_verb_at(i), f); f++)
            qn_buf_printf(dst, "%s--%s", f ? " " : "", qn_verb_flag(qn_verb_at(i), f)->name);
        qn_buf_text(dst, "\" ;;\n");
    }
    qn_buf_text(dst, "    esac\n    if [[ $word == -* ]]; then\n        COMPREPLY=($(compgen -W "
                     "\"$flags\" -- \"$word\"))\n"
                     "    else\n        COMPREPLY=($(compgen -f -- \"$word\"))\n    "
                     "fi\n}\ncomplete -o filenames -F _quern quern\n");
}

static void completion_zsh(qn_buf *dst)
{
    qn_buf_text(dst, "#compdef quern\nlocal -a verbs\nverbs=(\n");
    for (int i = 0; qn_verb_at(i); i++)
        qn_buf_printf(dst, "    '%s:%s'\n", qn_verb_at(i)->name, qn_verb_at(i)->summary);
    qn_buf_text(dst, ")\nif (( CURRENT == 2 )); then\n    _describe verb verbs\n    "
                     "return\nfi\ncase $words[2] in\n");
    for (int i = 0; qn_verb_at(i); i++) {
        qn_buf_printf(dst, "%s) _arguments", qn_verb_at(i)->name);
        for (int f = 0; qn_verb_flag(qn_verb_at(i), f); f++) {
            const qn_flag *flag = qn_verb_flag(qn_verb_at(i), f);
            qn_buf_printf(dst, " '--%s%s'", flag->name, flag->value ? "=:value:_files" : "");
        }
        qn_buf_text(dst, " '*:file:_files' ;;\n");
    }
    qn_buf_text(dst, "esac\n");
}

static void completion_fish(qn_buf *dst)
{
    for (int i = 0; qn_verb_at(i); i++) {
        const qn_verb *verb = qn_verb_at(i);
        qn_buf_printf(dst, "complete -c quern -n __fish_use_subcommand -a %s -d '%s'\n", verb->name,
                      verb->summary);
        for (int f = 0; qn_verb_flag(verb, f); f++)
            qn_buf_printf(dst,
                          "complete -c quern -n '__fish_seen_subcommand_from %s' -l %s%s -d '%s'\n",
                          verb->name, qn_verb_flag(verb, f)->name,
                          qn_verb_flag(verb, f)->value ? " -r" : "", qn_verb_flag(verb, f)->doc);
    }
}

qn_status qn_help_completion(const char *shell, qn_buf *dst, qn_error *err)
{
    if (strcmp(shell, "bash") == 0)
        completion_bash(dst);
    else if (strcmp(shell, "zsh") == 0)
        completion_zsh(dst);
    else if (strcmp(shell, "fish") == 0)
        completion_fish(dst);
    else
        QN_FAIL(err, QN_ERR_ARG, "unknown shell '%s': bash, zsh or fish", shell);
    return QN_OK;
}
