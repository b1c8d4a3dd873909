/* What one line looks like. Private to runtime/text/route*.c. Pure; linear in the line. */
#ifndef PITH_TEXT_ROUTE_LINES_H
#define PITH_TEXT_ROUTE_LINES_H

#include <stdbool.h>
#include <stddef.h>

/* A line without its end, not blank; `s` has `len` bytes. */
typedef struct pith_line {
    const char *s;
    size_t len;
    size_t indent;  /* blanks and tabs before the first other character */
    unsigned marks; /* PITH_MARK_* of the bytes it holds: most searches end here */
} pith_line;

enum {
    PITH_MARK_COLON = 1 << 0,
    PITH_MARK_EQUALS = 1 << 1,
    PITH_MARK_PAREN = 1 << 2,   /* ( */
    PITH_MARK_BRACKET = 1 << 3, /* [ */
    PITH_MARK_DOT = 1 << 4,
    PITH_MARK_D = 1 << 5 /* the capital letter */
};

/* PITH_MARK_* of the bytes s[0, len). */
unsigned pith_line_marks(const char *s, size_t len);

/* A frame, a panic, a compiler's error or one of its quoted lines. */
bool pith_line_is_trace(const pith_line *line);
/* Starts with a time, a level, or both; or is logfmt. */
bool pith_line_is_log(const pith_line *line);
/* A hit of grep, a path of find, a row of ls -l. */
bool pith_line_is_search(const pith_line *line);
bool pith_line_is_prompt(const pith_line *line);
/* What build tools, package managers and test runners print. */
bool pith_line_is_build(const pith_line *line);
bool pith_line_is_code(const pith_line *line);
/* "diff --git", a hunk header, or a pair's "+++ b/file". */
bool pith_line_is_diff_mark(const pith_line *line);
/* A line of JSON that begins with a string, brackets before it or not: an object, a member, a
 * string of an array. */
bool pith_line_is_json_string(const pith_line *line);
/* Any other: brackets alone, a number or a word of an array. */
bool pith_line_is_json_rest(const pith_line *line);
/* A body line of a diff: begins with "+", "-" or is context. */
bool pith_line_is_diff_body(const pith_line *line);

#endif
