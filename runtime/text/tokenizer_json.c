#include "runtime/text/tokenizer_json.h"

#include "runtime/base/utf8.h"
#include "runtime/text/tokenizer_impl.h"
#include "runtime/text/unicode.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const char QWEN2_PATTERN[] = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
                                    "\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                                    "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

enum { SHOWN_BYTES = 48 }; /* of a string of the file, in a message */

/* A string of the file made fit for a one-line message. */
typedef struct shown {
    char text[SHOWN_BYTES + 4];
} shown;

static shown show_part(const char *text, size_t len) {
    shown out;
    size_t n = 0;
    for (; n < len && n < SHOWN_BYTES; n++) {
        unsigned char c = (unsigned char)text[n];
        out.text[n] = (char)(c < 0x20 || c == 0x7F ? '?' : c);
    }
    if (n < len) {
        while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) {
            n--; /* not within a character */
        }
        out.text[n++] = '.';
        out.text[n++] = '.';
    }
    out.text[n] = '\0';
    return out;
}

static shown show(const char *text) {
    return show_part(text, strlen(text));
}

typedef struct reader {
    pith_tokenizer *tokenizer;
    const char *name;
    pith_err *err;
} reader;

#define REFUSE(r, status, fmt, ...) pith_fail((r)->err, status, "%s: " fmt, (r)->name, __VA_ARGS__)

static const char *type_name(const json_t *value) {
    static const char *const names[] = {"an object", "an array", "a string", "an integer",
                                        "a number",  "true",     "false",    "null"};
    return value == NULL ? "nothing" : names[json_typeof(value)];
}

/* An optional boolean; `absent` when it is missing. */
static pith_status read_flag(const reader *r, const json_t *object, const char *key, bool absent,
                             bool *flag) {
    const json_t *value = json_object_get(object, key);
    if (value == NULL || json_is_null(value)) {
        *flag = absent;
        return PITH_OK;
    }
    if (!json_is_boolean(value)) {
        return REFUSE(r, PITH_CORRUPT, "\"%s\" is %s, expected true or false", key,
                      type_name(value));
    }
    *flag = json_is_true(value);
    return PITH_OK;
}

/* The "type" of a part of the file, "" when it has none. */
static const char *part_type(const json_t *part) {
    const char *type = json_string_value(json_object_get(part, "type"));
    return type == NULL ? "" : type;
}

static pith_status read_normalizer(const reader *r, const json_t *part) {
    if (part == NULL || json_is_null(part)) {
        r->tokenizer->nfc = false;
        return PITH_OK;
    }
    if (strcmp(part_type(part), "NFC") != 0) {
        return REFUSE(r, PITH_UNSUPPORTED, "normalizer \"%s\", expected NFC or none",
                      show(part_type(part)).text);
    }
    r->tokenizer->nfc = true;
    return PITH_OK;
}

/* A ByteLevel pre-tokenizer that adds no space, with or without its own pattern. */
static pith_status check_byte_level(const reader *r, const json_t *part, bool pattern) {
    bool prefix_space;
    bool use_regex;
    if (strcmp(part_type(part), "ByteLevel") != 0) {
        return REFUSE(r, PITH_UNSUPPORTED, "pre-tokenizer \"%s\", expected ByteLevel",
                      show(part_type(part)).text);
    }
    pith_status status = read_flag(r, part, "add_prefix_space", true, &prefix_space);
    if (status == PITH_OK) {
        status = read_flag(r, part, "use_regex", true, &use_regex);
    }
    if (status != PITH_OK) {
        return status;
    }
    if (prefix_space) {
        return REFUSE(r, PITH_UNSUPPORTED, "ByteLevel add_prefix_space %s, expected false", "true");
    }
    if (use_regex != pattern) {
        return REFUSE(r, PITH_UNSUPPORTED, "ByteLevel use_regex %s, expected %s",
                      use_regex ? "true" : "false", pattern ? "true" : "false");
    }
    return PITH_OK;
}

