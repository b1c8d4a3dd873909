#include "server/access/keys.h"

#include "runtime/base/clock.h"
#include "runtime/base/file.h"

#include <limits.h>
#include <math.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
    LINE_WORDS_MAX = 4,
    HEX_BYTES = 2 * SHA256_DIGEST_LENGTH,
    BURST_SECONDS = 10,
    GENERATIONS = INT_MAX / PITH_KEYS_MAX,
    BYTES_PER_TOKEN = 4 /* English prose with the vocabularies at hand has 4.2, code 3.3 */
};

#define SECOND_NS 1e9
#define RATE_MAX  1e12

/* One key. Its number is its place in the table and, above that, how many keys have left the place:
 * the number of a key that is gone is nobody else's. */
typedef struct slot {
    bool used;
    uint32_t generation; /* of GENERATIONS: a call would have to last for so many reloads */
    uint8_t digest[SHA256_DIGEST_LENGTH];
    char name[PITH_KEY_NAME_BYTES];
    double rate; /* tokens a second; 0: no limit */
    double burst;
    double tokens;
    int64_t refilled_ns;
} slot;

struct pith_keys {
    char *path;
    pthread_mutex_t mutex; /* guards the table */
    slot slots[PITH_KEYS_MAX];
    size_t n; /* slots that are or were used: those behind are not compared */
};

/* --- the file ----------------------------------------------------------------------------- */

typedef struct word {
    const char *at;
    size_t len;
} word;

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

/* Words of line[0, len) up to a comment; LINE_WORDS_MAX + 1 when there are more. */
static size_t split(const char *line, size_t len, word words[LINE_WORDS_MAX]) {
    size_t n = 0;
    for (size_t i = 0; i < len && line[i] != '#';) {
        if (is_blank(line[i])) {
            i++;
            continue;
        }
        size_t start = i;
        while (i < len && !is_blank(line[i])) {
            i++;
        }
        if (n == LINE_WORDS_MAX) {
            return n + 1;
        }
        words[n++] = (word){.at = line + start, .len = i - start};
    }
    return n;
}

static bool name_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
}

