/* Log: one line on stderr per event, "LEVEL message". Any thread; a line is one write(2), so lines
 * never mix. Library code below the server does not log: it returns a status. */
#ifndef PITH_BASE_LOG_H
#define PITH_BASE_LOG_H

#include "runtime/base/status.h"

typedef enum pith_log_level {
    PITH_LOG_DEBUG,
    PITH_LOG_INFO,
    PITH_LOG_WARN,
    PITH_LOG_ERROR
} pith_log_level;

/* Lines below `level` are dropped; the start value is PITH_LOG_INFO. */
void pith_log_set_level(pith_log_level level);
void pith_log(pith_log_level level, const char *fmt, ...) PITH_PRINTF(2, 3);

#endif