static pith_status check_split(const reader *r, const json_t *part) {
    bool invert;
    const char *behavior = json_string_value(json_object_get(part, "behavior"));
    const char *pattern =
        json_string_value(json_object_get(json_object_get(part, "pattern"), "Regex"));
    if (strcmp(part_type(part), "Split") != 0) {
        return REFUSE(r, PITH_UNSUPPORTED, "pre-tokenizer \"%s\", expected Split",
                      show(part_type(part)).text);
    }
    if (pattern == NULL || strcmp(pattern, QWEN2_PATTERN) != 0) {
        return REFUSE(r, PITH_UNSUPPORTED, "Split pattern \"%s\", expected Qwen2's",
                      show(pattern == NULL ? "" : pattern).text);
    }
    if (behavior == NULL || strcmp(behavior, "Isolated") != 0) {
        return REFUSE(r, PITH_UNSUPPORTED, "Split behavior \"%s\", expected Isolated",
                      show(behavior == NULL ? "" : behavior).text);
    }
    pith_status status = read_flag(r, part, "invert", false, &invert);
    if (status == PITH_OK && invert) {
        return REFUSE(r, PITH_UNSUPPORTED, "Split invert %s, expected false", "true");
    }
    return status;
}

static pith_status read_pretokenizer(const reader *r, const json_t *part) {
    if (strcmp(part_type(part), "Sequence") != 0) {
        r->tokenizer->pretok = PITH_PRETOK_GPT2;
        return check_byte_level(r, part, true);
    }
    const json_t *parts = json_object_get(part, "pretokenizers");
    if (json_array_size(parts) != 2) {
        return REFUSE(r, PITH_UNSUPPORTED, "a Sequence of %zu pre-tokenizers, expected 2",
                      json_array_size(parts));
    }
    r->tokenizer->pretok = PITH_PRETOK_QWEN2;
    pith_status status = check_split(r, json_array_get(parts, 0));
    return status != PITH_OK ? status : check_byte_level(r, json_array_get(parts, 1), false);
}

/* Absent, null or "" is what byte-level BPE wants. */
static bool is_blank(const json_t *value) {
    return value == NULL || json_is_null(value) ||
           (json_is_string(value) && json_string_length(value) == 0);
}

