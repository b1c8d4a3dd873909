#include "server/grpc/core_log.h"

#include "runtime/base/clock.h"
#include "runtime/base/log.h"

#include <grpc/support/log.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <string.h>

enum { LINES_PER_S = 10, TEXT_BYTES = 512 };

#define SECOND_NS INT64_C(1000000000)

static atomic_int_fast64_t window_start_ns;
static atomic_int_fast64_t n_in_window;

static void on_log(gpr_log_func_args *args) {
    int64_t now = pith_clock_now(&pith_clock_system);
    int64_t start = atomic_load(&window_start_ns);
    int64_t left_out = 0;
    if (now - start >= SECOND_NS && atomic_compare_exchange_strong(&window_start_ns, &start, now)) {
        left_out = atomic_exchange(&n_in_window, 0) - LINES_PER_S;
    }
    if (left_out > 0) {
        pith_log(PITH_LOG_WARN, "grpc core: %" PRId64 " lines left out", left_out);
    }
    if (atomic_fetch_add(&n_in_window, 1) >= LINES_PER_S) {
        return;
    }
    /* The core quotes what peers sent: only printable ASCII goes to our log. */
    char text[TEXT_BYTES];
    size_t len = strnlen(args->message, sizeof text - 1);
    for (size_t i = 0; i < len; i++) {
        text[i] = args->message[i] >= ' ' && args->message[i] <= '~' ? args->message[i] : '?';
    }
    text[len] = '\0';
    const char *slash = strrchr(args->file, '/');
    pith_log(args->severity == GPR_LOG_SEVERITY_ERROR ? PITH_LOG_WARN : PITH_LOG_DEBUG,
             "grpc core: %s:%d %s", slash == NULL ? args->file : slash + 1, args->line, text);
}

void pith_core_log_install(void) {
    gpr_set_log_function(on_log);
}
