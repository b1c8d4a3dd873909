/* Log: one line on stderr per event, as text ("pith LEVEL: message") or as a JSON object. Any
 * thread; a line is one write(2), so lines never mix. Library code below the server does not log:
 * it returns a status. */
#ifndef PITH_BASE_LOG_H
#define PITH_BASE_LOG_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>

typedef enum pith_log_level {
    PITH_LOG_DEBUG,
    PITH_LOG_INFO,
    PITH_LOG_WARN,
    PITH_LOG_ERROR
} pith_log_level;

/* Lines below `level` are dropped; the start value is PITH_LOG_INFO. */
void pith_log_set_level(pith_log_level level);
bool pith_log_enabled(pith_log_level level);

/* {"time":"2026-11-21T14:00:00.123Z","level":"info","message":"..."}; the start value is false. */
void pith_log_set_json(bool json);
bool pith_log_is_json(void);

void pith_log(pith_log_level level, const char *fmt, ...) PITH_PRINTF(2, 3);

/* A line with fields: `fields` is the inside of a JSON object, "\"a\":1,\"b\":\"x\"", well formed.
 */
void pith_log_fields(pith_log_level level, const char *message, const char *fields);

/* Writes text[0, len) as the inside of a JSON string, cut at a character's end where `out` [size]
 * is full; bytes that are no UTF-8 become '?'. Returns the length. */
size_t pith_log_escape(char *out, size_t size, const char *text, size_t len);

#endif