static pith_status check_model(const reader *r, const json_t *model) {
    if (strcmp(part_type(model), "BPE") != 0) {
        return REFUSE(r, PITH_UNSUPPORTED, "model \"%s\", expected BPE",
                      show(part_type(model)).text);
    }
    static const char *const affixes[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (size_t i = 0; i < 2; i++) {
        if (!is_blank(json_object_get(model, affixes[i]))) {
            return REFUSE(r, PITH_UNSUPPORTED, "model has a %s, expected none", affixes[i]);
        }
    }
    const json_t *dropout = json_object_get(model, "dropout");
    if (dropout != NULL && !json_is_null(dropout) && !(json_number_value(dropout) == 0.0)) {
        return REFUSE(r, PITH_UNSUPPORTED, "model has dropout %g, expected none",
                      json_number_value(dropout));
    }
    bool byte_fallback;
    pith_status status = read_flag(r, model, "byte_fallback", false, &byte_fallback);
    if (status == PITH_OK && byte_fallback) {
        return REFUSE(r, PITH_UNSUPPORTED, "model has byte_fallback %s, expected false", "true");
    }
    if (status != PITH_OK) {
        return status;
    }
    return read_flag(r, model, "ignore_merges", false, &r->tokenizer->bpe.ignore_merges);
}

/* Bytes that a token of the vocabulary stands for, into bytes[PITH_BPE_TOKEN_BYTES_MAX]. False
 * when it is longer or has a character outside the byte-level table. */
static bool token_bytes(const char *token, size_t len, char *bytes, size_t *n_bytes) {
    size_t n = 0;
    for (size_t at = 0; at < len;) {
        uint32_t code;
        at += pith_utf8_decode(token, len, at, &code);
        int byte = pith_bytelevel_byte(code);
        if (byte < 0 || n == PITH_BPE_TOKEN_BYTES_MAX) {
            return false;
        }
        bytes[n++] = (char)byte;
    }
    *n_bytes = n;
    return true;
}

/* First pass over the vocabulary: checks each entry; tokens by id and the largest id. */
static pith_status list_vocab(const reader *r, json_t *vocab, const char **tokens,
                              uint32_t *n_ids) {
    const char *token;
    json_t *value;
    json_object_foreach(vocab, token, value) {
        json_int_t id = json_integer_value(value);
        if (!json_is_integer(value) || id < 0 || id >= PITH_VOCAB_MAX) {
            return REFUSE(r, PITH_CORRUPT, "id of token \"%s\" is %s %lld, expected 0 to %d",
                          show(token).text, type_name(value), (long long)id, PITH_VOCAB_MAX - 1);
        }
        if (tokens[id] != NULL) {
            return REFUSE(r, PITH_CORRUPT, "tokens \"%s\" and \"%s\" share the id %lld",
                          show(tokens[id]).text, show(token).text, (long long)id);
        }
        if (token[0] == '\0') {
            return REFUSE(r, PITH_CORRUPT, "token %lld is empty", (long long)id);
        }
        tokens[id] = token;
        *n_ids = (uint32_t)id >= *n_ids ? (uint32_t)id + 1 : *n_ids;
    }
    return PITH_OK;
}

/* Bytes that can stand in valid UTF-8 (RFC 3629): each needs a token. */
static bool is_utf8_byte(unsigned byte) {
    return byte != 0xC0 && byte != 0xC1 && byte < 0xF5;
}

/* Second pass: the bytes of all tokens in order of id. */
static pith_status store_tokens(const reader *r, const char **tokens, uint32_t n_ids) {
    pith_bpe *bpe = &r->tokenizer->bpe;
    size_t total = 0;
    for (uint32_t id = 0; id < n_ids; id++) {
        total += tokens[id] == NULL ? 0 : strlen(tokens[id]);
    }
    bpe->bytes = malloc(total + 1);
    bpe->offsets = malloc(((size_t)n_ids + 1) * sizeof *bpe->offsets);
    if (bpe->bytes == NULL || bpe->offsets == NULL) {
        return REFUSE(r, PITH_NO_MEMORY, "no memory for %u tokens", n_ids);
    }
    bpe->n_ids = n_ids;
    bpe->offsets[0] = 0;
    for (uint32_t id = 0; id < n_ids; id++) {
        char bytes[PITH_BPE_TOKEN_BYTES_MAX];
        size_t n = 0;
        if (tokens[id] != NULL && !token_bytes(tokens[id], strlen(tokens[id]), bytes, &n)) {
            return REFUSE(r, PITH_UNSUPPORTED, "token \"%s\" is not byte-level, or over %d bytes",
                          show(tokens[id]).text, PITH_BPE_TOKEN_BYTES_MAX);
        }
        memcpy(bpe->bytes + bpe->offsets[id], bytes, n);
        bpe->offsets[id + 1] = bpe->offsets[id] + (uint32_t)n;
    }
    pith_err why;
    pith_status status = pith_bpe_index(bpe, &why);
    if (status != PITH_OK) {
        return REFUSE(r, status, "%s", why.text);
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        if (bpe->byte_ids[byte] == PITH_TOKEN_NONE && is_utf8_byte(byte)) {
            return REFUSE(r, PITH_UNSUPPORTED, "no token for the byte 0x%02X", byte);
        }
    }
    return PITH_OK;
}

static pith_status read_vocab(const reader *r, json_t *vocab) {
    if (!json_is_object(vocab) || json_object_size(vocab) == 0) {
        return REFUSE(r, PITH_CORRUPT, "model.vocab is %s, expected an object that is not empty",
                      type_name(vocab));
    }
    const char **tokens = calloc(PITH_VOCAB_MAX, sizeof *tokens);
    if (tokens == NULL) {
        return REFUSE(r, PITH_NO_MEMORY, "no memory for %d ids", PITH_VOCAB_MAX);
    }
    uint32_t n_ids = 0;
    pith_status status = list_vocab(r, vocab, tokens, &n_ids);
    if (status == PITH_OK) {
        status = store_tokens(r, tokens, n_ids);
    }
    free(tokens);
    return status;
}

/* A half of a merge: its text within the file. */
typedef struct half {
    const char *text;
    size_t len;
} half;

/* "a b" or ["a", "b"]; false when it is neither. */
static bool merge_halves(const json_t *merge, half *left, half *right) {
    if (json_is_string(merge)) {
        const char *text = json_string_value(merge);
        const char *space = strchr(text, ' ');
        if (space == NULL || strchr(space + 1, ' ') != NULL) {
            return false;
        }
        *left = (half){text, (size_t)(space - text)};
        *right = (half){space + 1, strlen(space + 1)};
    } else {
        const json_t *first = json_array_get(merge, 0);
        const json_t *second = json_array_get(merge, 1);
        if (json_array_size(merge) != 2 || !json_is_string(first) || !json_is_string(second)) {
            return false;
        }
        *left = (half){json_string_value(first), json_string_length(first)};
        *right = (half){json_string_value(second), json_string_length(second)};
    }
    return left->len > 0 && right->len > 0;
}

static pith_status read_merge(const reader *r, size_t index, const json_t *merge) {
    pith_bpe *bpe = &r->tokenizer->bpe;
    half left;
    half right;
    char bytes[2 * PITH_BPE_TOKEN_BYTES_MAX];
    size_t n_left = 0;
    size_t n_right = 0;
    if (!merge_halves(merge, &left, &right)) {
        return REFUSE(r, PITH_CORRUPT, "merge %zu is %s, expected \"a b\" or [\"a\", \"b\"]", index,
                      json_is_string(merge) ? show(json_string_value(merge)).text
                                            : type_name(merge));
    }
    bool known = token_bytes(left.text, left.len, bytes, &n_left) &&
                 token_bytes(right.text, right.len, bytes + n_left, &n_right);
    uint32_t a = known ? pith_bpe_find(bpe, bytes, n_left) : PITH_TOKEN_NONE;
    uint32_t b = known ? pith_bpe_find(bpe, bytes + n_left, n_right) : PITH_TOKEN_NONE;
    uint32_t made = known ? pith_bpe_find(bpe, bytes, n_left + n_right) : PITH_TOKEN_NONE;
    if (a == PITH_TOKEN_NONE || b == PITH_TOKEN_NONE || made == PITH_TOKEN_NONE) {
        const half *missing = a == PITH_TOKEN_NONE ? &left : &right;
        return REFUSE(r, PITH_CORRUPT, "merge %zu: %s \"%s\" is not in the vocabulary", index,
                      a != PITH_TOKEN_NONE && b != PITH_TOKEN_NONE ? "what it makes, ending in"
                                                                   : "its half",
                      show_part(missing->text, missing->len).text);
    }
    if (!pith_bpe_add_merge(bpe, a, b, made)) {
        return REFUSE(r, PITH_CORRUPT, "merge %zu (tokens %u and %u) is there twice", index, a, b);
    }
    return PITH_OK;
}

static pith_status read_merges(const reader *r, const json_t *merges) {
    size_t n = json_array_size(merges);
    if (!json_is_array(merges) || n > PITH_BPE_MERGES_MAX) {
        return REFUSE(r, PITH_CORRUPT, "model.merges is %s of %zu, expected an array of at most %d",
                      type_name(merges), n, PITH_BPE_MERGES_MAX);
    }
    pith_status status = pith_bpe_reserve(&r->tokenizer->bpe, (uint32_t)n, r->err);
    for (size_t i = 0; i < n && status == PITH_OK; i++) {
        status = read_merge(r, i, json_array_get(merges, i));
    }
    return status;
}

/* An added token's id must be free in the vocabulary, or be that of its content there. */
static pith_status check_added_id(const reader *r, pith_added_token *token) {
    const pith_bpe *bpe = &r->tokenizer->bpe;
    char bytes[PITH_BPE_TOKEN_BYTES_MAX];
    size_t n;
    uint32_t in_vocab = token_bytes(token->content, token->len, bytes, &n)
                            ? pith_bpe_find(bpe, bytes, n)
                            : PITH_TOKEN_NONE;
    if (in_vocab != PITH_TOKEN_NONE && in_vocab != token->id) {
        return REFUSE(r, PITH_CORRUPT, "added token \"%s\" has id %u, the vocabulary says %u",
                      show(token->content).text, token->id, in_vocab);
    }
    if (in_vocab == PITH_TOKEN_NONE && token->id < bpe->n_ids &&
        pith_bpe_token_bytes(bpe, token->id) > 0) {
        return REFUSE(r, PITH_CORRUPT, "id %u of added token \"%s\" belongs to another token",
                      token->id, show(token->content).text);
    }
    token->parity_id = in_vocab;
    return PITH_OK;
}

static pith_status read_added_flags(const reader *r, const json_t *entry, pith_added_token *token) {
    const struct {
        const char *key;
        bool absent;
        bool *flag;
    } flags[] = {{"single_word", false, &token->single_word},
                 {"lstrip", false, &token->lstrip},
                 {"rstrip", false, &token->rstrip},
                 {"special", false, &token->special},
                 {"normalized", true, &token->normalized}};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        pith_status status = read_flag(r, entry, flags[i].key, flags[i].absent, flags[i].flag);
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

static pith_status read_added_token(const reader *r, size_t index, const json_t *entry,
                                    pith_added_token *token) {
    const json_t *id = json_object_get(entry, "id");
    const json_t *content = json_object_get(entry, "content");
    if (!json_is_integer(id) || json_integer_value(id) < 0 ||
        json_integer_value(id) >= PITH_VOCAB_MAX) {
        return REFUSE(r, PITH_CORRUPT, "added token %zu: id is %s, expected an integer below %d",
                      index, type_name(id), PITH_VOCAB_MAX);
    }
    size_t len = json_string_length(content);
    if (!json_is_string(content) || len == 0 || len > PITH_ADDED_CONTENT_BYTES_MAX) {
        return REFUSE(r, PITH_CORRUPT,
                      "added token %zu: content is %s of %zu bytes, expected a string of 1 to %d",
                      index, type_name(content), len, PITH_ADDED_CONTENT_BYTES_MAX);
    }
    token->content = malloc(len + 1);
    if (token->content == NULL) {
        return REFUSE(r, PITH_NO_MEMORY, "no memory for added token %zu", index);
    }
    memcpy(token->content, json_string_value(content), len + 1);
    token->len = (uint32_t)len;
    token->id = (uint32_t)json_integer_value(id);
    pith_status status = read_added_flags(r, entry, token);
    return status != PITH_OK ? status : check_added_id(r, token);
}

/* Numbers the tokens that the vocabulary lacks, in the file's order. */
static void number_as_peer(pith_added_token *tokens, size_t n, size_t n_vocab) {
    uint32_t next = (uint32_t)n_vocab;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i].parity_id == PITH_TOKEN_NONE) {
            tokens[i].parity_id = next;
        }
        next = tokens[i].parity_id >= next ? tokens[i].parity_id + 1 : next;
    }
}

