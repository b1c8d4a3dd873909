/* pith compress: text on stdout, figures on stderr. */
#include "runtime/base/file.h"
#include "runtime/base/utf8.h"
#include "runtime/text/route.h"
#include "server/cli/cli.h"
#include "server/cli/local.h"
#include "server/cli/show.h"
#include "server/grpc/client.h"
#include "server/grpc/response_json.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A server behind a queue may take its time; a lost one must not hang a script for ever. */
#define REMOTE_TIMEOUT_NS (INT64_C(600) * 1000000000)

typedef struct input {
    pith_file file;
    char *replaced; /* with --lossy-utf8, when there was anything to replace */
    const char *text;
    size_t len;
} input;

static void input_free(input *in) {
    pith_file_close(&in->file);
    free(in->replaced);
}

/* Every byte that is not part of valid UTF-8 becomes U+FFFD, three bytes. */
static pith_status replace_invalid(input *in, pith_err *err) {
    in->replaced = malloc(3 * in->len + 1);
    if (in->replaced == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for %zu bytes", 3 * in->len);
    }
    size_t out = 0;
    size_t at = 0;
    while (at < in->len) {
        size_t valid = pith_utf8_valid(in->text + at, in->len - at);
        memcpy(in->replaced + out, in->text + at, valid);
        out += valid;
        at += valid;
        if (at < in->len) {
            memcpy(in->replaced + out, "\xEF\xBF\xBD", 3);
            out += 3;
            at++;
        }
    }
    in->text = in->replaced;
    in->len = out;
    return PITH_OK;
}

static pith_status input_read(input *in, const pith_options *options, pith_err *err) {
    const char *path = options->operands[0];
    pith_status status = pith_file_read(&in->file, path, options->max_text_bytes, err);
    if (status != PITH_OK) {
        return status;
    }
    in->text = in->file.data;
    in->len = in->file.len;
    size_t valid = pith_utf8_valid(in->text, in->len);
    if (valid == in->len) {
        return PITH_OK;
    }
    if (!options->lossy_utf8) {
        return pith_fail(err, PITH_INVALID,
                         "%s: invalid UTF-8 at byte offset %zu (see --lossy-utf8)", path, valid);
    }
    return replace_invalid(in, err);
}

static pith_status set_names(Pith__V1__CompressRequest *request, const pith_options *options,
                             pith_err *err) {
    pith_domain domain = pith_domain_find(options->domain);
    if (domain == PITH_DOMAIN_COUNT) {
        return pith_fail(err, PITH_INVALID, "--domain: unknown kind of text \"%.64s\"",
                         options->domain);
    }
    request->domain = (Pith__V1__Domain)domain; /* the same numbers */
    if (strcmp(options->profile, "kompress") == 0) {
        request->profile = PITH__V1__PROFILE__PROFILE_KOMPRESS;
    } else if (strcmp(options->profile, "faithful") == 0) {
        request->profile = PITH__V1__PROFILE__PROFILE_FAITHFUL;
    } else {
        return pith_fail(err, PITH_INVALID, "--profile: \"%.64s\" is not faithful|kompress",
                         options->profile);
    }
    return PITH_OK;
}

static pith_status check_colour(const pith_options *options, pith_err *err) {
    const char *color = options->color;
    bool known =
        strcmp(color, "auto") == 0 || strcmp(color, "always") == 0 || strcmp(color, "never") == 0;
    return known
               ? PITH_OK
               : pith_fail(err, PITH_INVALID, "--color: \"%.64s\" is not auto|always|never", color);
}

static pith_status set_budget(Pith__V1__CompressRequest *request, const pith_options *options,
                              pith_err *err) {
    int given = options->target_ratio_set + options->threshold_set + (options->max_tokens > 0);
    if (given > 1) {
        return pith_fail(err, PITH_INVALID,
                         "--target-ratio, --max-tokens and --threshold exclude each other");
    }
    if (options->target_ratio_set) {
        request->budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_TARGET_RATIO;
        request->target_ratio = options->target_ratio;
    } else if (options->threshold_set) {
        request->budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_THRESHOLD;
        request->threshold = options->threshold;
    } else if (options->max_tokens > 0) {
        request->budget_case = PITH__V1__COMPRESS_REQUEST__BUDGET_MAX_TOKENS;
        request->max_tokens = options->max_tokens;
    }
    return PITH_OK;
}

static ProtobufCBinaryData borrow(const char *text, size_t len) {
    return (ProtobufCBinaryData){.data = (uint8_t *)(uintptr_t)text, .len = len};
}

static pith_status ask(const pith_options *options, const input *in,
                       Pith__V1__CompressResponse **response, pith_err *err) {
    Pith__V1__CompressRequest request = PITH__V1__COMPRESS_REQUEST__INIT;
    request.text = borrow(in->text, in->len);
    request.explain = options->explain;
    request.fold_repeats = options->fold_repeats;
    if (options->question != NULL) {
        request.question = borrow(options->question, strlen(options->question));
    }
    pith_status status = set_names(&request, options, err);
    if (status == PITH_OK) {
        status = set_budget(&request, options, err);
    }
    if (status != PITH_OK) {
        return status;
    }
    return options->addr != NULL
               ? pith_client_compress(options->addr, &request, REMOTE_TIMEOUT_NS, response, err)
               : pith_local_compress(options, &request, response, err);
}

static bool wants_colour(const pith_options *options) {
    return strcmp(options->color, "always") == 0 ||
           (strcmp(options->color, "auto") == 0 && isatty(STDERR_FILENO) &&
            getenv("NO_COLOR") == NULL);
}

static pith_status print_response(const pith_options *options, const input *in,
                                  const Pith__V1__CompressResponse *response, pith_err *err) {
    if (options->json) {
        pith_status status = pith_response_print_json(response, stdout, err);
        if (status != PITH_OK) {
            return status;
        }
    } else {
        if (options->explain) {
            pith_show_explained(stderr, in->text, in->len, response, wants_colour(options));
        }
        (void)fwrite(response->text.data, 1, response->text.len, stdout);
    }
    if (fflush(stdout) != 0) {
        return pith_fail(err, PITH_IO, "cannot write to standard output");
    }
    pith_show_figures(stderr, response);
    return PITH_OK;
}

int pith_cli_compress(const pith_options *options) {
    pith_err err = {0};
    input in = {0};
    Pith__V1__CompressResponse *response = NULL;
    pith_status status = check_colour(options, &err);
    if (status == PITH_OK) {
        status = input_read(&in, options, &err);
    }
    if (status == PITH_OK) {
        status = ask(options, &in, &response, &err);
    }
    if (status == PITH_OK) {
        status = print_response(options, &in, response, &err);
    }
    pith__v1__compress_response__free_unpacked(response, NULL);
    input_free(&in);
    return status == PITH_OK ? PITH_EXIT_OK : pith_cli_fail(&err);
}
