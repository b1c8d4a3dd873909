/* Bearer keys: who may call, and how many tokens a second each may have compressed.
 *
 * File: one key a line, "NAME KEY [TOKENS_PER_S [BURST_TOKENS]]", separated by blanks; '#' begins a
 * comment. KEY is the key itself, or "sha256:" and 64 hex digits of its SHA-256. Without a rate a
 * key has no limit; without a burst it is ten seconds of the rate. Only hashes are kept, and a
 * presented key is hashed and compared with every one of them in constant time.
 *
 * Buckets are in tokens: a text is charged an estimate when it comes and the rest, or the change,
 * when its tokens are known, so a bucket may go into debt. Owns its table; any thread. A reload
 * replaces the table at once or not at all; a key that keeps its name keeps its number and its
 * bucket, and the number of one that is gone stands for nobody. */
#ifndef PITH_SERVER_ACCESS_KEYS_H
#define PITH_SERVER_ACCESS_KEYS_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct pith_keys pith_keys;

enum {
    PITH_KEYS_MAX = 1024,
    PITH_KEY_NAME_BYTES = 64, /* 63 and a NUL; letters, digits, "-", "_", "." */
    PITH_KEY_BYTES_MIN = 16,  /* of a key in the file: less can be guessed */
    PITH_KEY_BYTES_MAX = 512, /* of a presented key: more is not looked at */
    PITH_KEYS_FILE_BYTES = 1 << 20,
    PITH_KEY_NONE = -1
};

/* PITH_NOT_FOUND, PITH_IO: the file; PITH_INVALID: a line of it, by number, never its text. */
PITH_MUST_USE pith_status pith_keys_open(pith_keys **keys, const char *path, pith_err *err);
void pith_keys_close(pith_keys *keys);

/* Reads the file again. On failure everything stays as it was. */
PITH_MUST_USE pith_status pith_keys_reload(pith_keys *keys, pith_err *err);
size_t pith_keys_count(pith_keys *keys);

/* The number of the key in an Authorization header's value, "Bearer KEY"; PITH_KEY_NONE when it
 * shows none that we know. `header` may be NULL. */
int pith_keys_find(pith_keys *keys, const char *header, size_t len);

/* Charges `tokens` to the key. False when its bucket is short of them: nothing is charged, and
 * *retry_ns says when it will not be. */
bool pith_keys_charge(pith_keys *keys, int key, uint64_t tokens, int64_t now_ns, int64_t *retry_ns);
/* Makes an earlier charge the true one. */
void pith_keys_settle(pith_keys *keys, int key, uint64_t charged, uint64_t tokens);

/* For logs and labels; "" for PITH_KEY_NONE or a key that is gone. */
void pith_keys_name(pith_keys *keys, int key, char name[PITH_KEY_NAME_BYTES]);

/* Tokens that a text of `text_len` bytes most likely has: four bytes each. */
uint64_t pith_keys_estimate(size_t text_len);

#endif
