/* pith: the command line. One word chooses the command; see pith --help. */
#include "server/cli/cli.h"
#include "server/common/engine_options.h"

#include <signal.h>
#include <string.h>

typedef struct command_row {
    const char *name;
    pith_command command;
    int (*run)(const pith_options *options);
    bool wants_file;
    const char *help;
} command_row;

static const command_row commands[] = {
    {"compress", PITH_CMD_COMPRESS, pith_cli_compress, true,
     "FILE|-   keep the part of a text that matters"},
    {"health", PITH_CMD_HEALTH, pith_cli_health, false, "         ask a server whether it serves"},
    {"models", PITH_CMD_MODELS, pith_cli_models, false, "         list the models that load"},
    {"tokens", PITH_CMD_TOKENS, pith_cli_tokens, true, "FILE|-   print the token ids of a text"},
};

enum { N_COMMANDS = sizeof commands / sizeof *commands };

static int usage(FILE *out, int code) {
    (void)fputs("pith: context compression\n\nusage: pith COMMAND [flags]\n\n", out);
    for (size_t i = 0; i < N_COMMANDS; i++) {
        (void)fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].help);
    }
    (void)fputs(
        "\npith COMMAND --help lists its flags. Exit codes: 0 done, 1 failed, 2 bad usage or "
        "input, 3 no server or server busy.\n",
        out);
    return code;
}

static pith_status check_operands(const command_row *row, const pith_options *options,
                                  pith_err *err) {
    uint32_t wanted = row->wants_file ? 1 : 0;
    if (options->n_operands < wanted) {
        return pith_fail(err, PITH_INVALID, "%s wants a FILE, or - for standard input", row->name);
    }
    if (options->n_operands > wanted) {
        return pith_fail(err, PITH_INVALID, "unexpected argument \"%.128s\"",
                         options->operands[wanted]);
    }
    return PITH_OK;
}

static int run(const command_row *row, int argc, char **argv) {
    pith_options options;
    pith_err err;
    pith_status status = pith_options_read(&options, row->command, argc, argv, &err);
    if (status == PITH_OK) {
        status = pith_apply_log(&options, &err);
    }
    int code;
    if (status == PITH_OK && options.help) {
        (void)printf("usage: pith %s [flags] %s\n\n", row->name, row->wants_file ? "FILE|-" : "");
        pith_options_help(row->command, stdout);
        code = PITH_EXIT_OK;
    } else if (status == PITH_OK && options.version) {
        (void)puts("pith " PITH_VERSION);
        code = PITH_EXIT_OK;
    } else if (status == PITH_OK && check_operands(row, &options, &err) == PITH_OK) {
        code = row->run(&options);
    } else {
        code = pith_cli_fail(&err);
    }
    pith_options_free(&options);
    return code;
}

int main(int argc, char **argv) {
    (void)signal(SIGPIPE, SIG_IGN);
    if (argc < 2) {
        return usage(stderr, PITH_EXIT_USAGE);
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        return usage(stdout, PITH_EXIT_OK);
    }
    if (strcmp(argv[1], "--version") == 0) {
        (void)puts("pith " PITH_VERSION);
        return PITH_EXIT_OK;
    }
    for (size_t i = 0; i < N_COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) {
            return run(&commands[i], argc - 1, argv + 1);
        }
    }
    (void)fprintf(stderr, "pith: unknown command \"%.64s\"\n\n", argv[1]);
    return usage(stderr, PITH_EXIT_USAGE);
}
