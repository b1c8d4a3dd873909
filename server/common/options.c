#include "server/common/options.h"

#include "server/common/yaml_file.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef enum option_kind {
    KIND_STRING,
    KIND_BOOL,
    KIND_U32,
    KIND_SIZE,
    KIND_DOUBLE,
    KIND_MODEL
} option_kind;

typedef struct option_row {
    const char *name;
    option_kind kind;
    size_t offset;
    int commands; /* pith_command bits */
    const char *fallback;
    const char *value_name;
    const char *help;
} option_row;

#define ROW(name, kind, field, commands, fallback, value, help)                                    \
    { name, kind, offsetof(pith_options, field), commands, fallback, value, help }

enum {
    ENGINE = PITH_CMD_SERVE | PITH_CMD_COMPRESS | PITH_CMD_MODELS,
    REMOTE = PITH_CMD_COMPRESS | PITH_CMD_HEALTH | PITH_CMD_MODELS,
    ALL = ENGINE | REMOTE | PITH_CMD_TOKENS
};

static const option_row rows[] = {
    ROW("listen", KIND_STRING, listen, PITH_CMD_SERVE, "127.0.0.1:50051", "ADDR:PORT",
        "where to listen; port 0 picks one"),
    ROW("health", KIND_STRING, health, PITH_CMD_SERVE, NULL, "ADDR:PORT",
        "a port for gRPC health alone, plain text, without keys: for probes; off by default"),
    ROW("tls-cert", KIND_STRING, tls_cert, PITH_CMD_SERVE, NULL, "FILE.pem",
        "certificate chain of the gRPC port; taken up anew when it changes"),
    ROW("tls-key", KIND_STRING, tls_key, PITH_CMD_SERVE, NULL, "FILE.pem", "its private key"),
    ROW("tls-client-ca", KIND_STRING, tls_client_ca, PITH_CMD_SERVE, NULL, "FILE.pem",
        "authorities of which clients must show a certificate"),
    ROW("keys", KIND_STRING, keys, PITH_CMD_SERVE, NULL, "FILE",
        "bearer keys, one a line: NAME KEY [TOKENS_PER_S [BURST]]; without it anybody may call"),
    ROW("http", KIND_STRING, http, PITH_CMD_SERVE, NULL, "ADDR:PORT",
        "HTTP port: POST /compress, /metrics, /livez, /readyz, /v1/models; off by default"),
    ROW("http-profile", KIND_STRING, http_profile, PITH_CMD_SERVE, "faithful", "faithful|kompress",
        "profile of POST /compress"),
    ROW("otlp", KIND_STRING, otlp, PITH_CMD_SERVE, NULL, "URL",
        "OpenTelemetry collector that takes a span a request over OTLP/HTTP; off by default"),
    ROW("model", KIND_MODEL, models, ENGINE, NULL, "[NAME=]DIR",
        "model folder, repeatable; the first is the default (default: the one that ships)"),
    ROW("device", KIND_STRING, device, ENGINE, "auto", "auto|cpu|cuda:N[,cuda:M]|cuda:all",
        "where the model runs; several GPUs share the work"),
    ROW("dtype", KIND_STRING, dtype, ENGINE, "auto", "auto|f32|bf16|f16", "type of the products"),
    ROW("gpu-kernels", KIND_STRING, gpu_kernels, ENGINE, "auto", "auto|safe|cublas",
        "kernels on a GPU; safe: without wgmma; cublas: products by cuBLASLt"),
    ROW("isa", KIND_STRING, isa, ENGINE, "auto", "auto|ref|avx2|avx512|avx512-bf16",
        "pins the instruction set"),
    ROW("threads", KIND_U32, threads, ENGINE, "0", "N", "compute threads; 0: one a core"),
    ROW("patterns", KIND_STRING, patterns, ENGINE, NULL, "FILE.json",
        "switches or replaces critical patterns"),
    ROW("max-text-bytes", KIND_SIZE, max_text_bytes, ENGINE, "16777216", "BYTES",
        "longest text that is accepted"),
    ROW("step-tokens", KIND_U32, step_tokens, ENGINE, "0", "N",
        "most tokens in one step; 0: the device's default"),
    ROW("step-ms", KIND_U32, step_ms, PITH_CMD_SERVE, "25", "MS",
        "longest computation of one step, as calibrated at warm-up; one window always fits"),
    ROW("fold-repeats", KIND_BOOL, fold_repeats, PITH_CMD_SERVE | PITH_CMD_COMPRESS, NULL, NULL,
        "drop lines whole that repeat earlier ones but for numbers, paths, times; pithd: in every "
        "faithful request"),
    ROW("fold-after", KIND_U32, fold_after, ENGINE, "1", "N",
        "lines of a kind that stay before its repeats fold; the last stays too"),
    ROW("max-jobs", KIND_U32, max_jobs, PITH_CMD_SERVE, "256", "N",
        "texts accepted and not yet answered"),
    ROW("max-queue-bytes", KIND_SIZE, max_queue_bytes, PITH_CMD_SERVE, "0", "BYTES",
        "bytes of those texts; 0: eight of the longest"),
    ROW("max-queue-tokens", KIND_SIZE, max_queue_tokens, PITH_CMD_SERVE, "0", "N",
        "tokens of those texts; 0: as max-queue-bytes"),
    ROW("max-connections", KIND_U32, max_connections, PITH_CMD_SERVE, "1024", "N",
        "open connections"),
    ROW("drain-ms", KIND_U32, drain_ms, PITH_CMD_SERVE, "10000", "MS",
        "time that calls in flight get after SIGTERM"),
    ROW("addr", KIND_STRING, addr, REMOTE, NULL, "ADDR:PORT",
        "use this server instead of running in process"),
    ROW("target-ratio", KIND_DOUBLE, target_ratio, PITH_CMD_COMPRESS, NULL, "R",
        "share of the tokens to keep, in (0, 1]"),
    ROW("max-tokens", KIND_U32, max_tokens, PITH_CMD_COMPRESS, NULL, "N",
        "most tokens of the output"),
    ROW("threshold", KIND_DOUBLE, threshold, PITH_CMD_COMPRESS, NULL, "T",
        "keep words that score above this, in [0, 1]"),
    ROW("profile", KIND_STRING, profile, PITH_CMD_COMPRESS, "faithful", "faithful|kompress",
        "how words are scored and joined"),
    ROW("domain", KIND_STRING, domain, PITH_CMD_COMPRESS, "auto",
        "auto|prose|code|log|json|diff|search|shell|error_trace", "kind of text"),
    ROW("question", KIND_STRING, question, PITH_CMD_COMPRESS, NULL, "TEXT",
        "what the reader wants to know"),
    ROW("explain", KIND_BOOL, explain, PITH_CMD_COMPRESS, NULL, NULL,
        "show the input with dropped words dimmed"),
    ROW("color", KIND_STRING, color, PITH_CMD_COMPRESS, "auto", "auto|always|never",
        "colours; auto: only on a terminal"),
    ROW("json", KIND_BOOL, json, PITH_CMD_COMPRESS | PITH_CMD_MODELS, NULL, NULL,
        "print one JSON object"),
    ROW("lossy-utf8", KIND_BOOL, lossy_utf8, PITH_CMD_COMPRESS, NULL, NULL,
        "replace invalid UTF-8 by U+FFFD instead of refusing it"),
    ROW("tokenizer", KIND_STRING, tokenizer, PITH_CMD_TOKENS, NULL, "FILE.json",
        "tokenizer.json to use (default: the shipped model's)"),
    ROW("words", KIND_BOOL, words, PITH_CMD_TOKENS, NULL, NULL, "one line a white-space word"),
    ROW("parity", KIND_BOOL, parity, PITH_CMD_TOKENS, NULL, NULL,
        "match every added token, as Hugging Face tokenizers do"),
    ROW("config", KIND_STRING, config, ENGINE, NULL, "FILE.yaml", "file of options"),
    ROW("log", KIND_STRING, log, PITH_CMD_SERVE, "text", "text|json",
        "form of log lines; json adds one a request, without its text"),
    ROW("log-level", KIND_STRING, log_level, ALL, "info", "debug|info|warn|error",
        "least severe lines that are logged"),
};