/* Which added token has an id; two of one id are refused. */
static pith_status index_added(const reader *r) {
    pith_tokenizer *t = r->tokenizer;
    t->vocab_size = t->bpe.n_ids;
    for (uint32_t i = 0; i < t->added.n; i++) {
        uint32_t id = t->added.tokens[i].id;
        t->vocab_size = id >= t->vocab_size ? id + 1 : t->vocab_size;
        /* A match inside white space that was taken already would be looked at again and again. */
        if (t->added.tokens[i].white && t->added.tokens[i].rstrip) {
            return REFUSE(r, PITH_UNSUPPORTED, "added token %u is white space and has rstrip", id);
        }
    }
    t->added_by_id = malloc((size_t)t->vocab_size * sizeof *t->added_by_id);
    if (t->added_by_id == NULL) {
        return REFUSE(r, PITH_NO_MEMORY, "no memory for %u ids", t->vocab_size);
    }
    memset(t->added_by_id, 0xFF, (size_t)t->vocab_size * sizeof *t->added_by_id);
    for (uint32_t i = 0; i < t->added.n; i++) {
        uint32_t *slot = &t->added_by_id[t->added.tokens[i].id];
        if (*slot != PITH_TOKEN_NONE) {
            return REFUSE(r, PITH_CORRUPT, "added tokens \"%s\" and \"%s\" share the id %u",
                          show(t->added.tokens[*slot].content).text,
                          show(t->added.tokens[i].content).text, t->added.tokens[i].id);
        }
        *slot = i;
    }
    return PITH_OK;
}

