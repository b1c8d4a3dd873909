/* Any bytes as a tokenizer.json: refused with one line, or a tokenizer that encodes and decodes. */
#include "runtime/text/tokenizer.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use(const pith_tokenizer *tokenizer, pith_added_tokens added) {
    static const char text[] = "The  [CLS] <|im_start|> e\xCC\x81 \xF0\x9F\x98\x80\r\n it's 42";
    pith_token_list list = {0};
    uint32_t ids[sizeof text * 4];
    if (pith_tokenizer_encode(tokenizer, added, text, sizeof text - 1, &list, NULL) == PITH_OK) {
        size_t n = list.len < sizeof ids / sizeof ids[0] ? list.len : sizeof ids / sizeof ids[0];
        for (size_t i = 0; i < n; i++) {
            ids[i] = list.items[i].id;
        }
        char *out;
        size_t len;
        if (pith_tokenizer_decode(tokenizer, ids, n, true, &out, &len, NULL) == PITH_OK) {
            free(out);
        }
    }
    pith_token_list_free(&list);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_tokenizer *tokenizer;
    pith_err err = {0};
    if (pith_tokenizer_open_memory(&tokenizer, "fuzz", (const char *)data, size, &err) != PITH_OK) {
        if (err.text[0] == '\0' || strchr(err.text, '\n') != NULL || tokenizer != NULL) {
            __builtin_trap();
        }
        return 0;
    }
    use(tokenizer, PITH_ADDED_PLAIN);
    use(tokenizer, PITH_ADDED_PARITY);
    (void)pith_tokenizer_find(tokenizer, "[CLS]");
    pith_tokenizer_close(tokenizer);
    return 0;
}