enum { N_ROWS = sizeof rows / sizeof *rows, ENV_NAME_BYTES = 64 };

static const option_row *find_row(const char *name, size_t len) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (strlen(rows[i].name) == len && strncmp(rows[i].name, name, len) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static void env_name(const option_row *row, char out[ENV_NAME_BYTES]) {
    (void)snprintf(out, ENV_NAME_BYTES, "PITH_%s", row->name);
    for (char *c = out; *c != '\0'; c++) {
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    }
}

static const char *keep_string(pith_options *options, const char *value) {
    if (options->n_strings == PITH_OPTION_STRINGS_MAX) {
        return NULL;
    }
    char *copy = strdup(value);
    if (copy != NULL) {
        options->strings[options->n_strings++] = copy;
    }
    return copy;
}

static bool parse_unsigned(const char *text, uint64_t max, uint64_t *value) {
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 10);
    *value = parsed;
    return errno == 0 && *end == '\0' && parsed <= max;
}

static bool parse_double(const char *text, double *value) {
    char *end;
    errno = 0;
    *value = strtod(text, &end);
    return end != text && *end == '\0' && errno == 0 && isfinite(*value);
}

static bool parse_bool(const char *text, bool *value) {
    bool yes = strcmp(text, "true") == 0 || strcmp(text, "1") == 0 || strcmp(text, "yes") == 0;
    bool no = strcmp(text, "false") == 0 || strcmp(text, "0") == 0 || strcmp(text, "no") == 0;
    *value = yes;
    return yes || no;
}

