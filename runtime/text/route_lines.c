#include "runtime/text/route_lines.h"

#include <string.h>

#define COUNT(a) (sizeof(a) / sizeof *(a))

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

static bool starts_any(const char *s, size_t len, const char *const *prefixes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        if (starts(s, len, prefixes[i])) {
            return true;
        }
    }
    return false;
}

/* Needles are short, lines too, and most have not even the first character: memmem would prepare a
 * search first. At a needle's space its second character is looked for. */
static const char *find(const char *s, size_t len, const char *needle) {
    size_t n = strlen(needle);
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
    for (size_t i = 0; i < COUNT(marks); i++) {
        const char *at = find(s, len, marks[i]);
        if (at != NULL && at > s && (digit(at[-1]) || at[-1] == ')')) {
            return true;
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
        return find(s, len, "\", line ") != NULL;
    }
    if (starts(s, len, "at ")) {
        return memchr(s, '(', len) != NULL || memchr(s, ':', len) != NULL;
    }
    const char *go = find(s, len, ".go:");
    return go != NULL && (indent > 0 || find(s, len, " +0x") != NULL) && s[0] == '/';
}

bool pith_line_is_trace(const pith_line *line) {
    static const char *const heads[] = {"Traceback (most recent call last)",
                                        "goroutine ",
                                        "panic: ",
                                        "Caused by: ",
                                        "Exception in thread ",
                                        "thread '",
                                        "During handling of the above exception",
                                        "The above exception was the direct cause",
                                        "stack backtrace:",
                                        "Segmentation fault",
                                        "AddressSanitizer",
                                        "==ERROR",
                                        "#0 ",
                                        "... "};
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    if (starts_any(s, len, heads, COUNT(heads)) || is_frame(s, len, line->indent)) {
        return true;
    }
    return is_exception(s, len) || is_diagnostic(s, len) || is_quoted_source(line->s, line->len);
}

static bool is_time(const char *s, size_t len) {
    static const char *const shapes[] = {"dddd-dd-dd", "dddd/dd/dd", "dd:dd:dd",
                                         "dd/dd/dd",   "dd.dd.dddd", "dddddddddd.d"};
    for (size_t i = 0; i < COUNT(shapes); i++) {
        if (fits(s, len, shapes[i])) {
            return true;
        }
    }
    /* "Jan  2 15:04:05" */
    return len >= 15 && letter(s[0]) && letter(s[1]) && letter(s[2]) && s[3] == ' ' &&
           (fits(s + 7, len - 7, "dd:dd:dd"));
}

static bool is_level(const char *s, size_t len) {
    static const char *const levels[] = {"INFO",  "DEBUG",     "WARN",     "ERROR",   "TRACE",
                                         "FATAL", "NOTICE",    "CRITICAL", "info ",   "debug ",
                                         "warn ", "npm silly", "npm verb", "npm http"};
    return starts_any(s, len, levels, COUNT(levels));
}

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
        return is_time(inner, left) || is_level(inner, left) || clock;
    }
    if (is_time(s, len) || is_level(s, len)) {
        return true;
    }
    if (len > 5 && strchr("IWEF", s[0]) != NULL && fits(s + 1, len - 1, "dddd ")) { /* klog */
        return true;
    }
    if (find(s, len, "level=") != NULL || find(s, len, " msg=") != NULL) {
        return true;
    }
    const char *bracket = memchr(s, '[', len); /* "1.2.3.4 - - [01/Feb/2026:10:00:00" */
    return bracket != NULL && fits(bracket, len - (size_t)(bracket - s), "[dd/") &&
           find(s, len, ":") != NULL;
}