static bool read_name(const word *w, slot *out) {
    bool good = w->len < PITH_KEY_NAME_BYTES;
    for (size_t i = 0; good && i < w->len; i++) {
        good = name_char(w->at[i]);
    }
    if (good) {
        memcpy(out->name, w->at, w->len);
        out->name[w->len] = '\0';
    }
    return good;
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool read_key(const word *w, slot *out) {
    static const char prefix[] = "sha256:";
    size_t prefix_len = sizeof prefix - 1;
    if (w->len < prefix_len || memcmp(w->at, prefix, prefix_len) != 0) {
        (void)SHA256((const uint8_t *)w->at, w->len, out->digest);
        return w->len >= PITH_KEY_BYTES_MIN && w->len <= PITH_KEY_BYTES_MAX;
    }
    const char *hex = w->at + prefix_len;
    if (w->len != prefix_len + HEX_BYTES) {
        return false;
    }
    for (size_t i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        int high = hex_digit(hex[2 * i]);
        int low = hex_digit(hex[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out->digest[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool read_number(const word *w, double *value) {
    char text[32];
    if (w->len >= sizeof text) {
        return false;
    }
    memcpy(text, w->at, w->len);
    text[w->len] = '\0';
    char *end;
    *value = strtod(text, &end);
    return *end == '\0' && *value > 0 && *value <= RATE_MAX;
}

static pith_status bad_line(const char *path, size_t line, const char *what, pith_err *err) {
    return pith_fail(err, PITH_INVALID, "%s: line %zu: %s", path, line, what);
}

static pith_status read_line(const char *path, size_t line, const word *words, size_t n_words,
                             slot *out, pith_err *err) {
    *out = (slot){.used = true};
    if (n_words < 2 || n_words > LINE_WORDS_MAX) {
        return bad_line(path, line, "expected NAME KEY [TOKENS_PER_S [BURST_TOKENS]]", err);
    }
    if (!read_name(&words[0], out)) {
        return bad_line(path, line, "a name has 1 to 63 letters, digits, \"-\", \"_\", \".\"", err);
    }
    if (!read_key(&words[1], out)) {
        return bad_line(path, line, "a key has 16 to 512 bytes, or is sha256: and 64 hex digits",
                        err);
    }
    if (n_words > 2 && !read_number(&words[2], &out->rate)) {
        return bad_line(path, line, "the rate is not a number above 0", err);
    }
    out->burst = out->rate * BURST_SECONDS;
    if (n_words > 3 && !read_number(&words[3], &out->burst)) {
        return bad_line(path, line, "the burst is not a number above 0", err);
    }
    out->tokens = out->burst;
    out->refilled_ns = pith_clock_now(&pith_clock_system);
    return PITH_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(((const slot *)a)->name, ((const slot *)b)->name);
}

static int compare_digests(const void *a, const void *b) {
    return memcmp(((const slot *)a)->digest, ((const slot *)b)->digest, SHA256_DIGEST_LENGTH);
}

/* Two keys of one name, or one key with two names, is a mistake. Leaves the list sorted by name. */
static pith_status check_twice(const char *path, slot *list, size_t n, pith_err *err) {
    qsort(list, n, sizeof *list, compare_digests);
    for (size_t i = 1; i < n; i++) {
        if (compare_digests(&list[i - 1], &list[i]) == 0) {
            return pith_fail(err, PITH_INVALID, "%s: %s and %s have the same key", path,
                             list[i - 1].name, list[i].name);
        }
    }
    qsort(list, n, sizeof *list, compare_names);
    for (size_t i = 1; i < n; i++) {
        if (compare_names(&list[i - 1], &list[i]) == 0) {
            return pith_fail(err, PITH_INVALID, "%s: %s is there twice", path, list[i].name);
        }
    }
    return PITH_OK;
}

static pith_status read_list(const char *path, const pith_file *file, slot *list, size_t *n,
                             pith_err *err) {
    const char *at = file->data;
    const char *end = file->data + file->len;
    *n = 0;
    for (size_t line = 1; at < end; line++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        size_t len = (size_t)((newline == NULL ? end : newline) - at);
        word words[LINE_WORDS_MAX];
        size_t n_words = split(at, len, words);
        if (n_words > 0) {
            if (*n == PITH_KEYS_MAX) {
                return pith_fail(err, PITH_INVALID, "%s: more than %d keys", path, PITH_KEYS_MAX);
            }
            pith_status status = read_line(path, line, words, n_words, &list[*n], err);
            if (status != PITH_OK) {
                return status;
            }
            (*n)++;
        }
        at += newline == NULL ? len : len + 1;
    }
    return *n == 0 ? pith_fail(err, PITH_INVALID, "%s: no key in it", path)
                   : check_twice(path, list, *n, err);
}

/* --- the table ---------------------------------------------------------------------------- */

/* Puts the new keys where their names were, or where nobody is. Mutex held. */
static void replace(pith_keys *keys, slot *list, size_t n) {
    for (size_t i = 0; i < keys->n; i++) {
        slot *old = &keys->slots[i];
        slot *kept = bsearch(old, list, n, sizeof *list, compare_names);
        if (kept == NULL || !old->used) {
            old->generation = (old->generation + old->used) % GENERATIONS;
            old->used = false;
            continue;
        }
        bool same = kept->rate == old->rate && kept->burst == old->burst;
        kept->tokens = same ? old->tokens : fmin(old->tokens, kept->burst);
        kept->refilled_ns = same ? old->refilled_ns : kept->refilled_ns;
        kept->generation = old->generation;
        *old = *kept;
        kept->used = false; /* placed */
    }
    size_t place = 0;
    for (size_t i = 0; i < n; i++) {
        while (list[i].used && keys->slots[place].used) {
            place++;
        }
        if (list[i].used) {
            list[i].generation = keys->slots[place].generation;
            keys->slots[place] = list[i];
            keys->n = place >= keys->n ? place + 1 : keys->n;
        }
    }
}

pith_status pith_keys_reload(pith_keys *keys, pith_err *err) {
    pith_file file;
    pith_status status = pith_file_read(&file, keys->path, PITH_KEYS_FILE_BYTES, err);
    if (status != PITH_OK) {
        return status;
    }
    slot *list = calloc(PITH_KEYS_MAX, sizeof *list);
    size_t n = 0;
    status = list == NULL ? pith_fail(err, PITH_NO_MEMORY, "no memory for keys")
                          : read_list(keys->path, &file, list, &n, err);
    if (status == PITH_OK) {
        (void)pthread_mutex_lock(&keys->mutex);
        replace(keys, list, n);
        (void)pthread_mutex_unlock(&keys->mutex);
    }
    OPENSSL_cleanse((void *)(uintptr_t)file.data, file.len);
    free(list);
    pith_file_close(&file);
    return status;
}

pith_status pith_keys_open(pith_keys **keys, const char *path, pith_err *err) {
    *keys = NULL;
    pith_keys *made = calloc(1, sizeof *made);
    char *copy = strdup(path);
    if (made == NULL || copy == NULL) {
        free(made);
        free(copy);
        return pith_fail(err, PITH_NO_MEMORY, "no memory for keys");
    }
    made->path = copy;
    (void)pthread_mutex_init(&made->mutex, NULL);
    pith_status status = pith_keys_reload(made, err);
    if (status != PITH_OK) {
        pith_keys_close(made);
        return status;
    }
    *keys = made;
    return PITH_OK;
}

void pith_keys_close(pith_keys *keys) {
    if (keys != NULL) {
        (void)pthread_mutex_destroy(&keys->mutex);
        free(keys->path);
        free(keys);
    }
}

size_t pith_keys_count(pith_keys *keys) {
    size_t n = 0;
    (void)pthread_mutex_lock(&keys->mutex);
    for (size_t i = 0; i < keys->n; i++) {
        n += keys->slots[i].used;
    }
    (void)pthread_mutex_unlock(&keys->mutex);
    return n;
}

static int number_of(const pith_keys *keys, size_t place) {
    return (int)keys->slots[place].generation * PITH_KEYS_MAX + (int)place;
}

/* The slot of a number, or NULL: nobody's, or of a key that is gone. Mutex held. */
static slot *slot_of(pith_keys *keys, int key) {
    if (key < 0 || (size_t)key % PITH_KEYS_MAX >= keys->n) {
        return NULL;
    }
    size_t place = (size_t)key % PITH_KEYS_MAX;
    bool here = keys->slots[place].used && number_of(keys, place) == key;
    return here ? &keys->slots[place] : NULL;
}

int pith_keys_find(pith_keys *keys, const char *header, size_t len) {
    static const char scheme[] = "Bearer ";
    size_t scheme_len = sizeof scheme - 1;
    if (header == NULL || len <= scheme_len || strncasecmp(header, scheme, scheme_len) != 0 ||
        len - scheme_len > PITH_KEY_BYTES_MAX) {
        return PITH_KEY_NONE;
    }
    uint8_t digest[SHA256_DIGEST_LENGTH];
    (void)SHA256((const uint8_t *)header + scheme_len, len - scheme_len, digest);
    int found = PITH_KEY_NONE;
    (void)pthread_mutex_lock(&keys->mutex);
    for (size_t i = 0; i < keys->n; i++) { /* all of them, whichever it is */
        bool same = CRYPTO_memcmp(digest, keys->slots[i].digest, sizeof digest) == 0;
        found = same && keys->slots[i].used ? number_of(keys, i) : found;
    }
    (void)pthread_mutex_unlock(&keys->mutex);
    return found;
}

/* --- buckets ------------------------------------------------------------------------------ */

uint64_t pith_keys_estimate(size_t text_len) {
    return text_len / BYTES_PER_TOKEN + 1;
}

/* The slot of a key that has a limit, or NULL. Mutex held. */
static slot *limited(pith_keys *keys, int key) {
    slot *s = slot_of(keys, key);
    return s != NULL && s->rate > 0 ? s : NULL;
}

bool pith_keys_charge(pith_keys *keys, int key, uint64_t tokens, int64_t now_ns,
                      int64_t *retry_ns) {
    bool enough = true;
    *retry_ns = 0;
    (void)pthread_mutex_lock(&keys->mutex);
    slot *s = limited(keys, key);
    if (s != NULL) {
        double elapsed = now_ns > s->refilled_ns ? (double)(now_ns - s->refilled_ns) : 0;
        s->tokens = fmin(s->tokens + elapsed / SECOND_NS * s->rate, s->burst);
        s->refilled_ns = now_ns > s->refilled_ns ? now_ns : s->refilled_ns;
        /* A text above the whole burst passes when the bucket is full, and leaves it in debt. */
        double needed = fmin((double)tokens, s->burst);
        enough = s->tokens >= needed;
        if (enough) {
            s->tokens -= (double)tokens;
        } else {
            *retry_ns = (int64_t)fmin((needed - s->tokens) / s->rate * SECOND_NS, 3600 * SECOND_NS);
            *retry_ns += 1000000; /* a millisecond: the reply rounds down to one */
        }
    }
    (void)pthread_mutex_unlock(&keys->mutex);
    return enough;
}

void pith_keys_settle(pith_keys *keys, int key, uint64_t charged, uint64_t tokens) {
    (void)pthread_mutex_lock(&keys->mutex);
    slot *s = limited(keys, key);
    if (s != NULL) {
        s->tokens = fmin(s->tokens + (double)charged - (double)tokens, s->burst);
    }
    (void)pthread_mutex_unlock(&keys->mutex);
}

void pith_keys_name(pith_keys *keys, int key, char name[PITH_KEY_NAME_BYTES]) {
    name[0] = '\0';
    (void)pthread_mutex_lock(&keys->mutex);
    const slot *s = slot_of(keys, key);
    if (s != NULL) {
        memcpy(name, s->name, PITH_KEY_NAME_BYTES);
    }
    (void)pthread_mutex_unlock(&keys->mutex);
}
