#include "runtime/base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 2048 };

static atomic_int min_level = PITH_LOG_INFO;

void pith_log_set_level(pith_log_level level) {
    atomic_store(&min_level, (int)level);
}

void pith_log(pith_log_level level, const char *fmt, ...) {
    static const char *const names[] = {"debug", "info", "warn", "error"};
    if ((int)level < atomic_load(&min_level)) {
        return;
    }
    char line[LINE_BYTES_MAX];
    int head = snprintf(line, sizeof line, "pith %s: ", names[level]);
    va_list args;
    va_start(args, fmt);
    int body = vsnprintf(line + head, sizeof line - (size_t)head - 1, fmt, args);
    va_end(args);
    size_t len = body < 0 ? (size_t)head : (size_t)head + (size_t)body;
    if (len > sizeof line - 2) {
        len = sizeof line - 2;
    }
    line[len] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, len + 1);
    (void)ignored;
}