/* Characters of a path up to ":" or the end; 0 when it does not look like one. */
static size_t path_len(const char *s, size_t len) {
    size_t i = 0;
    bool marked = false;
    while (i < len && (name_char(s[i]) || strchr("/~+@,=", s[i]) != NULL)) {
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
    const char *end = find(at, len - (size_t)(at - s), "$ ");
    end = end != NULL ? end : find(at, len - (size_t)(at - s), "# ");
    return space == NULL && end != NULL && memchr(at, ':', (size_t)(end - at)) != NULL;
}

bool pith_line_is_build(const pith_line *line) {
    static const char *const heads[] = {"make: ",
                                        "make[",
                                        "gcc ",
                                        "g++ ",
                                        "cc ",
                                        "clang ",
                                        "[100%]",
                                        "-- ",
                                        "cmake ",
                                        "ninja: ",
                                        "npm ",
                                        "yarn ",
                                        "added ",
                                        "Compiling ",
                                        "Finished ",
                                        "Running ",
                                        "Downloading ",
                                        "Downloaded ",
                                        "Collecting ",
                                        "Using cached ",
                                        "Installing ",
                                        "Successfully ",
                                        "Requirement already satisfied",
                                        "Get:",
                                        "Hit:",
                                        "Reading ",
                                        "Building ",
                                        "Unpacking ",
                                        "Setting up ",
                                        "Preparing to ",
                                        "Selecting ",
                                        "Processing triggers",
                                        "ok  ",
                                        "ok \t",
                                        "--- PASS",
                                        "--- FAIL",
                                        "=== RUN",
                                        "PASS",
                                        "FAIL",
                                        "test ",
                                        "running ",
                                        "collected ",
                                        "+ ",
                                        "go: ",
                                        "Step ",
                                        " ---> ",
                                        "#1 ",
                                        "Linking ",
                                        "[1/",
                                        "Scanning "};
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    if (starts_any(s, len, heads, COUNT(heads))) {
        return true;
    }
    /* "[ 42%] Building", "[3/17] CC x.o", "tests/test_a.py::test_b PASSED" */
    if (len > 5 && s[0] == '[' && (digit(s[1]) || s[1] == ' ')) {
        const char *close = memchr(s, ']', len < 16 ? len : 16);
        return close != NULL && (close[-1] == '%' || memchr(s, '/', (size_t)(close - s)) != NULL);
    }
    return find(s, len, " PASSED") != NULL || find(s, len, " FAILED") != NULL ||
           find(s, len, " ... ok") != NULL;
}

bool pith_line_is_code(const pith_line *line) {
    static const char *const heads[] = {
        "def ",       "class ",     "import ",  "from ",      "#include", "#define",   "#if",
        "#endif",     "func ",      "fn ",      "return ",    "return;",  "if (",      "for (",
        "while (",    "else",       "} else",   "var ",       "let ",     "const ",    "public ",
        "private ",   "protected ", "static ",  "package ",   "use ",     "impl ",     "struct ",
        "enum ",      "type ",      "typedef ", "//",         "/*",       "*/",        "* ",
        "#!",         "@",          "async ",   "await ",     "export ",  "function ", "elif ",
        "try:",       "except ",    "with ",    "yield ",     "raise ",   "self.",     "switch (",
        "case ",      "namespace ", "template", "void ",      "int ",     "char ",     "bool ",
        "interface ", "SELECT ",    "CREATE ",  "INSERT ",    "UPDATE ",  "pub ",      "mod ",
        "match ",     "my ",        "sub ",     "use strict", "end",      "local ",    "module ",
        "require",    "\"\"\""};
    const char *s = line->s + line->indent;
    size_t len = line->len - line->indent;
    while (len > 0 && (s[len - 1] == '\r' || s[len - 1] == ' ' || s[len - 1] == '\t')) {
        len--;
    }
    if (len == 0) {
        return false;
    }
    char last = s[len - 1];
    bool call = find(s, len, "(") != NULL && (last == ':' || last == ')' || last == ',');
    bool assign = find(s, len, " = ") != NULL || find(s, len, " := ") != NULL ||
                  find(s, len, " += ") != NULL || find(s, len, " => ") != NULL;
    if (last == ';' || last == '{' || last == '}' || call || assign) {
        return true;
    }
    /* A keyword alone is also how a sentence begins: prose ends in a full stop. */
    return last != '.' && starts_any(s, len, heads, COUNT(heads)) && (line->indent > 0 || len < 80);
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
