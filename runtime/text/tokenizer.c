#include "runtime/text/tokenizer.h"

#include "runtime/base/file.h"
#include "runtime/base/utf8.h"
#include "runtime/text/tokenizer_impl.h"
#include "runtime/text/tokenizer_json.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Tells the caches of the token lists which tokenizer their entries are from. */
static uint32_t next_serial(void) {
    static atomic_uint serial;
    uint32_t value = atomic_fetch_add(&serial, 1) + 1;
    return value != 0 ? value : atomic_fetch_add(&serial, 1) + 1;
}

int pith_bytelevel_byte(uint32_t code) {
    if ((code >= 0x21 && code <= 0x7E) || (code >= 0xA1 && code <= 0xAC) ||
        (code >= 0xAE && code <= 0xFF)) {
        return (int)code;
    }
    if (code < 0x100 || code >= 0x100 + 68) {
        return -1;
    }
    uint32_t rank = code - 0x100; /* 0x00-0x20, 0x7F-0xA0, 0xAD */
    return (int)(rank <= 0x20 ? rank : rank <= 0x42 ? rank - 0x21 + 0x7F : 0xAD);
}

pith_status pith_tokenizer_open_memory(pith_tokenizer **tokenizer, const char *name,
                                       const char *json, size_t len, pith_err *err) {
    *tokenizer = NULL;
    if (len > PITH_TOKENIZER_FILE_BYTES_MAX) {
        return pith_fail(err, PITH_INVALID, "%s: %zu bytes, expected at most %d", name, len,
                         PITH_TOKENIZER_FILE_BYTES_MAX);
    }
    pith_tokenizer *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for a tokenizer", name);
    }
    made->serial = next_serial();
    pith_status status = pith_tokenizer_json_read(made, name, json, len, err);
    if (status != PITH_OK) {
        pith_tokenizer_close(made);
        return status;
    }
    *tokenizer = made;
    return PITH_OK;
}

pith_status pith_tokenizer_open(pith_tokenizer **tokenizer, const char *path, pith_err *err) {
    pith_file file;
    *tokenizer = NULL;
    pith_status status = pith_file_read(&file, path, PITH_TOKENIZER_FILE_BYTES_MAX, err);
    if (status != PITH_OK) {
        return status;
    }
    status = pith_tokenizer_open_memory(tokenizer, path, file.data, file.len, err);
    pith_file_close(&file);
    return status;
}

void pith_tokenizer_close(pith_tokenizer *tokenizer) {
    if (tokenizer == NULL) {
        return;
    }
    pith_bpe_free(&tokenizer->bpe);
    pith_added_free(&tokenizer->added);
    free(tokenizer->added_by_id);
    free(tokenizer);
}

pith_pretok_kind pith_tokenizer_pretok(const pith_tokenizer *tokenizer) {
    return tokenizer->pretok;
}

uint32_t pith_tokenizer_vocab_size(const pith_tokenizer *tokenizer) {
    return tokenizer->vocab_size;
}

uint32_t pith_tokenizer_find(const pith_tokenizer *tokenizer, const char *content) {
    size_t len = strlen(content);
    const pith_added_token *added = pith_added_find(&tokenizer->added, content, len);
    if (added != NULL) {
        return added->id;
    }
    char bytes[PITH_BPE_TOKEN_BYTES_MAX];
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        uint32_t code;
        at += pith_utf8_decode(content, len, at, &code);
        int byte = pith_bytelevel_byte(code);
        if (byte < 0 || n == sizeof bytes) {
            return PITH_TOKEN_NONE;
        }
        bytes[n++] = (char)byte;
    }
    return pith_bpe_find(&tokenizer->bpe, bytes, n);
}

/* Bytes of a token and how many; false for an id without one. Specials are empty when skipped. */
static bool token_text(const pith_tokenizer *t, uint32_t id, bool skip_special, const char **bytes,
                       size_t *len) {
    if (id >= t->vocab_size) {
        return false;
    }
    if (t->added_by_id[id] != PITH_TOKEN_NONE) {
        const pith_added_token *added = &t->added.tokens[t->added_by_id[id]];
        *bytes = added->content;
        *len = added->special && skip_special ? 0 : added->len;
        return true;
    }
    if (id >= t->bpe.n_ids || pith_bpe_token_bytes(&t->bpe, id) == 0) {
        return false;
    }
    *bytes = t->bpe.bytes + t->bpe.offsets[id];
    *len = pith_bpe_token_bytes(&t->bpe, id);
    return true;
}

pith_status pith_tokenizer_decode(const pith_tokenizer *tokenizer, const uint32_t *ids,
                                  size_t n_ids, bool skip_special, char **text, size_t *len,
                                  pith_err *err) {
    size_t total = 0;
    const char *bytes;
    size_t n;
    *text = NULL;
    *len = 0;
    for (size_t i = 0; i < n_ids; i++) {
        if (!token_text(tokenizer, ids[i], skip_special, &bytes, &n)) {
            return pith_fail(err, PITH_INVALID, "id %u at index %zu is not in the vocabulary of %u",
                             ids[i], i, tokenizer->vocab_size);
        }
        if (n > SIZE_MAX / 2 - total) {
            return pith_fail(err, PITH_NO_MEMORY, "the text of %zu ids is too long", n_ids);
        }
        total += n;
    }
    char *out = malloc(total + 1);
    if (out == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for a text of %zu bytes", total);
    }
    size_t at = 0;
    for (size_t i = 0; i < n_ids; i++) {
        if (token_text(tokenizer, ids[i], skip_special, &bytes, &n) && n > 0) {
            memcpy(out + at, bytes, n);
            at += n;
        }
    }
    out[at] = '\0';
    *text = out;
    *len = at;
    return PITH_OK;
}