static pith_status read_added(const reader *r, const json_t *list, size_t n_vocab) {
    size_t n = json_array_size(list);
    size_t bytes = 0;
    if ((list != NULL && !json_is_null(list) && !json_is_array(list)) || n > PITH_ADDED_MAX) {
        return REFUSE(r, PITH_CORRUPT, "added_tokens is %s of %zu, expected an array of at most %d",
                      type_name(list), n, PITH_ADDED_MAX);
    }
    pith_added_token *tokens = calloc(n + 1, sizeof *tokens);
    if (tokens == NULL) {
        return REFUSE(r, PITH_NO_MEMORY, "no memory for %zu added tokens", n);
    }
    pith_status status = PITH_OK;
    for (size_t i = 0; i < n && status == PITH_OK; i++) {
        status = read_added_token(r, i, json_array_get(list, i), &tokens[i]);
        bytes += tokens[i].len;
    }
    if (status == PITH_OK && bytes > PITH_ADDED_BYTES_MAX) {
        status = REFUSE(r, PITH_CORRUPT, "added tokens of %zu bytes, expected at most %d", bytes,
                        PITH_ADDED_BYTES_MAX);
    }
    if (status != PITH_OK) {
        for (size_t i = 0; i < n; i++) {
            free(tokens[i].content);
        }
        free(tokens);
        return status;
    }
    number_as_peer(tokens, n, n_vocab);
    pith_err why;
    status = pith_added_build(&r->tokenizer->added, tokens, (uint32_t)n, r->tokenizer->nfc, &why);
    return status != PITH_OK ? REFUSE(r, status, "%s", why.text) : index_added(r);
}

