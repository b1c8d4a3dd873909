/* Byte-level BPE tokenizer read from a Hugging Face tokenizer.json.
 *
 * A pith_tokenizer is immutable after open and may be shared by any number of threads. A
 * pith_token_list is owned by one thread at a time and keeps its memory between calls.
 *
 * Supported: model BPE (merges as strings or as pairs, ignore_merges), normalizer NFC or none,
 * pre-tokenizer ByteLevel with the GPT-2 pattern, or Split with the Qwen2 pattern followed by
 * ByteLevel; add_prefix_space false. Anything else is PITH_UNSUPPORTED and says what was found.
 * Encoding takes time linear in the text. */
#ifndef PITH_TEXT_TOKENIZER_H
#define PITH_TEXT_TOKENIZER_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PITH_TOKENIZER_FILE_BYTES_MAX = 64 * 1024 * 1024, /* Qwen2.5's is 7 MB, Llama-3's 17 MB */
    PITH_VOCAB_MAX = 1 << 20
};

#define PITH_TOKEN_NONE UINT32_MAX

typedef struct pith_tokenizer pith_tokenizer;

/* What to do with added tokens ("[CLS]", "<|im_start|>", runs of spaces) found in a text. */
typedef enum pith_added_tokens {
    PITH_ADDED_PLAIN, /* only pure white-space ones match; every other is plain text */
    /* All match, longest first, as Hugging Face tokenizers does, and with the ids it gives: those
     * of added tokens that the file's vocabulary lacks are numbered anew by it. */
    PITH_ADDED_PARITY
} pith_added_tokens;

/* One token: its id and the bytes [start, end) of the input it stands for. A token that is part of
 * one character (byte-level BPE) has the exact bytes; where NFC rewrote the input, the span is that
 * of the original characters the normalised bytes came from. */
typedef struct pith_token {
    uint32_t id;
    uint32_t start;
    uint32_t end;
} pith_token;

typedef struct pith_token_list {
    pith_token *items; /* [len] */
    size_t len;
    size_t cap;
    struct pith_tokenizer_scratch *scratch; /* private to the tokenizer */
} pith_token_list;

PITH_MUST_USE pith_status pith_tokenizer_open(pith_tokenizer **tokenizer, const char *path,
                                              pith_err *err);

/* The same from the file's bytes json[0, len); `name` stands in messages. */
PITH_MUST_USE pith_status pith_tokenizer_open_memory(pith_tokenizer **tokenizer, const char *name,
                                                     const char *json, size_t len, pith_err *err);
void pith_tokenizer_close(pith_tokenizer *tokenizer);

/* Appends the tokens of text[0, len) to `list` (no specials such as [CLS] are added).
 * Invalid UTF-8 is PITH_INVALID with the byte offset; len must be below 2^31. */
PITH_MUST_USE pith_status pith_tokenizer_encode(const pith_tokenizer *tokenizer,
                                                pith_added_tokens added, const char *text,
                                                size_t len, pith_token_list *list, pith_err *err);

/* How many tokens encode would append. `list` is scratch and keeps its tokens. */
PITH_MUST_USE pith_status pith_tokenizer_count(const pith_tokenizer *tokenizer,
                                               pith_added_tokens added, const char *text,
                                               size_t len, pith_token_list *list, size_t *n_tok,
                                               pith_err *err);

/* Writes the bytes that `ids` stand for into a malloc'ed, NUL-ended string. Special added tokens
 * are left out when `skip_special`. Unknown ids are PITH_INVALID. */
PITH_MUST_USE pith_status pith_tokenizer_decode(const pith_tokenizer *tokenizer,
                                                const uint32_t *ids, size_t n_ids,
                                                bool skip_special, char **text, size_t *len,
                                                pith_err *err);

/* Id of a token by its exact content ("[CLS]"), or PITH_TOKEN_NONE. */
uint32_t pith_tokenizer_find(const pith_tokenizer *tokenizer, const char *content);

/* One more than the largest id. */
uint32_t pith_tokenizer_vocab_size(const pith_tokenizer *tokenizer);

/* Zero-initialise a list before its first use, or open it: then it has from the start what it
 * keeps between texts (2 MiB) and a trim brings it back to that. Reset keeps the memory, free
 * returns it. Trim drops the tokens and what a long text made the list hold, so that a thread's
 * list between texts does not remember the longest; what it has learnt of frequent words stays. */
PITH_MUST_USE pith_status pith_token_list_open(pith_token_list *list, pith_err *err);
void pith_token_list_reset(pith_token_list *list);
void pith_token_list_trim(pith_token_list *list);
void pith_token_list_free(pith_token_list *list);

#endif
