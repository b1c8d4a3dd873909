/* pith tokens: the ids of a text, no specials. */
#include "runtime/base/file.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/words.h"
#include "server/cli/cli.h"
#include "server/common/engine_options.h"

#include <limits.h>

enum { TEXT_BYTES_MAX = 1024 * 1024 * 1024 };

static void print_ids(const pith_token_list *list) {
    for (size_t i = 0; i < list->len; i++) {
        (void)printf("%s%u", i == 0 ? "" : " ", list->items[i].id);
    }
    (void)putchar('\n');
}

/* Each white-space word encoded alone, without a prefix space. */
static pith_status print_words(const pith_tokenizer *tokenizer, pith_added_tokens added,
                               const pith_file *file, pith_token_list *list, pith_err *err) {
    pith_word_walk walk = {.text = file->data, .len = file->len};
    while (pith_word_next(&walk)) {
        pith_token_list_reset(list);
        pith_status status = pith_tokenizer_encode(tokenizer, added, file->data + walk.start,
                                                   walk.end - walk.start, list, err);
        if (status != PITH_OK) {
            return status;
        }
        print_ids(list);
    }
    return PITH_OK;
}

static pith_status print_tokens(const pith_options *options, const pith_tokenizer *tokenizer,
                                const pith_file *file, pith_err *err) {
    pith_token_list list = {0};
    pith_added_tokens added = options->parity ? PITH_ADDED_PARITY : PITH_ADDED_PLAIN;
    pith_status status;
    if (options->words) {
        status = print_words(tokenizer, added, file, &list, err);
    } else {
        status = pith_tokenizer_encode(tokenizer, added, file->data, file->len, &list, err);
        if (status == PITH_OK) {
            print_ids(&list);
        }
    }
    pith_token_list_free(&list);
    return status;
}

static pith_status tokenizer_path(const pith_options *options, char *path, size_t size,
                                  pith_err *err) {
    if (options->tokenizer != NULL) {
        (void)snprintf(path, size, "%s", options->tokenizer);
        return PITH_OK;
    }
    char dir[PATH_MAX];
    pith_status status = pith_shipped_model(dir, sizeof dir, err);
    (void)snprintf(path, size, "%s/tokenizer.json", dir);
    return status;
}

int pith_cli_tokens(const pith_options *options) {
    pith_err err;
    char path[PATH_MAX + 32];
    pith_file file = {0};
    pith_tokenizer *tokenizer = NULL;
    pith_status status = tokenizer_path(options, path, sizeof path, &err);
    if (status == PITH_OK) {
        status = pith_tokenizer_open(&tokenizer, path, &err);
    }
    if (status == PITH_OK) {
        status = pith_file_read(&file, options->operands[0], TEXT_BYTES_MAX, &err);
    }
    if (status == PITH_OK) {
        status = print_tokens(options, tokenizer, &file, &err);
    }
    pith_file_close(&file);
    pith_tokenizer_close(tokenizer);
    return status == PITH_OK ? PITH_EXIT_OK : pith_cli_fail(&err);
}
