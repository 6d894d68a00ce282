/*
 * A language model of characters: reads any text file, learns to say which byte comes next, and writes on.
 *
 *     char_lm FILE [STEPS [PROMPT]]
 *
 * A transformer of 4 layers with 4 heads, 128 numbers a byte, that sees 64 bytes; the last tenth of the file is kept for
 * validation. On the works of Shakespeare 2,000 steps take a minute or less.
 */
#include <quern/quern.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The bytes that occur, in order: token t stands for bytes[t]. */
typedef struct {
    int32_t token[256];
    unsigned char bytes[256];
    int count;
} alphabet;

static unsigned char *read_file(const char *path, long *ret_size)
{
    unsigned char *data = NULL;
    FILE *file = fopen(path, "rb");
    if (file && fseek(file, 0, SEEK_END) == 0 && (*ret_size = ftell(file)) > 0) {
        rewind(file);
        data = malloc((size_t)*ret_size);
        if (data && fread(data, 1, (size_t)*ret_size, file) != (size_t)*ret_size) {
            free(data);
            data = NULL;
        }
    }
    if (file)
        fclose(file);
    return data;
}

static alphabet find_alphabet(const unsigned char *data, long size)
{
    alphabet a = {.count = 0};
    int seen[256] = {0};
    for (long i = 0; i < size; i++)
        seen[data[i]] = 1;
    for (int byte = 0; byte < 256; byte++)
        if (seen[byte]) {
            a.token[byte] = a.count;
            a.bytes[a.count++] = (unsigned char)byte;
        }
    return a;
}

static int show_progress(void *context, const qn_seq_report *report)
{
    (void)context;
    fprintf(stderr, "step %lld of %lld: loss %.4f, validation %.4f, %.1f s\n",
            (long long)report->step, (long long)report->steps, report->loss, report->valid_loss,
            report->seconds);
    return 0;
}

static int show_token(void *context, int64_t prompt, int32_t token)
{
    const alphabet *a = context;
    (void)prompt;
    putchar(a->bytes[token]);
    fflush(stdout);
    return 0;
}

static qn_status write_on(qn_seq *model, alphabet *a, const char *prompt, qn_error *err)
{
    int32_t start[256], tokens[500];
    int64_t made;
    qn_seq_prompt from = {.tokens = start};
    for (const char *c = prompt; *c && from.count < 256; c++)
        start[from.count++] = a->token[(unsigned char)*c];
    qn_seq_generate_options options = {
        .tokens_max = 500, .temperature = 0.8f, .top_k = 40, .on_token = show_token, .context = a};
    printf("%s", prompt);
    qn_status status = qn_seq_generate(model, &from, 1, &options, tokens, &made, err);
    printf("\n");
    return status;
}

static qn_status learn(qn_seq *model, const int32_t *tokens, long size, int64_t steps,
                       qn_error *err)
{
    long train = size / 10 * 9;
    qn_seq_fit_options options = {
        .optimizer = qn_adamw(0.001f, 0.01f),
        .steps = steps,
        .batch = 12,
        .schedule = {.kind = QN_RATE_COSINE, .rate_min = 0.0001f},
        .valid_tokens = tokens + train,
        .valid_count = size - train,
        .report_steps = steps < 4 ? 1 : steps / 4,
        .on_report = show_progress,
    };
    return qn_seq_fit(model, tokens, train, &options, err);
}

int main(int argc, char **argv)
{
    long size = 0;
    qn_error err = {0};
    unsigned char *data = argc > 1 ? read_file(argv[1], &size) : NULL;
    int32_t *tokens = data ? malloc((size_t)size * sizeof *tokens) : NULL;
    if (!tokens) {
        fprintf(stderr, "char_lm: cannot read %s\nusage: char_lm FILE [STEPS [PROMPT]]\n",
                argc > 1 ? argv[1] : "nothing");
        free(data);
        return 2;
    }
    alphabet a = find_alphabet(data, size);
    for (long i = 0; i < size; i++)
        tokens[i] = a.token[data[i]];
    char first[2] = {(char)data[0], '\0'};

    qn_seq_options shape = {.vocab = a.count, .context = 64, .width = 128, .layers = 4, .heads = 4};
    qn_seq *model = qn_seq_create(&shape, &err);
    int failed = !model ||
                 learn(model, tokens, size, argc > 2 ? strtol(argv[2], NULL, 10) : 2000, &err) ||
                 write_on(model, &a, argc > 3 ? argv[3] : first, &err);
    if (failed)
        fprintf(stderr, "char_lm: %s\n", err.text);
    qn_seq_destroy(model);
    free(tokens);
    free(data);
    return failed;
}
