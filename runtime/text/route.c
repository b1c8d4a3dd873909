/* Routing counts what the lines of a bounded prefix look like; the first rule that holds wins. */
#include "runtime/text/route.h"

#include "runtime/text/route_lines.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
    PREFIX_BYTES = 64 * 1024, /* the header's promise */
    LINE_BYTES = 512          /* of one line that are looked at */
};

static const char *const names[PITH_DOMAIN_COUNT] = {
    "auto", "prose", "code", "log", "json", "diff", "search", "shell", "error_trace"};

const char *pith_domain_name(pith_domain domain) {
    return (unsigned)domain < PITH_DOMAIN_COUNT ? names[domain] : "unknown";
}

pith_domain pith_domain_find(const char *name) {
    for (unsigned i = 0; i < PITH_DOMAIN_COUNT; i++) {
        if (strcmp(names[i], name) == 0) {
            return (pith_domain)i;
        }
    }
    return PITH_DOMAIN_COUNT;
}

/* End of the JSON string that starts at text[pos], or len when it is not closed. */
static size_t string_end(const char *text, size_t len, size_t pos) {
    for (pos++; pos < len; pos++) {
        if (text[pos] == '\\') {
            pos++;
        } else if (text[pos] == '"') {
            return pos + 1;
        }
    }
    return len;
}

/* What stands outside of JSON's strings. */
static const bool lexical[256] = {
    [' '] = true, ['\t'] = true, ['\r'] = true, ['\n'] = true, ['{'] = true, ['}'] = true,
    ['['] = true, [']'] = true,  [','] = true,  [':'] = true,  ['0'] = true, ['1'] = true,
    ['2'] = true, ['3'] = true,  ['4'] = true,  ['5'] = true,  ['6'] = true, ['7'] = true,
    ['8'] = true, ['9'] = true,  ['+'] = true,  ['-'] = true,  ['.'] = true, ['e'] = true,
    ['E'] = true, ['t'] = true,  ['r'] = true,  ['u'] = true,  ['f'] = true, ['a'] = true,
    ['l'] = true, ['s'] = true,  ['n'] = true};

/* True when all of the prefix consists of JSON's lexical elements, starting with a bracket and
 * holding a string or an inner bracket or comma. A cut at the prefix's end does not matter. */
static bool is_json(const char *text, size_t len) {
    size_t pos = 0;
    while (pos < len && strchr(" \t\r\n", text[pos]) != NULL && text[pos] != '\0') {
        pos++;
    }
    if (pos == len || (text[pos] != '{' && text[pos] != '[')) {
        return false;
    }
    uint32_t inside = 0;
    uint32_t depth = 0;
    while (pos < len) {
        char c = text[pos];
        if (c == '"') {
            pos = string_end(text, len, pos);
            inside++;
            continue;
        }
        if (!lexical[(unsigned char)c]) {
            return false;
        }
        depth += c == '{' || c == '[';
        inside += c == ',';
        if ((c == '-' || c == ':') && depth == 0) {
            return false;
        }
        pos++;
    }
    return inside > 0 || depth > 1;
}

typedef struct tally {
    uint32_t lines; /* not blank */
    uint32_t trace;
    uint32_t log;
    uint32_t search;
    uint32_t prompt;
    uint32_t build;
    uint32_t code;
    uint32_t diff_mark;
    uint32_t diff_body;
    uint32_t diff_added;
    uint32_t json_string;
    uint32_t json_rest;
} tally;

static void count_line(tally *t, const char *s, size_t len) {
    pith_line line = {.s = s, .len = len < LINE_BYTES ? len : LINE_BYTES};
    while (line.len > 0 &&
           (s[line.len - 1] == ' ' || s[line.len - 1] == '\t' || s[line.len - 1] == '\r')) {
        line.len--;
    }
    while (line.indent < line.len && (s[line.indent] == ' ' || s[line.indent] == '\t')) {
        line.indent++;
    }
    if (line.indent == line.len) {
        return;
    }
    line.marks = pith_line_marks(s, line.len);
    bool json_string = pith_line_is_json_string(&line);
    t->lines++;
    t->trace += pith_line_is_trace(&line);
    t->log += pith_line_is_log(&line);
    t->search += pith_line_is_search(&line);
    t->prompt += pith_line_is_prompt(&line);
    t->build += pith_line_is_build(&line);
    t->code += pith_line_is_code(&line);
    t->diff_mark += pith_line_is_diff_mark(&line);
    t->diff_body += pith_line_is_diff_body(&line);
    t->diff_added += line.s[0] == '+';
    t->json_string += json_string;
    t->json_rest += !json_string && pith_line_is_json_rest(&line);
}

static tally count_lines(const char *text, size_t len) {
    tally t = {0};
    size_t start = 0;
    while (start < len) {
        const char *nl = memchr(text + start, '\n', len - start);
        size_t end = nl == NULL ? len : (size_t)(nl - text);
        count_line(&t, text + start, end - start);
        start = end + 1;
    }
    return t;
}

static bool share(uint32_t part, uint32_t whole, uint32_t percent) {
    return part > 0 && (uint64_t)part * 100 >= (uint64_t)whole * percent;
}

/* The shares were set on the hand-written examples of the test; those of pieces that begin within a
 * file also on the text that pith-mini is trained with. */
static pith_domain decide(const tally *t) {
    if (t->json_string >= 2 && share(t->json_string + t->json_rest, t->lines, 90)) {
        return PITH_DOMAIN_JSON; /* lines from within a document */
    }
    if (t->diff_mark >= 2 && share(t->diff_mark + t->diff_body, t->lines, 50)) {
        return PITH_DOMAIN_DIFF;
    }
    if (t->lines >= 4 && share(t->diff_added, t->lines, 20) && share(t->diff_body, t->lines, 95)) {
        return PITH_DOMAIN_DIFF; /* from within a hunk */
    }
    if (t->prompt > 0 && share(t->prompt + t->build, t->lines, 10)) {
        return PITH_DOMAIN_SHELL;
    }
    if (share(t->trace, t->lines, 30) && t->trace >= t->log) {
        return PITH_DOMAIN_ERROR_TRACE;
    }
    if (share(t->log, t->lines, 40)) {
        return PITH_DOMAIN_LOG;
    }
    if (t->search >= 2 && share(t->search, t->lines, 60)) {
        return PITH_DOMAIN_SEARCH;
    }
    if (t->build >= 2 && share(t->build, t->lines, 35)) {
        return PITH_DOMAIN_SHELL;
    }
    return share(t->code, t->lines, 40) ? PITH_DOMAIN_CODE : PITH_DOMAIN_PROSE;
}

pith_domain pith_route(const char *text, size_t len) {
    len = len < PREFIX_BYTES ? len : PREFIX_BYTES;
    if (is_json(text, len)) {
        return PITH_DOMAIN_JSON;
    }
    tally t = count_lines(text, len);
    return decide(&t);
}
