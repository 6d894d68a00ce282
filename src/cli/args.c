/*
 * Words of the command line to flags and arguments, by the verb's row. Flags stand anywhere, `--flag value` and
 * `--flag=value` are the same, and `--` ends flags.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "cli/verb.h"

static const qn_flag common_flags[] = {
    {"json", NULL, NULL, "one JSON object per event on standard output, the last one the result"},
    {"quiet", NULL, NULL, "nothing on standard error but errors"},
    {"threads", "N", "what the cgroup grants", "worker threads; results do not depend on it"},
    {"seed", "N", "1", "seed of splits, initial weights and shuffling"},
    {"set", "PATH=VALUE", NULL, "sets a recipe key, such as train.epochs=5; may be repeated"},
    {"mem", "SIZE", "what is free", "memory budget, such as 2GiB"},
    {"time", "TIME", "none", "time budget, such as 10m"},
};
static const qn_flag help_flag = {"help", NULL, NULL, "prints this text"};

const qn_flag *qn_verb_flag(const qn_verb *verb, int index)
{
    int own = 0;
    while (verb->flags && verb->flags[own].name)
        own++;
    if (index < own)
        return &verb->flags[index];
    index -= own;
    for (int i = 0; i < (int)(sizeof common_flags / sizeof *common_flags); i++)
        if (verb->common & (1U << i) && index-- == 0)
            return &common_flags[i];
    return index == 0 ? &help_flag : NULL;
}

static const qn_flag *flag_find(const qn_verb *verb, qn_str name)
{
    const qn_flag *flag;
    for (int i = 0; (flag = qn_verb_flag(verb, i)) != NULL; i++)
        if (qn_str_is(name, flag->name))
            return flag;
    return NULL;
}

static qn_status unknown_flag(const qn_verb *verb, const char *word, qn_str name, qn_arena *arena,
                              qn_error *err)
{
    const char *names[QN_CLI_FLAGS_MAX];
    int count = 0;
    for (const qn_flag *flag;
         count < QN_CLI_FLAGS_MAX && (flag = qn_verb_flag(verb, count)) != NULL;)
        names[count++] = flag->name;
    const char *text = qn_arena_strndup(arena, name.data, name.size);
    const char *nearest = text ? qn_error_nearest(text, names, count) : NULL;
    qn_error_set(err, QN_ERR_ARG, NULL, "unknown flag '%s' of 'quern %s'", word, verb->name);
    if (nearest)
        return qn_error_hint(err, QN_ERR_ARG, "did you mean --%s?", nearest);
    return qn_error_hint(err, QN_ERR_ARG, "see 'quern %s --help'", verb->name);
}

/* One "--name" or "--name=value"; *at moves on when the value is the next word. */
static qn_status parse_flag(qn_cli *cli, char **words, int words_count, int *at, qn_error *err)
{
    const char *word = words[*at];
    const char *equals = strchr(word, '=');
    qn_str name = {word + 2, equals ? (size_t)(equals - word - 2) : strlen(word + 2)};
    const qn_flag *flag = flag_find(cli->verb, name);
    if (!flag)
        return unknown_flag(cli->verb, word, name, &cli->arena, err);
    const char *value = equals ? equals + 1 : NULL;
    if (!flag->value && value)
        QN_FAIL(err, QN_ERR_ARG, "flag --%s takes no value, got '%s'", flag->name, value);
    if (flag->value && !value) {
        if (*at + 1 >= words_count)
            QN_FAIL(err, QN_ERR_ARG, "flag --%s needs a value: --%s %s", flag->name, flag->name,
                    flag->value);
        value = words[++*at];
    }
    cli->given[cli->given_count].flag = flag;
    cli->given[cli->given_count++].value = value;
    return QN_OK;
}

static qn_status check_arguments(const qn_cli *cli, qn_error *err)
{
    const qn_verb *verb = cli->verb;
    if (qn_cli_has(cli, "help"))
        return QN_OK;
    if (cli->arguments_count > verb->arguments_max) {
        qn_error_set(err, QN_ERR_ARG, NULL, "unexpected argument '%s' of 'quern %s'",
                     cli->arguments[verb->arguments_max], verb->name);
        return qn_error_hint(err, QN_ERR_ARG, "usage: quern %s %s", verb->name, verb->arguments);
    }
    if (cli->arguments_count < verb->arguments_min) {
        qn_error_set(err, QN_ERR_ARG, NULL, "'quern %s' needs %s", verb->name, verb->arguments);
        return qn_error_hint(err, QN_ERR_ARG, "see 'quern %s --help'", verb->name);
    }
    return QN_OK;
}

