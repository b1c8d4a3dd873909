/* W3C Trace Context 1.0: the `traceparent` header, untrusted. Pure functions. */
#ifndef PITH_SERVER_OBSERVE_TRACE_CONTEXT_H
#define PITH_SERVER_OBSERVE_TRACE_CONTEXT_H

#include <stdbool.h>

enum { PITH_TRACE_ID_CHARS = 32, PITH_SPAN_ID_CHARS = 16 };

typedef struct pith_trace_context {
    char trace_id[PITH_TRACE_ID_CHARS + 1]; /* lower-case hex */
    char parent_id[PITH_SPAN_ID_CHARS + 1]; /* "" in a trace of our own */
    bool sampled;
} pith_trace_context;

/* False, and an empty context, for text that is no traceparent (section 3.2). */
bool pith_trace_context_parse(const char *text, pith_trace_context *context);

#endif