static bool add_model(pith_options *options, const char *value) {
    if (options->n_models == PITH_MODEL_OPTIONS_MAX) {
        return false;
    }
    const char *copy = keep_string(options, value);
    options->models[options->n_models] = copy;
    options->n_models += copy != NULL;
    return copy != NULL;
}

/* Stores a value; false when it is not of the row's kind. */
static bool store(pith_options *options, const option_row *row, const char *value) {
    void *field = (char *)options + row->offset;
    uint64_t number;
    switch (row->kind) {
    case KIND_STRING:
        *(const char **)field = keep_string(options, value);
        return *(const char **)field != NULL;
    case KIND_BOOL:
        return parse_bool(value, field);
    case KIND_U32:
        if (!parse_unsigned(value, UINT32_MAX, &number)) {
            return false;
        }
        *(uint32_t *)field = (uint32_t)number;
        return true;
    case KIND_SIZE:
        if (!parse_unsigned(value, INT32_MAX, &number)) {
            return false;
        }
        *(size_t *)field = (size_t)number;
        return true;
    case KIND_DOUBLE:
        return parse_double(value, field);
    case KIND_MODEL:
        return add_model(options, value);
    }
    return false;
}

static pith_status bad_value(const char *prefix, const char *name, const char *value,
                             const option_row *row, pith_err *err) {
    return pith_fail(err, PITH_INVALID, "%s%s: \"%.128s\" is not %s", prefix, name, value,
                     row->value_name != NULL ? row->value_name : "true or false");
}

typedef struct flag_state {
    bool seen[N_ROWS]; /* set by a nearer source: the farther ones are skipped */
} flag_state;

static pith_status read_flag(pith_options *options, pith_command command, flag_state *state,
                             int argc, char **argv, int *at, pith_err *err) {
    const char *arg = argv[*at] + 2;
    const char *equals = strchr(arg, '=');
    size_t len = equals != NULL ? (size_t)(equals - arg) : strlen(arg);
    const option_row *row = find_row(arg, len);
    if (row == NULL || (row->commands & (int)command) == 0) {
        return pith_fail(err, PITH_INVALID, "unknown flag --%.*s (see --help)", (int)len, arg);
    }
    const char *value = equals != NULL ? equals + 1 : NULL;
    if (value == NULL && row->kind == KIND_BOOL) {
        value = "true";
    } else if (value == NULL) {
        if (*at + 1 >= argc) {
            return pith_fail(err, PITH_INVALID, "--%s wants a value: %s", row->name,
                             row->value_name);
        }
        value = argv[++*at];
    }
    state->seen[row - rows] = true;
    return store(options, row, value) ? PITH_OK : bad_value("--", row->name, value, row, err);
}