qn_status qn_cli_parse(qn_cli *cli, const qn_verb *verb, int words_count, char **words,
                       qn_error *err)
{
    cli->verb = verb;
    cli->arguments = QN_NEW(&cli->arena, const char *, words_count + 1);
    cli->given = qn_arena_zero(&cli->arena, words_count + 1, sizeof *cli->given);
    if (!cli->arguments || !cli->given)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for %d words of the command line", words_count);
    bool flags_over = false;
    for (int i = 0; i < words_count; i++) {
        if (!flags_over && strcmp(words[i], "--") == 0)
            flags_over = true;
        else if (!flags_over && strcmp(words[i], "-h") == 0)
            cli->given[cli->given_count++].flag = &help_flag;
        else if (!flags_over && strncmp(words[i], "--", 2) == 0)
            QN_TRY(parse_flag(cli, words, words_count, &i, err));
        else if (!flags_over && words[i][0] == '-' && words[i][1])
            return unknown_flag(verb, words[i], (qn_str){words[i] + 1, strlen(words[i] + 1)},
                                &cli->arena, err);
        else
            cli->arguments[cli->arguments_count++] = words[i];
    }
    cli->json = qn_cli_has(cli, "json");
    cli->quiet = qn_cli_has(cli, "quiet");
    return check_arguments(cli, err);
}

/* QUERN_THREADS and the like stand between the recipe and the flags. */
static const char *from_environment(const qn_cli *cli, const char *name)
{
    const qn_flag *flag = flag_find(cli->verb, qn_str_from(name));
    bool is_common =
        flag >= common_flags && flag < common_flags + sizeof common_flags / sizeof *common_flags;
    if (!is_common || !flag->value || strcmp(name, "set") == 0)
        return NULL;
    char variable[32];
    int length = snprintf(variable, sizeof variable, "QUERN_%s", name);
    for (int i = 0; i < length; i++)
        if (variable[i] >= 'a' && variable[i] <= 'z')
            variable[i] = (char)(variable[i] - 'a' + 'A');
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

const char *qn_cli_text(const qn_cli *cli, const char *flag)
{
    for (int i = cli->given_count - 1; i >= 0; i--)
        if (strcmp(cli->given[i].flag->name, flag) == 0)
            return cli->given[i].value;
    return from_environment(cli, flag);
}

bool qn_cli_has(const qn_cli *cli, const char *flag)
{
    for (int i = 0; i < cli->given_count; i++)
        if (strcmp(cli->given[i].flag->name, flag) == 0)
            return true;
    return false;
}

qn_status qn_cli_i64(const qn_cli *cli, const char *flag, int64_t low, int64_t high, int64_t *ret,
                     qn_error *err)
{
    const char *text = qn_cli_text(cli, flag);
    if (!text)
        return QN_OK;
    int64_t value;
    if (!qn_str_to_i64(qn_str_from(text), &value) || value < low || value > high)
        QN_FAIL(err, QN_ERR_ARG, "flag --%s takes a whole number from %lld to %lld, got '%s'", flag,
                (long long)low, (long long)high, text);
    *ret = value;
    return QN_OK;
}

qn_status qn_cli_bytes(const qn_cli *cli, const char *flag, int64_t *ret, qn_error *err)
{
    const char *text = qn_cli_text(cli, flag);
    int64_t value;
    if (!text)
        return QN_OK;
    if (!qn_str_to_bytes(qn_str_from(text), &value) || value <= 0)
        QN_FAIL(err, QN_ERR_ARG, "flag --%s takes a size such as 512MiB or 2GiB, got '%s'", flag,
                text);
    *ret = value;
    return QN_OK;
}

qn_status qn_cli_seconds(const qn_cli *cli, const char *flag, double *ret, qn_error *err)
{
    const char *text = qn_cli_text(cli, flag);
    double value;
    if (!text)
        return QN_OK;
    if (!qn_str_to_seconds(qn_str_from(text), &value) || value <= 0)
        QN_FAIL(err, QN_ERR_ARG, "flag --%s takes a time such as 30s, 10m or 2h, got '%s'", flag,
                text);
    *ret = value;
    return QN_OK;
}

qn_status qn_cli_all(qn_cli *cli, const char *flag, const char *const **ret, int *ret_count,
                     qn_error *err)
{
    const char **values = QN_NEW(&cli->arena, const char *, cli->given_count + 1);
    int count = 0;
    if (!values)
        QN_FAIL(err, QN_ERR_MEMORY, "no memory for the values of --%s", flag);
    for (int i = 0; i < cli->given_count; i++)
        if (strcmp(cli->given[i].flag->name, flag) == 0)
            values[count++] = cli->given[i].value;
    *ret = values;
    *ret_count = count;
    return QN_OK;
}
