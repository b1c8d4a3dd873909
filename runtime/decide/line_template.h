/* What lines of one kind have in common: a line with everything that varies masked.
 *
 * A template is the line's own bytes, with one mask byte in the place of each
 *   - timestamp: a date, a time with seconds, or both, with zone and weekday, in the forms of
 *     ISO 8601, syslog, C's asctime and HTTP logs;
 *   - UUID; hex number: 0x..., or six and more hex digits with a digit and a letter among them;
 *   - number: sign, decimals, exponent, percent or a unit of up to five letters, compound
 *     durations such as 1m30s; the digits at the end of snake_17, the digits behind "worker-";
 *   - path or URL: what starts with / ./ ../ ~/ or a drive letter, has two slashes, or one and a
 *     file extension;
 *   - quoted string ("", '', ``). Keys (a string before ":") stay, and so do sentences: a string
 *     with white space is read like what surrounds it, unless it is the value of a key other than
 *     msg, message, error, err, reason, event, text or log;
 * and runs of white space as one space (the indentation of a line that starts with a digit too).
 * A word with letters and digits that is none of these (node3, E4021, v1.2.3, CVE-2024-1) is an
 * identifier: its leading letters stay, the rest is masked, and its range is reported, so that the
 * caller can ask whether it is a new one.
 *
 * Pure functions on valid UTF-8, linear in the line, any thread. */
#ifndef PITH_DECIDE_LINE_TEMPLATE_H
#define PITH_DECIDE_LINE_TEMPLATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Mask bytes. A line that holds a byte below PITH_MASK_END itself has no template. */
enum {
    PITH_MASK_TIME = 1,
    PITH_MASK_UUID,
    PITH_MASK_HEX,
    PITH_MASK_NUMBER,
    PITH_MASK_PATH,
    PITH_MASK_QUOTED,
    PITH_MASK_ID,
    PITH_MASK_END
};

typedef struct pith_line_id {
    uint32_t start; /* byte offsets into the line, half open */
    uint32_t end;
} pith_line_id;

typedef struct pith_line_template {
    char *bytes;       /* [len], room for the line's length */
    size_t len;        /* never more than the line's */
    pith_line_id *ids; /* [n_ids], room for PITH_LINE_IDS_MAX of the line's length */
    uint32_t n_ids;
    bool letters; /* a letter stands outside the masks */
    bool masked;  /* at least one mask */
} pith_line_template;

/* An identifier stands apart from the next. */
#define PITH_LINE_IDS_MAX(len) ((len) / 2 + 1)

/* Fills `t` but for its room. False when the line has no template: it holds a mask byte. */
bool pith_line_template_make(pith_line_template *t, const char *line, size_t len);

/* Byte offset of the first sign that a line tells of something going wrong, or `len`. One of, in
 * any case: abort alert corrupt crash critical deadlock denied emerg error exception exceeded fail
 * fatal forbidden invalid killed overflow panic refused reject segfault severe timeout "timed out"
 * traceback unauthorized unavailable unreachable warn, also inside of longer words; err or oom as a
 * word of its own; rc, errno, returncode, exit (code, status) or "exited with" before a number
 * other than 0; status, code or HTTP/x.y before one other than 0 and 200 to 399; a line that starts
 * as glog's W, E and F lines do. */
size_t pith_line_error_find(const char *line, size_t len);

#endif
