#include "server/observe/trace_context.h"

#include <string.h>

static int hex_digit(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Copies `n` hex digits; false when one is not, or when all are zero. */
static bool copy_hex(char *out, const char *text, int n) {
    bool zero = true;
    for (int i = 0; i < n; i++) {
        if (hex_digit(text[i]) < 0) {
            return false;
        }
        zero = zero && text[i] == '0';
        out[i] = text[i];
    }
    out[n] = '\0';
    return !zero;
}

/* "00-<32>-<16>-<2>"; a version after 00 may go on with "-...", ff is none. */
bool pith_trace_context_parse(const char *text, pith_trace_context *context) {
    enum { TRACE = 3, PARENT = 36, FLAGS = 53, END = 55 };
    pith_trace_context out = {0};
    *context = out;
    size_t len = text == NULL ? 0 : strlen(text);
    if (len < END || hex_digit(text[0]) < 0 || hex_digit(text[1]) < 0 ||
        strncmp(text, "ff", 2) == 0 ||
        (len > END && (strncmp(text, "00", 2) == 0 || text[END] != '-'))) {
        return false;
    }
    bool dashes = text[TRACE - 1] == '-' && text[PARENT - 1] == '-' && text[FLAGS - 1] == '-';
    if (!dashes || hex_digit(text[FLAGS]) < 0 || hex_digit(text[FLAGS + 1]) < 0 ||
        !copy_hex(out.trace_id, text + TRACE, PITH_TRACE_ID_CHARS) ||
        !copy_hex(out.parent_id, text + PARENT, PITH_SPAN_ID_CHARS)) {
        return false;
    }
    out.sampled = (hex_digit(text[FLAGS + 1]) & 1) != 0;
    *context = out;
    return true;
}