static pith_status read_arguments(pith_options *options, pith_command command, flag_state *state,
                                  int argc, char **argv, pith_err *err) {
    bool operands_only = false;
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        if (!operands_only && strcmp(arg, "--") == 0) {
            operands_only = true;
        } else if (!operands_only && (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0)) {
            options->help = true;
        } else if (!operands_only && strcmp(arg, "--help=markdown") == 0) {
            options->help = options->help_page = true;
        } else if (!operands_only && strcmp(arg, "--version") == 0) {
            options->version = true;
        } else if (!operands_only && strncmp(arg, "--", 2) == 0) {
            pith_status status = read_flag(options, command, state, argc, argv, &i, err);
            if (status != PITH_OK) {
                return status;
            }
        } else if (!operands_only && arg[0] == '-' && arg[1] != '\0') {
            return pith_fail(err, PITH_INVALID, "unknown flag %.64s (see --help)", arg);
        } else if (options->n_operands < 2) {
            options->operands[options->n_operands++] = arg;
        } else {
            return pith_fail(err, PITH_INVALID, "unexpected argument \"%.128s\"", arg);
        }
    }
    return PITH_OK;
}

static pith_status read_environment(pith_options *options, pith_command command, flag_state *state,
                                    pith_err *err) {
    for (size_t i = 0; i < N_ROWS; i++) {
        char name[ENV_NAME_BYTES];
        env_name(&rows[i], name);
        const char *value = getenv(name);
        if (value == NULL || state->seen[i] || (rows[i].commands & (int)command) == 0) {
            continue;
        }
        if (!store(options, &rows[i], value)) {
            return bad_value("", name, value, &rows[i], err);
        }
        state->seen[i] = true;
    }
    return PITH_OK;
}

typedef struct file_reader {
    pith_options *options;
    pith_command command;
    const flag_state *state;
} file_reader;

/* One "key: value" of the file; a list gives one call an item. */
static pith_status file_entry(void *user, const char *path, const char *key, const char *value,
                              pith_err *err) {
    const file_reader *reader = user;
    const option_row *row = find_row(key, strlen(key));
    if (row == NULL || strcmp(key, "config") == 0) {
        return pith_fail(err, PITH_INVALID, "%s: unknown key \"%.64s\"", path, key);
    }
    /* One file may serve both programs. */
    if (reader->state->seen[row - rows] || (row->commands & (int)reader->command) == 0) {
        return PITH_OK;
    }
    if (!store(reader->options, row, value)) {
        char prefix[256];
        (void)snprintf(prefix, sizeof prefix, "%.200s: ", path);
        return bad_value(prefix, key, value, row, err);
    }
    return PITH_OK;
}

static bool set_defaults(pith_options *options) {
    for (size_t i = 0; i < N_ROWS; i++) {
        if (rows[i].fallback != NULL && !store(options, &rows[i], rows[i].fallback)) {
            return false;
        }
    }
    return true;
}

pith_status pith_options_read(pith_options *options, pith_command command, int argc, char **argv,
                              pith_err *err) {
    *options = (pith_options){.target_ratio = NAN, .threshold = NAN};
    flag_state state = {0};
    if (!set_defaults(options)) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the options");
    }
    pith_status status = read_arguments(options, command, &state, argc, argv, err);
    if (status == PITH_OK && !options->help && !options->version) {
        status = read_environment(options, command, &state, err);
        if (status == PITH_OK && options->config != NULL) {
            file_reader reader = {.options = options, .command = command, .state = &state};
            status = pith_yaml_file_read(options->config, file_entry, &reader, err);
        }
    }
    options->target_ratio_set = !isnan(options->target_ratio);
    options->threshold_set = !isnan(options->threshold);
    return status;
}

