/* The one table of options: flag = environment variable = key of the config file.
 *
 * `--max-text-bytes` is also PITH_MAX_TEXT_BYTES and `max-text-bytes:`. A flag wins over the
 * environment, the environment over the file, the file over the built-in value. A pith_options
 * owns its strings until pith_options_free; filled once by main, then read by any thread. */
#ifndef PITH_SERVER_COMMON_OPTIONS_H
#define PITH_SERVER_COMMON_OPTIONS_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { PITH_MODEL_OPTIONS_MAX = 16, PITH_OPTION_STRINGS_MAX = 128 };

/* Who takes an option: one bit a command. */
typedef enum pith_command {
    PITH_CMD_SERVE = 1 << 0,    /* pithd */
    PITH_CMD_COMPRESS = 1 << 1, /* pith compress */
    PITH_CMD_HEALTH = 1 << 2,
    PITH_CMD_MODELS = 1 << 3,
    PITH_CMD_TOKENS = 1 << 4
} pith_command;

typedef struct pith_options {
    /* both programs */
    const char *models[PITH_MODEL_OPTIONS_MAX]; /* "[NAME=]DIR" */
    uint32_t n_models;
    const char *device;
    const char *gpu_kernels;
    const char *dtype;
    const char *isa;
    uint32_t threads;
    const char *config;
    const char *patterns;
    size_t max_text_bytes;
    uint32_t step_tokens;
    uint32_t step_ms;
    bool fold_repeats; /* pithd: of every faithful request */
    uint32_t fold_after;
    const char *log_level;
    /* pithd */
    const char *log;
    const char *listen;
    const char *health;
    const char *keys;
    const char *tls_cert;
    const char *tls_key;
    const char *tls_client_ca;
    const char *http; /* NULL: no HTTP port */
    const char *http_profile;
    const char *otlp; /* NULL: no spans */
    uint32_t max_jobs;
    size_t max_queue_bytes;
    size_t max_queue_tokens;
    uint32_t max_connections;
    uint32_t drain_ms;
    /* pith */
    const char *addr;
    double target_ratio;
    bool target_ratio_set;
    uint32_t max_tokens; /* 0: unset */
    double threshold;
    bool threshold_set;
    const char *profile;
    const char *domain;
    const char *question;
    bool explain;
    const char *color;
    bool json;
    bool lossy_utf8;
    const char *tokenizer;
    bool words;
    bool parity;
    /* what is left of the command line */
    const char *operands[2];
    uint32_t n_operands;
    bool help;
    bool help_page; /* --help=markdown */
    bool version;
    /* private */
    char *strings[PITH_OPTION_STRINGS_MAX];
    uint32_t n_strings;
} pith_options;

/* Reads the command line (argv[0] is not looked at), the environment and the file. Errors are
 * PITH_INVALID with one line that names the flag, variable or key. */
PITH_MUST_USE pith_status pith_options_read(pith_options *options, pith_command command, int argc,
                                            char **argv, pith_err *err);
void pith_options_free(pith_options *options);

/* The flags of a command, one a line, with defaults. */
void pith_options_help(pith_command command, FILE *out);

/* docs/options.md: the options of both programs as a table, flag, variable and key beside each
 * other.
 */
void pith_options_page(FILE *out);

/* Every option of a command and its value in force, as "key=value" words in one line. */
void pith_options_describe(const pith_options *options, pith_command command, char *line,
                           size_t size);

#endif
