/* Signs that a line tells of something going wrong. */
#include "runtime/decide/line_scan.h"
#include "runtime/decide/line_template.h"

#include <string.h>
#include <strings.h>

/* Found inside of longer words too: NullPointerException, "refused:", warnings. */
static const char *const stems[] = {
    "abort",     "alert",        "corrupt",     "crash",       "critical",  "deadlock",
    "denied",    "emerg",        "error",       "exceeded",    "exception", "fail",
    "fatal",     "forbidden",    "invalid",     "killed",      "overflow",  "panic",
    "refused",   "reject",       "segfault",    "severe",      "timed out", "timeout",
    "traceback", "unauthorized", "unavailable", "unreachable", "warn",
};

static bool starts(const char *s, size_t len, size_t at, const char *word) {
    size_t n = strlen(word);
    return at + n <= len && strncasecmp(s + at, word, n) == 0;
}

static bool has_stem(const char *s, size_t len, size_t at) {
    char lower = (char)(s[at] | 0x20);
    if (lower < 'a' || lower > 'w') {
        return false;
    }
    for (size_t i = 0; i < sizeof stems / sizeof *stems; i++) {
        if (stems[i][0] == lower && starts(s, len, at, stems[i])) {
            return true;
        }
    }
    return false;
}

static bool is_short_word(const char *s, size_t len, size_t at) {
    bool word = starts(s, len, at, "err") || starts(s, len, at, "oom");
    bool begins = at == 0 || !pith_scan_word(s[at - 1]);
    return word && begins && (at + 3 == len || !pith_scan_word(s[at + 3]));
}

/* Words before a number that says how something ended. */
typedef struct code_word {
    const char *text;
    bool process; /* 0 is the only good end; else those of HTTP from 200 to 399 are too */
} code_word;

static const code_word code_words[] = {
    {"status", false},    {"code", false},       {"rc", true},          {"errno", true},
    {"exit", true},       {"exit code", true},   {"exit status", true}, {"exit_code", true},
    {"exitcode", true},   {"exit-code", true},   {"exited with", true}, {"exited with code", true},
    {"returncode", true}, {"return code", true},
};

/* Where the number behind such a word or HTTP/1.1 begins, or `len`. */
static size_t code_at(const char *s, size_t len, size_t at, bool *process) {
    enum { GAP_BYTES_MAX = 4 }; /* `": ` or ` = ` */
    size_t end = len;
    *process = false;
    if (strchr("cehrsCEHRS", s[at]) == NULL) { /* how they all begin */
        return len;
    }
    if (starts(s, len, at, "http/") && at + 6 < len && pith_scan_digit(s[at + 5])) {
        end = at + 6 + (s[at + 6] == '.' ? 2 : 0);
    }
    for (size_t i = 0; i < sizeof code_words / sizeof *code_words; i++) {
        const code_word *word = &code_words[i];
        bool begins = word->text[1] != 'c' || at == 0 || !pith_scan_word(s[at - 1]); /* src */
        if (begins && starts(s, len, at, word->text)) {
            end = at + strlen(word->text);
            *process = word->process;
        }
    }
    size_t gap = end;
    while (gap < len && gap - end < GAP_BYTES_MAX && strchr("\"': =", s[gap]) != NULL) {
        gap++;
    }
    return gap > end ? gap : len;
}

static bool is_bad_code(const char *s, size_t len, size_t at, bool process) {
    size_t from = at + (at < len && s[at] == '-');
    size_t end = from;
    while (end < len && pith_scan_digit(s[end])) {
        end++;
    }
    if (end == from || (end < len && pith_scan_word(s[end]))) {
        return false;
    }
    bool zero = end - from == 1 && s[from] == '0';
    bool http = from == at && end - from == 3 && (s[from] == '2' || s[from] == '3');
    return !zero && (process || !http);
}

/* W1121 12:07:00.000000: glog's lines of warnings, errors and fatal errors. */
static bool is_glog(const char *s, size_t len) {
    if (len < 6 || (s[0] != 'W' && s[0] != 'E' && s[0] != 'F') || s[5] != ' ') {
        return false;
    }
    return pith_scan_digit(s[1]) && pith_scan_digit(s[2]) && pith_scan_digit(s[3]) &&
           pith_scan_digit(s[4]);
}

size_t pith_line_error_find(const char *line, size_t len) {
    if (is_glog(line, len)) {
        return 0;
    }
    for (size_t at = 0; at < len; at++) {
        if (!pith_scan_letter(line[at])) {
            continue;
        }
        if (has_stem(line, len, at) || is_short_word(line, len, at)) {
            return at;
        }
        bool process;
        size_t code = code_at(line, len, at, &process);
        if (code < len && is_bad_code(line, len, code, process)) {
            return code;
        }
    }
    return len;
}