void pith_options_free(pith_options *options) {
    for (uint32_t i = 0; i < options->n_strings; i++) {
        free(options->strings[i]);
    }
    options->n_strings = 0;
}

void pith_options_help(pith_command command, FILE *out) {
    for (size_t i = 0; i < N_ROWS; i++) {
        const option_row *row = &rows[i];
        if ((row->commands & (int)command) == 0) {
            continue;
        }
        char flag[128];
        (void)snprintf(flag, sizeof flag, "--%s%s%s", row->name, row->value_name ? " " : "",
                       row->value_name ? row->value_name : "");
        (void)fprintf(out, "  %-40s %s", flag, row->help);
        if (row->fallback != NULL) {
            (void)fprintf(out, " (%s)", row->fallback);
        }
        (void)fputc('\n', out);
    }
}

/* "a|b" would end a cell. */
static void put_cell(const char *text, FILE *out) {
    for (const char *c = text; *c != '\0'; c++) {
        (void)(*c == '|' ? fputs("\\|", out) : fputc(*c, out));
    }
}

static void page_section(const char *title, int commands, int without, FILE *out) {
    (void)fprintf(out,
                  "\n## %s\n\n| flag | environment | default | what it does |\n"
                  "| --- | --- | --- | --- |\n",
                  title);
    for (size_t i = 0; i < N_ROWS; i++) {
        const option_row *row = &rows[i];
        if ((row->commands & commands) == 0 || (row->commands & without) != 0) {
            continue;
        }
        char name[ENV_NAME_BYTES];
        env_name(row, name);
        (void)fprintf(out, "| `--%s`", row->name);
        if (row->value_name != NULL) {
            (void)fputc(' ', out);
            put_cell(row->value_name, out);
        }
        (void)fprintf(out, " | `%s` | %s | ", name, row->fallback != NULL ? row->fallback : "");
        put_cell(row->help, out);
        (void)fputs(" |\n", out);
    }
}

void pith_options_page(FILE *out) {
    (void)fputs(
        "# Options\n\n"
        "Made from the table in `server/common/options.c` by `pithd --help=markdown`. A flag "
        "without its dashes\nis also the key of a `--config` file. A flag wins over the "
        "environment, that over the file, that over\nthe default. pithd logs the values in "
        "force at start.\n",
        out);
    page_section("pithd, and pith where it runs a model itself", PITH_CMD_SERVE, 0, out);
    page_section("pith alone", ALL, PITH_CMD_SERVE, out);
}

static int describe_value(const pith_options *options, const option_row *row, char *out,
                          size_t size) {
    const void *field = (const char *)options + row->offset;
    switch (row->kind) {
    case KIND_STRING: {
        const char *text = *(const char *const *)field;
        return snprintf(out, size, " %s=%s", row->name, text != NULL ? text : "-");
    }
    case KIND_BOOL:
        return snprintf(out, size, " %s=%s", row->name, *(const bool *)field ? "true" : "false");
    case KIND_U32:
        return snprintf(out, size, " %s=%u", row->name, *(const uint32_t *)field);
    case KIND_SIZE:
        return snprintf(out, size, " %s=%zu", row->name, *(const size_t *)field);
    case KIND_DOUBLE:
        return snprintf(out, size, " %s=%g", row->name, *(const double *)field);
    case KIND_MODEL:
        return snprintf(out, size, " %s=%s%s", row->name,
                        options->n_models > 0 ? options->models[0] : "-",
                        options->n_models > 1 ? ",..." : "");
    }
    return 0;
}

void pith_options_describe(const pith_options *options, pith_command command, char *line,
                           size_t size) {
    size_t used = 0;
    line[0] = '\0';
    for (size_t i = 0; i < N_ROWS && used + 1 < size; i++) {
        if ((rows[i].commands & (int)command) != 0) {
            int len = describe_value(options, &rows[i], line + used, size - used);
            used += len > 0 ? (size_t)len : 0;
        }
    }
}