static pith_status read_root(const reader *r, const json_t *root) {
    const json_t *model = json_object_get(root, "model");
    if (!json_is_object(model)) {
        return REFUSE(r, PITH_CORRUPT, "model is %s, expected an object", type_name(model));
    }
    pith_status status = check_model(r, model);
    if (status == PITH_OK) {
        status = read_normalizer(r, json_object_get(root, "normalizer"));
    }
    if (status == PITH_OK) {
        status = read_pretokenizer(r, json_object_get(root, "pre_tokenizer"));
    }
    const json_t *decoder = json_object_get(root, "decoder");
    if (status == PITH_OK && decoder != NULL && !json_is_null(decoder) &&
        strcmp(part_type(decoder), "ByteLevel") != 0) {
        status = REFUSE(r, PITH_UNSUPPORTED, "decoder \"%s\", expected ByteLevel",
                        show(part_type(decoder)).text);
    }
    if (status == PITH_OK) {
        status = read_vocab(r, json_object_get(model, "vocab"));
    }
    if (status == PITH_OK) {
        status = read_merges(r, json_object_get(model, "merges"));
    }
    size_t n_vocab = json_object_size(json_object_get(model, "vocab"));
    return status != PITH_OK ? status
                             : read_added(r, json_object_get(root, "added_tokens"), n_vocab);
}

pith_status pith_tokenizer_json_read(pith_tokenizer *tokenizer, const char *name, const char *json,
                                     size_t len, pith_err *err) {
    const reader r = {.tokenizer = tokenizer, .name = name, .err = err};
    json_error_t wrong;
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &wrong);
    if (root == NULL) {
        return REFUSE(&r, PITH_CORRUPT, "not JSON at line %d, column %d: %s", wrong.line,
                      wrong.column, show(wrong.text).text);
    }
    pith_status status = read_root(&r, root);
    json_decref(root);
    return status;
}
