#include "runtime/text/route_lines.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

unsigned pith_line_marks(const char *s, size_t len) {
    static const unsigned char marks[256] = {
        [':'] = PITH_MARK_COLON,   ['='] = PITH_MARK_EQUALS, ['('] = PITH_MARK_PAREN,
        ['['] = PITH_MARK_BRACKET, ['.'] = PITH_MARK_DOT,    ['D'] = PITH_MARK_D};
    unsigned all = 0;
    for (size_t i = 0; i < len; i++) {
        all |= marks[(unsigned char)s[i]];
    }
    return all;
}

static bool holds(const pith_line *line, unsigned mark) {
    return (line->marks & mark) != 0;
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

static bool letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool name_char(char c) {
    return letter(c) || digit(c) || c == '_' || c == '-' || c == '.';
}

static bool starts(const char *s, size_t len, const char *prefix) {
    if (len == 0 || s[0] != prefix[0]) {
        return false;
    }
    size_t n = strlen(prefix);
    return len >= n && memcmp(s, prefix, n) == 0;
}

/* What lines begin with, by the first byte: NUL-ended, and an empty one (the literal's own end)
 * after the last. */
typedef const char *heads[128];

static bool starts_any(const heads all, const char *s, size_t len) {
    const char *head = len > 0 && (unsigned char)s[0] < 128 ? all[(unsigned char)s[0]] : NULL;
    while (head != NULL && *head != '\0') {
        size_t n = 1;
        while (head[n] != '\0' && n < len && head[n] == s[n]) {
            n++;
        }
        if (head[n] == '\0') {
            return true;
        }
        head += n + strlen(head + n) + 1;
    }
    return false;
}

/* Needles are short, lines too, and most have not even the first character: memmem would prepare a
 * search first. At a needle's space its second character is looked for. */
static const char *find_bytes(const char *s, size_t len, const char *needle, size_t n) {
    size_t anchor = needle[0] == ' ' && n > 1 ? 1 : 0;
    const char *end = s + len;
    while ((size_t)(end - s) >= n) {
        const char *at = memchr(s + anchor, needle[anchor], (size_t)(end - s) - n + 1);
        if (at == NULL) {
            return NULL;
        }
        at -= anchor;
        if (memcmp(at, needle, n) == 0) {
            return at;
        }
        s = at + 1;
    }
    return NULL;
}

#define FIND(s, len, needle) find_bytes((s), (len), (needle), sizeof(needle) - 1)

/* Digits d and literal characters: "dddd-dd-dd" fits "2026-01-31". */
static bool fits(const char *s, size_t len, const char *shape) {
    size_t n = strlen(shape);
    if (len < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (shape[i] == 'd' ? !digit(s[i]) : shape[i] != s[i]) {
            return false;
        }
    }
    return true;
}

/* "12 | code" or "   | ^~~" of gcc, clang and rustc. */
static bool is_quoted_source(const char *s, size_t len) {
    size_t i = 0;
    while (i < len && (s[i] == ' ' || digit(s[i]))) {
        i++;
    }
    return i > 1 && i < len && s[i] == '|';
}

/* ":12:5: error:" and its kin after a file name; also ":12: error". */
static bool is_diagnostic(const char *s, size_t len) {
    static const char *const marks[] = {
        ": error:", ": warning:", ": note:", ": fatal error:", ": error TS", ": error["};
    unsigned seen = 0; /* only the first of a kind counts */
    const char *end = s + len;
    for (const char *at = s; (at = memchr(at, ':', (size_t)(end - at))) != NULL; at++) {
        for (size_t i = 0; i < COUNT(marks) && end - at > 1 && at[1] == ' '; i++) {
            if ((seen >> i & 1) == 0 && starts(at, (size_t)(end - at), marks[i])) {
                if (at > s && (digit(at[-1]) || at[-1] == ')')) {
                    return true;
                }
                seen |= 1U << i;
            }
        }
    }
    return starts(s, len, "error[E") || starts(s, len, "--> ");
}

/* "SomethingError: text" or "package.SomeException" at the line's start. */
static bool is_exception(const char *s, size_t len) {
    size_t i = 0;
    while (i < len && (name_char(s[i]) || s[i] == '$')) {
        i++;
    }
    static const char *const ends[] = {"Error", "Exception", "Interrupt", "Warning"};
    for (size_t e = 0; e < COUNT(ends); e++) {
        size_t n = strlen(ends[e]);
        if (i >= n && memcmp(s + i - n, ends[e], n) == 0) {
            return i == len || s[i] == ':';
        }
    }
    return false;
}

/* "at f (file.js:1:2)", "at a.b.C.d(C.java:12)", "File "x.py", line 3", "/go/x.go:12 +0x1d". */
static bool is_frame(const char *s, size_t len, size_t indent) {
    if (starts(s, len, "File \"")) {
        return FIND(s, len, "\", line ") != NULL;
    }
    if (starts(s, len, "at ")) {
        return memchr(s, '(', len) != NULL || memchr(s, ':', len) != NULL;
    }
    return s[0] == '/' && FIND(s, len, ".go:") != NULL &&
           (indent > 0 || FIND(s, len, " +0x") != NULL);
}

static const heads trace_heads = {
    ['#'] = "#0 \0",
    ['.'] = "... \0",
    ['='] = "==ERROR\0",
    ['A'] = "AddressSanitizer\0",
    ['C'] = "Caused by: \0",
    ['D'] = "During handling of the above exception\0",
    ['E'] = "Exception in thread \0",
    ['S'] = "Segmentation fault\0",
    ['T'] = "Traceback (most recent call last)\0The above exception was the direct cause\0",
    ['g'] = "goroutine \0",
    ['p'] = "panic: \0",
    ['s'] = "stack backtrace:\0",
    ['t'] = "thread '\0",
};

bool pith_line_is_trace(const pith_line *line) {
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    if (starts_any(trace_heads, s, len) || is_frame(s, len, line->indent)) {
        return true;
    }
    return is_exception(s, len) || is_diagnostic(s, len) || is_quoted_source(line->s, line->len);
}

static bool is_time(const char *s, size_t len) {
    static const char *const shapes[] = {"dddd-dd-dd", "dddd/dd/dd", "dd:dd:dd",
                                         "dd/dd/dd",   "dd.dd.dddd", "dddddddddd.d"};
    for (size_t i = 0; i < COUNT(shapes) && len > 0 && digit(s[0]); i++) {
        if (fits(s, len, shapes[i])) {
            return true;
        }
    }
    /* "Jan  2 15:04:05" */
    return len >= 15 && letter(s[0]) && letter(s[1]) && letter(s[2]) && s[3] == ' ' &&
           (fits(s + 7, len - 7, "dd:dd:dd"));
}

static const heads levels = {
    ['C'] = "CRITICAL\0",
    ['D'] = "DEBUG\0",
    ['E'] = "ERROR\0",
    ['F'] = "FATAL\0",
    ['I'] = "INFO\0",
    ['N'] = "NOTICE\0",
    ['T'] = "TRACE\0",
    ['W'] = "WARN\0",
    ['d'] = "debug \0",
    ['i'] = "info \0",
    ['n'] = "npm silly\0npm verb\0npm http\0",
    ['w'] = "warn \0",
};

bool pith_line_is_log(const pith_line *line) {
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    if (len > 1 && (s[0] == '[' || s[0] == '(')) {
        const char *inner = s + 1;
        size_t left = len - 1;
        while (left > 0 && *inner == ' ') { /* "[    1.234567] usb" */
            inner++;
            left--;
        }
        const char *close = memchr(inner, ']', left);
        bool clock = left > 0 && digit(*inner) && close != NULL &&
                     memchr(inner, '.', (size_t)(close - inner)) != NULL;
        return is_time(inner, left) || starts_any(levels, inner, left) || clock;
    }
    if (is_time(s, len) || starts_any(levels, s, len)) {
        return true;
    }
    if (len > 5 && strchr("IWEF", s[0]) != NULL && fits(s + 1, len - 1, "dddd ")) { /* klog */
        return true;
    }
    if (holds(line, PITH_MARK_EQUALS) &&
        (FIND(s, len, "level=") != NULL || FIND(s, len, " msg=") != NULL)) {
        return true;
    }
    if (!holds(line, PITH_MARK_BRACKET) || !holds(line, PITH_MARK_COLON)) {
        return false;
    }
    const char *bracket = memchr(s, '[', len); /* "1.2.3.4 - - [01/Feb/2026:10:00:00" */
    return fits(bracket, len - (size_t)(bracket - s), "[dd/");
}

static bool path_char(char c) {
    return name_char(c) || c == '/' || c == '~' || c == '+' || c == '@' || c == ',' || c == '=' ||
           c == '\0';
}

/* Characters of a path up to ":" or the end; 0 when it does not look like one. */
static size_t path_len(const char *s, size_t len) {
    size_t i = 0;
    bool marked = false;
    while (i < len && path_char(s[i])) {
        marked = marked || s[i] == '/' || (s[i] == '.' && i > 0);
        i++;
    }
    return marked ? i : 0;
}

static bool is_mode(const char *s, size_t len) {
    if (len < 11 || strchr("-dlcbps", s[0]) == NULL) {
        return false;
    }
    for (size_t i = 1; i < 10; i++) {
        if (strchr("rwxsStT-", s[i]) == NULL) {
            return false;
        }
    }
    return s[10] == ' ' || s[10] == '.' || s[10] == '+';
}

bool pith_line_is_search(const pith_line *line) {
    const char *s = line->s;
    size_t len = line->len;
    if (line->indent > 0) {
        return false;
    }
    if (is_mode(s, len) || (starts(s, len, "total ") && len > 6 && digit(s[6]))) {
        return true;
    }
    size_t n = path_len(s, len);
    if (n == 0) {
        return false;
    }
    if (n == len) { /* find: the path is all there is */
        return memchr(s, '/', len) != NULL;
    }
    if (s[n] == ':' || (s[n] == '-' && n + 1 < len && digit(s[n + 1]))) {
        bool number = n + 1 < len && digit(s[n + 1]);
        bool url = n + 2 < len && s[n + 1] == '/' && s[n + 2] == '/';
        return !url && (number || memchr(s, '/', n) != NULL || memchr(s, '.', n) != NULL);
    }
    return false;
}

bool pith_line_is_prompt(const pith_line *line) {
    const char *s = line->s;
    size_t len = line->len;
    if (starts(s, len, "$ ") || starts(s, len, "% ") || starts(s, len, ">>> ") ||
        starts(s, len, "PS C:\\")) {
        return true;
    }
    const char *at = memchr(s, '@', len < 64 ? len : 64); /* user@host:~/dir$ command */
    if (at == NULL) {
        return false;
    }
    const char *space = memchr(s, ' ', (size_t)(at - s));
    const char *end = FIND(at, len - (size_t)(at - s), "$ ");
    end = end != NULL ? end : FIND(at, len - (size_t)(at - s), "# ");
    return space == NULL && end != NULL && memchr(at, ':', (size_t)(end - at)) != NULL;
}

static const heads build_heads = {
    [' '] = " ---> \0",
    ['#'] = "#1 \0",
    ['+'] = "+ \0",
    ['-'] = "-- \0--- PASS\0--- FAIL\0",
    ['='] = "=== RUN\0",
    ['B'] = "Building \0",
    ['C'] = "Compiling \0Collecting \0",
    ['D'] = "Downloading \0Downloaded \0",
    ['F'] = "Finished \0FAIL\0",
    ['G'] = "Get:\0",
    ['H'] = "Hit:\0",
    ['I'] = "Installing \0",
    ['L'] = "Linking \0",
    ['P'] = "Preparing to \0Processing triggers\0PASS\0",
    ['R'] = "Running \0Requirement already satisfied\0Reading \0",
    ['S'] = "Successfully \0Setting up \0Selecting \0Step \0Scanning \0",
    ['U'] = "Using cached \0Unpacking \0",
    ['['] = "[100%]\0[1/\0",
    ['a'] = "added \0",
    ['c'] = "cc \0clang \0cmake \0collected \0",
    ['g'] = "gcc \0g++ \0go: \0",
    ['m'] = "make: \0make[\0",
    ['n'] = "ninja: \0npm \0",
    ['o'] = "ok  \0ok \t\0",
    ['r'] = "running \0",
    ['t'] = "test \0",
    ['y'] = "yarn \0",
};

bool pith_line_is_build(const pith_line *line) {
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    if (starts_any(build_heads, s, len)) {
        return true;
    }
    /* "[ 42%] Building", "[3/17] CC x.o", "tests/test_a.py::test_b PASSED" */
    if (len > 5 && s[0] == '[' && (digit(s[1]) || s[1] == ' ')) {
        const char *close = memchr(s, ']', len < 16 ? len : 16);
        return close != NULL && (close[-1] == '%' || memchr(s, '/', (size_t)(close - s)) != NULL);
    }
    bool tested = holds(line, PITH_MARK_D) &&
                  (FIND(s, len, " PASSED") != NULL || FIND(s, len, " FAILED") != NULL);
    return tested || (holds(line, PITH_MARK_DOT) && FIND(s, len, " ... ok") != NULL);
}

static const heads code_heads = {
    ['#'] = "#include\0#define\0#if\0#endif\0#!\0",
    ['*'] = "*/\0* \0",
    ['/'] = "//\0/*\0",
    ['@'] = "@\0",
    ['C'] = "CREATE \0",
    ['I'] = "INSERT \0",
    ['S'] = "SELECT \0",
    ['U'] = "UPDATE \0",
    ['"'] = "\"\"\"\0",
    ['a'] = "async \0await \0",
    ['b'] = "bool \0",
    ['c'] = "class \0const \0case \0char \0",
    ['d'] = "def \0",
    ['e'] = "else\0enum \0export \0elif \0except \0end\0",
    ['f'] = "from \0func \0fn \0for (\0function \0",
    ['i'] = "import \0if (\0impl \0int \0interface \0",
    ['l'] = "let \0local \0",
    ['m'] = "mod \0match \0my \0module \0",
    ['n'] = "namespace \0",
    ['p'] = "public \0private \0protected \0package \0pub \0",
    ['r'] = "return \0return;\0raise \0require\0",
    ['s'] = "static \0struct \0self.\0switch (\0sub \0",
    ['t'] = "type \0typedef \0try:\0template\0",
    ['u'] = "use \0use strict\0",
    ['v'] = "var \0void \0",
    ['w'] = "while (\0with \0",
    ['y'] = "yield \0",
    ['}'] = "} else\0",
};

bool pith_line_is_code(const pith_line *line) {
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    while (len > 0 && (s[len - 1] == '\r' || s[len - 1] == ' ' || s[len - 1] == '\t')) {
        len--;
    }
    if (len == 0) {
        return false;
    }
    char last = s[len - 1];
    bool call = holds(line, PITH_MARK_PAREN) && (last == ':' || last == ')' || last == ',');
    bool assign = holds(line, PITH_MARK_EQUALS) &&
                  (FIND(s, len, " = ") != NULL || FIND(s, len, " := ") != NULL ||
                   FIND(s, len, " += ") != NULL || FIND(s, len, " => ") != NULL);
    if (last == ';' || last == '{' || last == '}' || call || assign) {
        return true;
    }
    /* A keyword alone is also how a sentence begins: prose ends in a full stop. */
    return last != '.' && starts_any(code_heads, s, len) && (line->indent > 0 || len < 80);
}

bool pith_line_is_json_string(const pith_line *line) {
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    size_t i = 0;
    while (i < len && (s[i] == '{' || s[i] == '[')) { /* an object a line */
        i++;
    }
    if (i == len || s[i] != '"') {
        return false;
    }
    for (i++; i < len && s[i] != '"';) {
        i += s[i] == '\\' ? 2 : 1;
    }
    for (i++; i < len && s[i] == ' '; i++) {
    }
    return i >= len || s[i] == ':' || s[i] == ','; /* a long line may be cut within its string */
}

bool pith_line_is_json_rest(const pith_line *line) {
    static const char *const words[] = {"true", "false", "null"};
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    len -= s[len - 1] == ',';
    for (size_t i = 0; i < COUNT(words); i++) {
        if (len == strlen(words[i]) && starts(s, len, words[i])) {
            return true;
        }
    }
    bool brackets = true;
    bool number = true;
    for (size_t i = 0; i < len && (brackets || number); i++) {
        brackets = brackets && s[i] != '\0' && strchr("{}[], ", s[i]) != NULL;
        number = number && s[i] != '\0' && strchr("0123456789+-.eE", s[i]) != NULL;
    }
    return brackets || number;
}

bool pith_line_is_diff_mark(const pith_line *line) {
    const char *s = line->s;
    size_t len = line->len;
    if (starts(s, len, "diff --git ") || starts(s, len, "diff -") || starts(s, len, "Index: ")) {
        return true;
    }
    if (starts(s, len, "@@ -") && len > 4 && digit(s[4])) {
        return true;
    }
    return starts(s, len, "+++ ") || starts(s, len, "--- a/") || starts(s, len, "--- /dev/null");
}

bool pith_line_is_diff_body(const pith_line *line) {
    return strchr("+- @", line->s[0]) != NULL;
}
