#include "runtime/decide/line_scan.h"

#include <string.h>
#include <strings.h>

enum {
    UNIT_LETTERS_MAX = 5,   /* Mbit, tasks: as the critical class number_unit */
    HEX_DIGITS_MIN = 6,     /* abbreviated hashes and request ids */
    EXTENSION_BYTES_MAX = 5 /* .json, .proto */
};

size_t pith_scan_word_end(const char *s, size_t len, size_t at) {
    while (at < len && pith_scan_word(s[at])) {
        at++;
    }
    return at;
}

static bool hex_digit(char c) {
    return pith_scan_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Digits from `at` on, at most max of them. */
static size_t digits(const char *s, size_t len, size_t at, size_t max) {
    size_t n = 0;
    while (n < max && at + n < len && pith_scan_digit(s[at + n])) {
        n++;
    }
    return n;
}

static bool ends_word(const char *s, size_t len, size_t at) {
    return at >= len || !pith_scan_word(s[at]);
}

static bool is_at(const char *s, size_t len, size_t at, char c) {
    return at < len && s[at] == c;
}

size_t pith_scan_uuid(const char *s, size_t len, size_t at) {
    static const size_t parts[] = {8, 4, 4, 4, 12};
    for (size_t p = 0; p < 5; p++) {
        for (size_t i = 0; i < parts[p]; i++, at++) {
            if (at >= len || !hex_digit(s[at])) {
                return 0;
            }
        }
        if (p < 4 && !is_at(s, len, at++, '-')) {
            return 0;
        }
    }
    return ends_word(s, len, at) ? at : 0;
}

/* Index of the three letters at `at` in a list of names, when they are a word: true. */
static bool names(const char *list, const char *s, size_t len, size_t at) {
    if (at + 3 > len || !ends_word(s, len, at + 3)) {
        return false;
    }
    for (; *list != '\0'; list += 3) {
        if (memcmp(list, s + at, 3) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_month(const char *s, size_t len, size_t at) {
    return names("JanFebMarAprMayJunJulAugSepOctNovDec", s, len, at);
}

static size_t skip_spaces(const char *s, size_t len, size_t at) {
    while (is_at(s, len, at, ' ')) {
        at++;
    }
    return at;
}

/* hh:mm:ss and decimals; without seconds only where `short_form`. */
static size_t scan_clock(const char *s, size_t len, size_t at, bool short_form) {
    size_t hours = digits(s, len, at, 3);
    if (hours < 1 || hours > 2 || !is_at(s, len, at + hours, ':') ||
        digits(s, len, at + hours + 1, 3) != 2) {
        return 0;
    }
    at += hours + 3;
    if (!is_at(s, len, at, ':') || digits(s, len, at + 1, 3) != 2) {
        return short_form ? at : 0;
    }
    at += 3;
    if (at < len && (s[at] == '.' || s[at] == ',')) {
        size_t n = digits(s, len, at + 1, 9); /* nanoseconds */
        at += n > 0 ? n + 1 : 0;
    }
    return at;
}

/* Z, +00:00, +0000, " +0000", " UTC", " GMT"; `at` where there is none. */
static size_t scan_zone(const char *s, size_t len, size_t at) {
    if (is_at(s, len, at, 'Z')) {
        return at + 1;
    }
    size_t sign = is_at(s, len, at, ' ') ? at + 1 : at;
    if (sign > at && (names("UTCGMT", s, len, sign))) {
        return sign + 3;
    }
    if (sign < len && (s[sign] == '+' || s[sign] == '-') && digits(s, len, sign + 1, 2) == 2) {
        size_t minutes = is_at(s, len, sign + 3, ':') ? sign + 4 : sign + 3;
        return digits(s, len, minutes, 3) == 2 ? minutes + 2 : at;
    }
    return at;
}

/* 2026-11-21, 2026/11/21 */
static size_t scan_iso_date(const char *s, size_t len, size_t at) {
    if (digits(s, len, at, 5) != 4 || at + 10 > len || (s[at + 4] != '-' && s[at + 4] != '/') ||
        s[at + 7] != s[at + 4] || digits(s, len, at + 5, 3) != 2) {
        return 0;
    }
    return digits(s, len, at + 8, 3) == 2 ? at + 10 : 0;
}

/* Nov 21, Nov  1; 21/Nov/2026, 21 Nov 2026, 21-Nov-2026 */
static size_t scan_named_date(const char *s, size_t len, size_t at) {
    if (is_month(s, len, at)) {
        size_t day = skip_spaces(s, len, at + 3);
        size_t n = digits(s, len, day, 3);
        return day > at + 3 && day <= at + 5 && (n == 1 || n == 2) ? day + n : 0;
    }
    size_t n = digits(s, len, at, 3);
    if (n < 1 || n > 2 || at + n >= len || strchr("/- ", s[at + n]) == NULL ||
        !is_month(s, len, at + n + 1) || !is_at(s, len, at + n + 4, s[at + n])) {
        return 0;
    }
    return digits(s, len, at + n + 5, 5) == 4 ? at + n + 9 : 0;
}

size_t pith_scan_time(const char *s, size_t len, size_t at) {
    size_t from = at;
    if (names("MonTueWedThuFriSatSun", s, len, at)) {
        from = skip_spaces(s, len, is_at(s, len, at + 3, ',') ? at + 4 : at + 3);
    }
    size_t iso = scan_iso_date(s, len, from);
    size_t date = iso > 0 ? iso : scan_named_date(s, len, from);
    size_t clock = 0;
    if (date == 0) {
        clock = scan_clock(s, len, from, false);
    } else if (date < len && strchr("T :_", s[date]) != NULL && s[date] != '\0') {
        clock = scan_clock(s, len, date + 1, true);
    }
    size_t end = clock > 0 ? scan_zone(s, len, clock) : date;
    if (clock > 0 && iso == 0 && is_at(s, len, end, ' ') && digits(s, len, end + 1, 5) == 4) {
        end += 5; /* Nov 21 12:07:00 2026 */
    }
    return end > 0 && ends_word(s, len, end) ? end : 0;
}

/* A chain of numbers is read from its first one only, or each of them would read it again. */
static bool inside_chain(const char *s, size_t at) {
    return at >= 2 && (s[at - 1] == '.' || s[at - 1] == ',') && pith_scan_digit(s[at - 2]);
}

size_t pith_scan_version(const char *s, size_t len, size_t at) {
    size_t parts = 0;
    while (!inside_chain(s, at) || parts > 0) {
        size_t n = digits(s, len, at, len);
        if (n == 0) {
            return 0;
        }
        parts++;
        at += n;
        if (!is_at(s, len, at, '.') || at + 1 >= len || !pith_scan_digit(s[at + 1])) {
            break;
        }
        at++;
    }
    return parts == 3 && ends_word(s, len, at) ? at : 0;
}

/* Digits with groups after "." and ",". */
static size_t scan_decimal(const char *s, size_t len, size_t at) {
    size_t n = digits(s, len, at, len);
    while (n > 0) {
        at += n;
        bool group = at < len && (s[at] == '.' || s[at] == ',');
        n = group ? digits(s, len, at + 1, len) : 0;
        at += n > 0;
    }
    return at;
}

static size_t unit_end(const char *s, size_t len, size_t at) {
    if (is_at(s, len, at, '%')) {
        return at + 1;
    }
    size_t end = at;
    while (end < len && end - at <= UNIT_LETTERS_MAX && pith_scan_letter(s[end])) {
        end++;
    }
    return end - at <= UNIT_LETTERS_MAX ? end : at;
}

/* d, h, m, s, ms, us, ns: what stands between the numbers of a compound duration. */
static bool is_duration_unit(const char *s, size_t from, size_t to) {
    return (to - from == 1 && strchr("dhms", s[from]) != NULL) ||
           (to - from == 2 && s[from + 1] == 's' && strchr("mun", s[from]) != NULL);
}

size_t pith_scan_number(const char *s, size_t len, size_t at) {
    bool apart = at == 0 || !(pith_scan_word(s[at - 1]) || strchr(")]-+.", s[at - 1]) != NULL);
    at += (s[at] == '-' || s[at] == '+') && apart;
    if (at >= len || !pith_scan_digit(s[at]) || inside_chain(s, at)) {
        return 0;
    }
    at = scan_decimal(s, len, at);
    if (at < len && (s[at] == 'e' || s[at] == 'E')) {
        size_t sign = at + 1 < len && (s[at + 1] == '-' || s[at + 1] == '+') ? at + 2 : at + 1;
        size_t n = digits(s, len, sign, 4);
        at = n > 0 && ends_word(s, len, sign + n) ? sign + n : at;
    }
    for (;;) {
        size_t unit = unit_end(s, len, at);
        if (ends_word(s, len, unit)) {
            return unit;
        }
        if (!pith_scan_digit(s[unit]) || !is_duration_unit(s, at, unit)) {
            return 0;
        }
        at = scan_decimal(s, len, unit);
    }
}

size_t pith_scan_hex(const char *s, size_t len, size_t at) {
    bool prefixed = is_at(s, len, at, '0') && at + 1 < len && (s[at + 1] | 0x20) == 'x';
    size_t from = prefixed ? at + 2 : at;
    bool digit = prefixed;
    size_t end = from;
    for (; end < len && hex_digit(s[end]); end++) {
        digit = digit || pith_scan_digit(s[end]);
    }
    bool enough = end - from >= (prefixed ? 1 : HEX_DIGITS_MIN);
    return digit && enough && ends_word(s, len, end) ? end : 0;
}

static bool path_char(char c) {
    return pith_scan_word(c) || (c != '\0' && strchr("/.~@+%-", c) != NULL);
}

/* What may stand in a URL or behind the "?" of a request's path. */
static size_t url_end(const char *s, size_t len, size_t at) {
    while (at < len && !pith_scan_space(s[at]) && strchr("\"'`<>()[]{}|,", s[at]) == NULL) {
        at++;
    }
    return at;
}

static size_t scan_url(const char *s, size_t len, size_t at) {
    enum { SCHEME_BYTES_MAX = 16 };
    size_t end = at;
    while (end < len && end - at <= SCHEME_BYTES_MAX && pith_scan_letter(s[end])) {
        end++;
    }
    bool url = end > at && end + 3 < len && memcmp(s + end, "://", 3) == 0;
    return url ? url_end(s, len, end + 3) : 0;
}

static size_t scan_drive(const char *s, size_t len, size_t at) {
    if (at + 3 >= len || !pith_scan_letter(s[at]) || s[at + 1] != ':' || s[at + 2] != '\\') {
        return 0;
    }
    at += 3;
    while (at < len && (path_char(s[at]) || s[at] == '\\')) {
        at++;
    }
    return at;
}

/* The last component ends as files do. */
static bool has_extension(const char *s, size_t from, size_t to) {
    size_t dot = to;
    bool letter = false;
    while (dot > from && to - dot < EXTENSION_BYTES_MAX && pith_scan_word(s[dot - 1])) {
        letter = letter || pith_scan_letter(s[dot - 1]);
        dot--;
    }
    return letter && dot > from && s[dot - 1] == '.';
}

static bool starts_as_path(const char *s, size_t from, size_t to) {
    size_t at = from + (s[from] == '~');
    while (at < to && at - from < 2 && s[at] == '.') {
        at++;
    }
    return at + 1 < to && s[at] == '/' && (pith_scan_word(s[at + 1]) || s[at + 1] == '.');
}

size_t pith_scan_path(const char *s, size_t len, size_t at) {
    if (!path_char(s[at]) || (at > 0 && path_char(s[at - 1]))) {
        return 0;
    }
    size_t end = scan_url(s, len, at);
    end = end > 0 ? end : scan_drive(s, len, at);
    if (end > 0) {
        return end;
    }
    size_t slashes = 0;
    bool letter = false;
    for (end = at; end < len && path_char(s[end]); end++) {
        slashes += s[end] == '/';
        letter = letter || pith_scan_letter(s[end]);
    }
    while (end > at && (s[end - 1] == '.' || s[end - 1] == '-')) {
        end--;
    }
    if (slashes == 0 || end == at) {
        return 0;
    }
    if (starts_as_path(s, at, end)) {
        return is_at(s, len, end, '?') ? url_end(s, len, end) : end;
    }
    bool path = letter && (slashes >= 2 || has_extension(s, at, end));
    return path ? end : 0;
}

/* A single quote closes only at a word's end: don't, it's. */
size_t pith_scan_close(const char *s, size_t len, size_t open) {
    for (size_t at = open + 1; at < len; at++) {
        if (s[at] == '\\') {
            at++;
        } else if (s[at] == s[open] && (s[open] == '"' || ends_word(s, len, at + 1))) {
            return at;
        }
    }
    return 0;
}

bool pith_scan_sentence_place(const char *s, size_t open) {
    static const char *const keys[] = {"msg",    "message", "error", "err",
                                       "reason", "event",   "text",  "log"};
    size_t at = open;
    while (at > 0 && s[at - 1] == ' ' && open - at < 4) { /* more is rare: a text of its own */
        at--;
    }
    if (at == 0 || (s[at - 1] != ':' && s[at - 1] != '=')) {
        return true;
    }
    size_t end = at - 1;
    end -= end > 0 && s[end - 1] == '"';
    size_t from = end;
    while (from > 0 && end - from <= 8 && pith_scan_word(s[from - 1])) {
        from--;
    }
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strlen(keys[i]) == end - from && strncasecmp(keys[i], s + from, end - from) == 0) {
            return true;
        }
    }
    return at < open && end == at - 1; /* lost: "the peer went away" */
}
