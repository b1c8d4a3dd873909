#include "runtime/base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static pith_status fail_errno(pith_err *err, const char *path, const char *verb) {
    int code = errno;
    pith_status status = code == ENOENT ? PITH_NOT_FOUND : PITH_IO;
    return pith_fail(err, status, "%s: cannot %s: %s", path, verb, strerror(code));
}

static pith_status open_readable(const char *path, int *fd, pith_err *err) {
    if (strcmp(path, "-") == 0) {
        *fd = dup(STDIN_FILENO);
    } else {
        *fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    return *fd < 0 ? fail_errno(err, path, "open") : PITH_OK;
}

/* Reads all of `fd`, growing by doubling; the buffer keeps one byte for a final NUL. */
static pith_status read_all(int fd, const char *path, size_t bytes_max, pith_file *file,
                            pith_err *err) {
    size_t cap = 64 * 1024;
    size_t len = 0;
    char *data = malloc(cap);
    while (data != NULL) {
        ssize_t got = read(fd, data + len, cap - len - 1);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            free(data);
            return fail_errno(err, path, "read");
        }
        if (got == 0) {
            data[len] = '\0';
            *file = (pith_file){.data = data, .len = len};
            return PITH_OK;
        }
        len += (size_t)got;
        if (len > bytes_max) {
            free(data);
            return pith_fail(err, PITH_INVALID, "%s: longer than %zu bytes", path, bytes_max);
        }
        if (len + 1 == cap) {
            cap *= 2;
            char *grown = realloc(data, cap);
            if (grown == NULL) {
                free(data);
            }
            data = grown;
        }
    }
    return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for %zu bytes", path, cap);
}

pith_status pith_file_read(pith_file *file, const char *path, size_t bytes_max, pith_err *err) {
    *file = (pith_file){0};
    int fd;
    pith_status status = open_readable(path, &fd, err);
    if (status != PITH_OK) {
        return status;
    }
    status = read_all(fd, path, bytes_max, file, err);
    (void)close(fd);
    return status;
}

pith_status pith_file_map(pith_file *file, const char *path, pith_err *err) {
    *file = (pith_file){0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return fail_errno(err, path, "open");
    }
    struct stat info;
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        (void)close(fd);
        return pith_fail(err, PITH_IO, "%s: not a regular file", path);
    }
    if (info.st_size == 0) {
        (void)close(fd);
        return pith_fail(err, PITH_CORRUPT, "%s: empty file", path);
    }
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    (void)close(fd);
    if (data == MAP_FAILED) {
        return fail_errno(err, path, "map");
    }
    *file = (pith_file){.data = data, .len = (size_t)info.st_size, .mapped = true};
    return PITH_OK;
}

void pith_file_discard(const pith_file *file, size_t offset, size_t len) {
    if (!file->mapped || offset >= file->len) {
        return;
    }
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t begin = ((uintptr_t)file->data + offset + page - 1) / page * page;
    uintptr_t end = ((uintptr_t)file->data + offset + len) / page * page;
    if (begin < end) {
        (void)madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
}

void pith_file_close(pith_file *file) {
    if (file == NULL || file->data == NULL) {
        return;
    }
    if (file->mapped) {
        (void)munmap((void *)(uintptr_t)file->data, file->len);
    } else {
        free((void *)(uintptr_t)file->data);
    }
    *file = (pith_file){0};
}
