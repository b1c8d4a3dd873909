/* Any bytes as a text, over two small vocabularies made here: every byte is covered by ascending
 * spans, the tokens' bytes are the text, windows of any size merge alike. */
#include "runtime/base/utf8.h"
#include "runtime/text/tokenizer.h"
#include "runtime/text/tokenizer_impl.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Merges in the byte-level spelling; "G" below stands for U+0120, a space. */
static const char *const MERGES[][2] = {
    {"a", "a"},   {"aa", "aa"},     {"b", "a"},   {"a", "b"},  {"aaaa", "aaaa"}, {"ab", "ab"},
    {"G", "G"},   {"GG", "GG"},     {"t", "h"},   {"th", "e"}, {"G", "the"},     {"aa", "b"},
    {"=", "="},   {"==", "="},      {"==", "=="}, {"b", "b"},  {"bb", "aa"},     {"ba", "ba"},
    {"ab", "aa"}, {"baba", "abab"}, {"i", "n"},   {"in", "G"}, {"e", "r"},       {"aab", "aa"}};

enum { JSON_BYTES = 32 * 1024 };

typedef struct writer {
    char text[JSON_BYTES];
    size_t len;
} writer;

static void put(writer *w, const char *text) {
    for (; *text != '\0' && w->len + 2 < JSON_BYTES; text++) {
        if (*text == 'G') {
            w->text[w->len++] = '\xC4';
            w->text[w->len++] = '\xA0';
        } else {
            w->text[w->len++] = *text;
        }
    }
}

static void put_vocab(writer *w) {
    char item[64];
    unsigned id = 0;
    put(w, "\"vocab\":{");
    for (uint32_t code = 0; code < 0x144; code++) {
        if (pith_bytelevel_byte(code) >= 0) {
            (void)snprintf(item, sizeof item, "%s\"\\u%04x\":%u", id == 0 ? "" : ",", code, id);
            put(w, item);
            id++;
        }
    }
    for (size_t i = 0; i < sizeof MERGES / sizeof MERGES[0]; i++) {
        (void)snprintf(item, sizeof item, ",\"%s%s\":%u", MERGES[i][0], MERGES[i][1], id++);
        put(w, item);
    }
    put(w, "},\"merges\":[");
    for (size_t i = 0; i < sizeof MERGES / sizeof MERGES[0]; i++) {
        (void)snprintf(item, sizeof item, "%s[\"%s\",\"%s\"]", i == 0 ? "" : ",", MERGES[i][0],
                       MERGES[i][1]);
        put(w, item);
    }
    put(w, "]");
}

static const char GPT2[] = "\"normalizer\":{\"type\":\"NFC\"},\"pre_tokenizer\":{\"type\":"
                           "\"ByteLevel\",\"add_prefix_space\":false,\"use_regex\":true}";
static const char QWEN2[] =
    "\"pre_tokenizer\":{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":"
    "{\"Regex\":\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}|"
    " ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
    "\"behavior\":\"Isolated\",\"invert\":false},{\"type\":\"ByteLevel\","
    "\"add_prefix_space\":false,\"use_regex\":false}]}";
static const char ADDED[] =
    "\"added_tokens\":[{\"id\":400,\"content\":\"[M]\",\"lstrip\":true,\"rstrip\":true,"
    "\"normalized\":false,\"special\":true},{\"id\":401,\"content\":\"  "
    "\"},{\"id\":402,\"content\":"
    "\"no\",\"single_word\":true,\"normalized\":false},{\"id\":403,\"content\":\"[M\"}]";

static pith_tokenizer *make(const char *pre_tokenizer) {
    static writer w;
    pith_tokenizer *tokenizer;
    pith_err err;
    w.len = 0;
    put(&w, "{\"model\":{\"type\":\"BPE\",");
    put(&w, "\"ignore_merges\":false,");
    put_vocab(&w);
    put(&w, "},");
    put(&w, ADDED);
    put(&w, ",");
    put(&w, pre_tokenizer);
    put(&w, "}");
    if (pith_tokenizer_open_memory(&tokenizer, "fuzz", w.text, w.len, &err) != PITH_OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        abort();
    }
    return tokenizer;
}

/* Spans ascend and leave nothing out. In parity mode two added tokens may share white space. */
static void check_spans(const pith_token_list *list, size_t len, int strict) {
    uint32_t start = 0;
    uint32_t reached = 0;
    for (size_t i = 0; i < list->len; i++) {
        pith_token token = list->items[i];
        if (token.start > reached || token.end <= token.start || token.end > len ||
            (strict && (token.start < start || token.end < reached))) {
            __builtin_trap();
        }
        start = token.start;
        reached = token.end > reached ? token.end : reached;
    }
    if (reached != len) {
        __builtin_trap();
    }
}

static void check_bytes(const pith_tokenizer *tokenizer, const pith_token_list *list,
                        const char *text, size_t len) {
    uint32_t *ids = malloc((list->len + 1) * sizeof *ids);
    char *out = NULL;
    size_t n = 0;
    for (size_t i = 0; i < list->len && ids != NULL; i++) {
        ids[i] = list->items[i].id;
    }
    if (ids == NULL ||
        pith_tokenizer_decode(tokenizer, ids, list->len, false, &out, &n, NULL) != PITH_OK ||
        n != len || (len > 0 && memcmp(out, text, len) != 0)) {
        __builtin_trap();
    }
    free(ids);
    free(out);
}

static void check_windows(const pith_tokenizer *tokenizer, const char *text, size_t len) {
    pith_bpe_work whole = {0};
    pith_bpe_work cut = {.window_bytes = 8};
    if (len == 0 || pith_bpe_encode_long(&tokenizer->bpe, text, len, &whole) != PITH_OK ||
        pith_bpe_encode_long(&tokenizer->bpe, text, len, &cut) != PITH_OK) {
        return;
    }
    if (whole.n_ids != cut.n_ids ||
        memcmp(whole.ids, cut.ids, whole.n_ids * sizeof *whole.ids) != 0) {
        __builtin_trap();
    }
    if (len <= PITH_BPE_SHORT_BYTES) {
        uint32_t ids[PITH_BPE_SHORT_BYTES];
        if (pith_bpe_encode_short(&tokenizer->bpe, text, len, ids) != whole.n_ids ||
            memcmp(whole.ids, ids, whole.n_ids * sizeof *ids) != 0) {
            __builtin_trap();
        }
    }
    pith_bpe_work_free(&whole);
    pith_bpe_work_free(&cut);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static pith_tokenizer *tokenizers[2];
    static pith_token_list list;
    const char *text = (const char *)data;
    if (tokenizers[0] == NULL) {
        tokenizers[0] = make(GPT2);
        tokenizers[1] = make(QWEN2);
    }
    for (int t = 0; t < 2; t++) {
        for (int added = PITH_ADDED_PLAIN; added <= PITH_ADDED_PARITY; added++) {
            pith_token_list_reset(&list);
            pith_status status = pith_tokenizer_encode(tokenizers[t], (pith_added_tokens)added,
                                                       text, size, &list, NULL);
            if ((status == PITH_OK) != (pith_utf8_valid(text, size) == size)) {
                __builtin_trap();
            }
            if (status != PITH_OK) {
                return 0;
            }
            check_spans(&list, size, added == PITH_ADDED_PLAIN);
            if (t == 1 && added == PITH_ADDED_PLAIN) {
                check_bytes(tokenizers[t], &list, text, size);
            }
        }
    }
    check_windows(tokenizers[0], text, size);
    return 0;
}
