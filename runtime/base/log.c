#include "runtime/base/log.h"

#include "runtime/base/utf8.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINE_BYTES_MAX = 4096, MESSAGE_BYTES_MAX = 2048, ESCAPED_BYTES_MAX = 3072 };

static const char *const names[] = {"debug", "info", "warn", "error"};
static atomic_int min_level = PITH_LOG_INFO;
static atomic_bool as_json;

void pith_log_set_level(pith_log_level level) {
    atomic_store(&min_level, (int)level);
}

bool pith_log_enabled(pith_log_level level) {
    return (int)level >= atomic_load(&min_level);
}

void pith_log_set_json(bool json) {
    atomic_store(&as_json, json);
}

bool pith_log_is_json(void) {
    return atomic_load(&as_json);
}

/* Adds the line feed and writes; `len` is what snprintf returned. */
static void put(char line[LINE_BYTES_MAX], int len) {
    size_t n = len < 0 ? 0 : (size_t)len;
    if (n > LINE_BYTES_MAX - 1) {
        n = LINE_BYTES_MAX - 1;
    }
    line[n] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, n + 1);
    (void)ignored;
}

size_t pith_log_escape(char *out, size_t size, const char *text, size_t len) {
    size_t used = 0;
    for (size_t at = 0; at < len;) {
        uint32_t code;
        char piece[8];
        size_t step = pith_utf8_decode(text, len, at, &code);
        int n;
        if (code == '"' || code == '\\') {
            n = snprintf(piece, sizeof piece, "\\%c", (char)code);
        } else if (code < 0x20 || code == 0x7F) {
            n = snprintf(piece, sizeof piece, "\\u%04x", (unsigned)code);
        } else if (code == 0xFFFD && step == 1) {
            n = snprintf(piece, sizeof piece, "?");
        } else {
            n = snprintf(piece, sizeof piece, "%.*s", (int)step, text + at);
        }
        if (used + (size_t)n + 1 > size) {
            break;
        }
        memcpy(out + used, piece, (size_t)n);
        used += (size_t)n;
        at += step;
    }
    if (size > 0) {
        out[used] = '\0';
    }
    return used;
}

/* RFC 3339, UTC, milliseconds. */
static void now_text(char out[32]) {
    struct timespec now;
    struct tm parts;
    char seconds[24];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &parts);
    (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(out, 32, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000));
}

void pith_log(pith_log_level level, const char *fmt, ...) {
    if (!pith_log_enabled(level)) {
        return;
    }
    char message[MESSAGE_BYTES_MAX];
    char line[LINE_BYTES_MAX];
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (!pith_log_is_json()) {
        put(line, snprintf(line, sizeof line - 1, "pith %s: %s", names[level], message));
        return;
    }
    char escaped[ESCAPED_BYTES_MAX];
    char time[32];
    now_text(time);
    (void)pith_log_escape(escaped, sizeof escaped, message, strlen(message));
    put(line,
        snprintf(line, sizeof line - 1, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"%s\"}",
                 time, names[level], escaped));
}

void pith_log_fields(pith_log_level level, const char *message, const char *fields) {
    if (!pith_log_enabled(level)) {
        return;
    }
    char line[LINE_BYTES_MAX];
    char time[32];
    if (!pith_log_is_json()) {
        put(line,
            snprintf(line, sizeof line - 1, "pith %s: %s {%s}", names[level], message, fields));
        return;
    }
    now_text(time);
    put(line,
        snprintf(line, sizeof line - 1, "{\"time\":\"%s\",\"level\":\"%s\",\"message\":\"%s\",%s}",
                 time, names[level], message, fields));
}
