/*
 * The program: finds the verb, parses its flags, runs it, and turns what came out into an exit code. Nothing else
 * in the tree exits.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/verbs.h"

static qn_status print_help(const qn_verb *verb, qn_error *err)
{
    qn_buf text;
    qn_buf_init(&text, 0);
    if (verb)
        qn_help_verb(verb, &text);
    else
        qn_help_program(&text);
    qn_status status = qn_cli_print(&text, err);
    qn_buf_deinit(&text);
    return status;
}

static qn_status fail_verb(const char *word, qn_error *err)
{
    const char *names[64];
    int count = 0;
    for (; count < 64 && qn_verb_at(count); count++)
        names[count] = qn_verb_at(count)->name;
    const char *near = qn_error_nearest(word, names, count);
    qn_error_set(err, QN_ERR_ARG, NULL, "unknown %s '%s'", *word == '-' ? "flag" : "verb", word);
    if (near)
        return qn_error_hint(err, QN_ERR_ARG, "did you mean 'quern %s'?", near);
    return qn_error_hint(err, QN_ERR_ARG, "'quern --help' lists the verbs");
}

static bool is_help(const char *word)
{
    return strcmp(word, "--help") == 0 || strcmp(word, "-h") == 0;
}

/* Words before the verb, and words that are none. */
static qn_status run_word(const char *word, qn_error *err)
{
    if (is_help(word))
        return print_help(NULL, err);
    if (strcmp(word, "--version") != 0)
        return fail_verb(word, err);
    static const char text[] = "quern " QN_VERSION "\n";
    return qn_cli_write(1, text, sizeof text - 1, err);
}

/* Stopped by a signal after keeping what could be kept: 128 + its number. A server that drained is done. */
static int exit_code(const qn_cli *cli, qn_status status)
{
    if (status == QN_ERR_CANCELLED || cli->interrupted)
        return 128 + (qn_cli_signal() ? qn_cli_signal() : SIGINT);
    if (status == QN_OK && cli->negative)
        return qn_status_exit(QN_ERR_NEGATIVE);
    return qn_status_exit(status);
}

static int run_verb(const qn_verb *verb, int count, char **words)
{
    qn_cli cli = {.verb = verb};
    qn_error err = {0};
    qn_arena_init(&cli.arena, 0);
    qn_status status = qn_cli_parse(&cli, verb, count, words, &err);
    if (status == QN_OK)
        status = qn_cli_has(&cli, "help") ? print_help(verb, &err) : verb->run(&cli, &err);
    bool unread = status == QN_ERR_IO && err.os_errno == EPIPE; /* `| head` has seen enough */
    if (status != QN_OK && !unread)
        qn_cli_report(&cli, &err);
    int code = exit_code(&cli, status);
    qn_arena_deinit(&cli.arena);
    return code;
}

/* Flags may stand anywhere, also before the verb: the first word that names one; 0 = none. */
static int verb_index(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (qn_verb_find(argv[i]))
            return i;
        bool is_flag = argv[i][0] == '-';
        if (i == 1 && (!is_flag || is_help(argv[i]) || strcmp(argv[i], "--version") == 0))
            return 0;
    }
    return 0;
}

int main(int argc, char **argv)
{
    qn_error err = {0};
    signal(SIGPIPE, SIG_IGN); /* a closed pipe is an error of write(), told like every other */
    if (argc < 2) {
        qn_status status = print_help(NULL, &err);
        return status == QN_OK ? qn_status_exit(QN_ERR_ARG) : qn_status_exit(status);
    }
    int at = verb_index(argc, argv);
    if (at > 0) {
        const qn_verb *verb = qn_verb_find(argv[at]);
        memmove(argv + at, argv + at + 1, (size_t)(argc - at - 1) * sizeof *argv);
        return run_verb(verb, argc - 2, argv + 1);
    }
    qn_status status = run_word(argv[1], &err);
    if (status != QN_OK)
        qn_cli_report(NULL, &err);
    return qn_status_exit(status);
}
