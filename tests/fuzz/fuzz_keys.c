/* Files of bearer keys: a table or a refusal in one line that does not quote the file. Each key of
 * a file that is accepted is found again by a reader of its own, and its bucket never goes over. */
#include "server/access/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds) {
    if (!holds) {
        abort();
    }
}

static int memory_file(const uint8_t *data, size_t size, char path[64]) {
    int fd = memfd_create("keys", 0);
    check(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

/* Presents the second word of a line, where it is a key in plain; true when it is one. */
static bool present(pith_keys *keys, const char *line, size_t len) {
    static const char blanks[] = " \t\r";
    char header[7 + PITH_KEY_BYTES_MAX + 1] = "Bearer ";
    size_t word[2] = {0};
    size_t at = 0;
    for (int k = 0; k < 2; k++) {
        while (at < len && line[at] != '\0' && strchr(blanks, line[at]) != NULL) {
            at++;
        }
        if (at == len || line[at] == '#') {
            return false;
        }
        word[0] = at;
        while (at < len && (line[at] == '\0' || strchr(blanks, line[at]) == NULL)) {
            at++;
        }
        word[1] = at - word[0];
    }
    if (word[1] >= 7 && memcmp(line + word[0], "sha256:", 7) == 0) {
        return true; /* its key is not known */
    }
    check(word[1] >= PITH_KEY_BYTES_MIN && word[1] <= PITH_KEY_BYTES_MAX);
    memcpy(header + 7, line + word[0], word[1]);
    int key = pith_keys_find(keys, header, 7 + word[1]);
    check(key >= 0 && key < PITH_KEYS_MAX);
    char name[PITH_KEY_NAME_BYTES];
    pith_keys_name(keys, key, name);
    check(name[0] != '\0');
    check(pith_keys_find(keys, header, 7 + word[1] - 1) != key);
    int64_t retry_ns = -1;
    bool taken = pith_keys_charge(keys, key, UINT64_MAX, INT64_MAX, &retry_ns);
    check(retry_ns >= 0 && (taken ? retry_ns == 0 : retry_ns > 0));
    pith_keys_settle(keys, key, UINT64_MAX, 0);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memory_file(data, size, path);
    pith_keys *keys = NULL;
    pith_err err = {0};
    if (pith_keys_open(&keys, path, &err) != PITH_OK) {
        check(keys == NULL && err.text[0] != '\0' && strchr(err.text, '\n') == NULL);
    } else {
        size_t found = 0;
        const char *at = (const char *)data;
        const char *end = at + size;
        while (at < end) {
            const char *newline = memchr(at, '\n', (size_t)(end - at));
            size_t len = (size_t)((newline == NULL ? end : newline) - at);
            found += present(keys, at, len);
            at += newline == NULL ? len : len + 1;
        }
        check(found == pith_keys_count(keys) && found >= 1 && found <= PITH_KEYS_MAX);
        (void)pith_keys_find(keys, (const char *)data, size);
        check(ftruncate(fd, 0) == 0 && pith_keys_reload(keys, &err) == PITH_INVALID);
        check(pith_keys_count(keys) == found);
    }
    pith_keys_close(keys);
    (void)close(fd);
    return 0;
}
