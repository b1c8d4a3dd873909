/* One function for each class. It is given a place where the class can begin, by the byte there and
 * the one before it, and returns where the match ends, 0 where there is none. Repeats of the
 * patterns are possessive, or what follows them can never be what they give back: a digit, a letter
 * of a word that must end. So no function looks at a byte twice, but for the few that say so. */
#include "runtime/text/critical_ascii.h"

#include <string.h>

/* In the order of pith_critical_classes. */
enum {
    HEX,
    NUMBER,
    ALLCAPS,
    DOTTED,
    PATH,
    EXTENSION,
    FLAG,
    CAMEL,
    DIRECTIVE,
    CONNECTIVE,
    UUID,
    HASH,
    VERSION,
    NUMBER_UNIT,
    KEY_VALUE,
    WINDOWS_PATH,
    UPPER_FLAG,
    MIXED_PATH,
    QUOTED,
    SNAKE_CASE,
    LOWER_CAMEL,
    PLACEHOLDER,
    ERROR_NAME,
    NEGATION,
    CLASSES
};

#define BIT(c) (UINT32_C(1) << (c))

/* Sets of bytes. The first eight are the kinds that a word is judged by. */
enum {
    DIGIT = 1 << 0,
    LOWER = 1 << 1,
    UPPER = 1 << 2,
    UNDER = 1 << 3,
    DOT = 1 << 4,
    SLASH = 1 << 5,
    DASH = 1 << 6,
    MARK = 1 << 7, /* punctuation that some class cannot be without */
    HEX_LETTER = 1 << 10,
    NAME_MARK = 1 << 11,    /* of a path's component, beside WORD, DOT and DASH */
    WINDOWS_MARK = 1 << 12, /* of a Windows path, beside ALNUM, UNDER, DOT, SLASH and DASH */
    BRACED = 1 << 13,       /* between the braces of a placeholder */
    BASE64_MARK = 1 << 14,
    VALUE_MARK = 1 << 15, /* of a key's value, beside WORD, DOT, SLASH and DASH */
    FLAG_MARK = 1 << 16,
    QUOTED_MARK = 1 << 17,
    VERSION_MARK = 1 << 18,
    HOST_MARK = 1 << 19,
    LETTER = LOWER | UPPER,
    ALNUM = LETTER | DIGIT,
    WORD = ALNUM | UNDER,
    NAME = WORD | DOT | DASH | NAME_MARK
};

static const struct {
    const char *bytes; /* "a-z" is a range; a dash elsewhere is itself */
    uint32_t set;
} set_bytes[] = {
    {"0-9", DIGIT},
    {"a-z", LOWER},
    {"A-Z", UPPER},
    {"_", UNDER},
    {".", DOT},
    {"/", SLASH},
    {"-", DASH},
    {"=:%\\\"'`{<", MARK},
    {"A-Fa-f", HEX_LETTER},
    {"~@+%", NAME_MARK},
    {"$~%()@+\\", WINDOWS_MARK},
    {"!-z|~", BRACED},
    {"+=", BASE64_MARK},
    {":%+", VALUE_MARK},
    {"=,", FLAG_MARK},
    {"$:", QUOTED_MARK},
    {"+", VERSION_MARK},
    {"$", HOST_MARK},
    {"\t-\r\x1C-\x1F ", PITH_BYTE_SPACE},
};

/* Words of the classes that are lists, by their first letter: small letters stand for large ones
 * too. Those of `stem_of` are followed by "'t". */
typedef struct listed_word {
    const char *word;
    uint32_t len;
    uint32_t classes;
    uint32_t stem_of;
} listed_word;

#define LISTED(word) (word), sizeof(word) - 1

enum { LISTED_BYTES_MAX = 15 }; /* "segmentation" has 12; of pith_critical_ascii.lengths */

static const listed_word listed_words[] = {
    {LISTED("always"), BIT(DIRECTIVE), 0},
    {LISTED("and"), BIT(CONNECTIVE), 0},
    {LISTED("aren"), 0, BIT(DIRECTIVE)},
    {LISTED("avoid"), BIT(DIRECTIVE), 0},
    {LISTED("can"), 0, BIT(DIRECTIVE)},
    {LISTED("cannot"), BIT(DIRECTIVE), 0},
    {LISTED("didn"), 0, BIT(DIRECTIVE)},
    {LISTED("disallow"), BIT(DIRECTIVE), 0},
    {LISTED("doesn"), 0, BIT(DIRECTIVE)},
    {LISTED("don"), 0, BIT(DIRECTIVE)},
    {LISTED("error"), BIT(ERROR_NAME), 0},
    {LISTED("except"), BIT(DIRECTIVE), 0},
    {LISTED("exception"), BIT(ERROR_NAME), 0},
    {LISTED("failed"), BIT(ERROR_NAME), 0},
    {LISTED("failure"), BIT(ERROR_NAME), 0},
    {LISTED("fatal"), BIT(ERROR_NAME), 0},
    {LISTED("forbidden"), BIT(DIRECTIVE), 0},
    {LISTED("isn"), 0, BIT(DIRECTIVE)},
    {LISTED("mandatory"), BIT(DIRECTIVE), 0},
    {LISTED("must"), BIT(DIRECTIVE), 0},
    {LISTED("mustn"), 0, BIT(DIRECTIVE)},
    {LISTED("neither"), BIT(NEGATION), 0},
    {LISTED("never"), BIT(DIRECTIVE), 0},
    {LISTED("no"), BIT(NEGATION), 0},
    {LISTED("nobody"), BIT(NEGATION), 0},
    {LISTED("none"), BIT(DIRECTIVE), 0},
    {LISTED("nor"), BIT(CONNECTIVE) | BIT(NEGATION), 0},
    {LISTED("not"), BIT(DIRECTIVE), 0},
    {LISTED("nothing"), BIT(NEGATION), 0},
    {LISTED("nowhere"), BIT(NEGATION), 0},
    {LISTED("only"), BIT(DIRECTIVE), 0},
    {LISTED("or"), BIT(CONNECTIVE), 0},
    {LISTED("panic"), BIT(ERROR_NAME), 0},
    {LISTED("panicked"), BIT(ERROR_NAME), 0},
    {LISTED("prohibited"), BIT(DIRECTIVE), 0},
    {LISTED("refuse"), BIT(DIRECTIVE), 0},
    {LISTED("required"), BIT(DIRECTIVE), 0},
    {LISTED("segfault"), BIT(ERROR_NAME), 0},
    {LISTED("segmentation"), BIT(ERROR_NAME), 0},
    {LISTED("shall"), BIT(DIRECTIVE), 0},
    {LISTED("should"), BIT(DIRECTIVE), 0},
    {LISTED("shouldn"), 0, BIT(DIRECTIVE)},
    {LISTED("traceback"), BIT(ERROR_NAME), 0},
    {LISTED("unless"), BIT(DIRECTIVE), 0},
    {LISTED("without"), BIT(DIRECTIVE), 0},
    {LISTED("won"), 0, BIT(DIRECTIVE)},
    {LISTED("xor"), BIT(CONNECTIVE), 0},
};

/* The word that is looked at; a byte at or behind its end is in no set and is '\0'. */
typedef struct subject {
    const unsigned char *s;
    size_t len;
    const pith_critical_ascii *ascii;
    size_t run_at; /* where the run of WORD that was measured last begins, and where it ends */
    size_t run_end;
} subject;

static inline bool in(const subject *w, size_t pos, uint32_t set) {
    return pos < w->len && (w->ascii->sets[w->s[pos]] & set) != 0;
}

static inline unsigned char at(const subject *w, size_t pos) {
    return pos < w->len ? w->s[pos] : '\0';
}

/* End of the run of bytes of a set from `pos` on, of at most `max`. */
static inline size_t run(const subject *w, size_t pos, uint32_t set, size_t max) {
    size_t end = w->len - pos > max ? pos + max : w->len;
    while (pos < end && (w->ascii->sets[w->s[pos]] & set) != 0) {
        pos++;
    }
    return pos;
}

static inline size_t run_all(const subject *w, size_t pos, uint32_t set) {
    return run(w, pos, set, SIZE_MAX);
}

/* End of the run of WORD that starts at `p`, which several classes ask for. */
static size_t word_run(subject *w, size_t p) {
    if (w->run_at != p) {
        w->run_at = p;
        w->run_end = run_all(w, p, WORD);
    }
    return w->run_end;
}

static bool has(const subject *w, size_t pos, const char *bytes) {
    size_t n = strlen(bytes);
    return w->len >= pos && w->len - pos >= n && memcmp(w->s + pos, bytes, n) == 0;
}

static size_t hex(subject *w, size_t p) {
    if (at(w, p + 1) != 'x') {
        return 0;
    }
    size_t end = run_all(w, p + 2, DIGIT | HEX_LETTER);
    return end > p + 2 && !in(w, end, WORD) ? end : 0;
}

static size_t number(subject *w, size_t p) {
    size_t end = run_all(w, p, DIGIT);
    if (at(w, end) == '.') { /* without its fraction it would stand before a dot */
        size_t fraction = run_all(w, end + 1, DIGIT);
        return fraction > end + 1 && !in(w, fraction, WORD | DOT) ? fraction : 0;
    }
    return in(w, end, WORD) ? 0 : end;
}

static size_t allcaps(subject *w, size_t p) {
    size_t end = run_all(w, p, UPPER | UNDER);
    return end >= p + 2 ? end : 0;
}

/* Digits that lead are not the match's own. */
static size_t dotted(subject *w, size_t p) {
    size_t name = run_all(w, p, DIGIT);
    if (!in(w, name, LOWER | UNDER) || (at(w, name) == '_' && in(w, name + 1, UPPER | UNDER))) {
        return 0;
    }
    size_t dot = run_all(w, name, LOWER | DIGIT | UNDER);
    size_t end = at(w, dot) == '.' ? run_all(w, dot + 1, LOWER | DIGIT | UNDER) : 0;
    return end > dot + 1 ? end : 0;
}

static size_t path(subject *w, size_t p) {
    size_t end = run_all(w, p + 1, LOWER | DIGIT | SLASH | DOT | UNDER | DASH);
    return end >= p + 3 ? end : 0;
}

static size_t extension(subject *w, size_t p) {
    size_t end = run(w, p + 1, LOWER, 4);
    return end >= p + 3 && !in(w, end, WORD) ? end : 0;
}

static size_t dashes(subject *w, size_t p) {
    return at(w, p + 1) == '-' ? p + 2 : p + 1;
}

static size_t flag(subject *w, size_t p) {
    size_t name = dashes(w, p);
    return in(w, name, LOWER) ? run_all(w, name + 1, WORD | DASH) : 0;
}

static size_t upper_flag(subject *w, size_t p) {
    size_t name = dashes(w, p);
    return in(w, name, UPPER) ? run_all(w, name + 1, WORD | DOT | DASH | FLAG_MARK) : 0;
}

static size_t camel(subject *w, size_t p) {
    size_t end = run_all(w, p + 1, LOWER);
    return end > p + 1 && in(w, end, UPPER) ? run_all(w, end, WORD) : 0;
}

/* "'t" behind a stem, and the end of the word. */
static bool negates(const subject *w, size_t p) {
    return at(w, p) == '\'' && (at(w, p + 1) | 0x20) == 't' && !in(w, p + 2, WORD);
}

static bool same_letters(const unsigned char *s, const char *word, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if ((s[i] | 0x20) != word[i]) { /* no other byte of WORD becomes a letter */
            return false;
        }
    }
    return true;
}

/* A listed word begins as the run of WORD from p on and has as many bytes. */
static bool may_be_listed(subject *w, size_t p) {
    size_t len = word_run(w, p) - p;
    unsigned letter = (w->s[p] | 0x20U) - 'a';
    return letter < 26 && len <= LISTED_BYTES_MAX && (w->ascii->lengths[letter] >> len & 1) != 0;
}

/* A listed word of a class that ends where the run of WORD from p on ends. */
static size_t listed(subject *w, size_t p, unsigned c) {
    if (!may_be_listed(w, p)) {
        return 0;
    }
    size_t end = word_run(w, p);
    size_t len = end - p;
    unsigned letter = (w->s[p] | 0x20U) - 'a';
    for (size_t i = w->ascii->listed[letter]; i < w->ascii->listed[letter + 1]; i++) {
        const listed_word *known = &listed_words[i];
        if (known->len == len && ((known->classes | known->stem_of) & BIT(c)) != 0 &&
            same_letters(w->s + p, known->word, len)) {
            bool whole = (known->classes & BIT(c)) != 0;
            return whole ? end : negates(w, end) ? end + 2 : 0;
        }
    }
    return 0;
}

static size_t directive(subject *w, size_t p) {
    return listed(w, p, DIRECTIVE);
}

static size_t connective(subject *w, size_t p) {
    return listed(w, p, CONNECTIVE);
}

/* Listed, or [a-z]{2,8}n't. */
static size_t negation(subject *w, size_t p) {
    size_t end = listed(w, p, NEGATION);
    if (end != 0) {
        return end;
    }
    end = word_run(w, p);
    bool stem = end >= p + 3 && end <= p + 9 && (w->s[end - 1] | 0x20) == 'n' && negates(w, end);
    return stem && run_all(w, p, LETTER) == end ? end + 2 : 0;
}

static size_t uuid(subject *w, size_t p) {
    static const unsigned char digits[] = {8, 4, 4, 4, 12};
    for (size_t i = 0; i < sizeof digits; i++) {
        size_t end = run(w, p, DIGIT | HEX_LETTER, digits[i]);
        bool last = i + 1 == sizeof digits;
        if (end - p != digits[i] || (last ? in(w, end, ALNUM) : at(w, end) != '-')) {
            return 0;
        }
        p = end + !last;
    }
    return p;
}

static size_t hash(subject *w, size_t p) {
    static const char *const names[] = {"sha1", "sha224", "sha256", "sha384", "sha512", "md5"};
    size_t end;
    if (in(w, p, DIGIT | HEX_LETTER)) {
        end = run(w, p, DIGIT | HEX_LETTER, 128);
        bool number = run(w, p, HEX_LETTER, 128) < end; /* a digit is among them */
        return number && end >= p + 7 && !in(w, end, WORD) ? end : 0;
    }
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        size_t sum = p + strlen(names[i]);
        if (has(w, p, names[i]) && (at(w, sum) == '-' || at(w, sum) == ':' || at(w, sum) == '=')) {
            end = run(w, sum + 1, WORD | SLASH | DASH | BASE64_MARK, 128);
            return end >= sum + 9 && !in(w, end, WORD) ? end : 0;
        }
    }
    return 0;
}

/* Numbers and dots, then perhaps "-rc.1". Looks at that once for each number that can be last. */
static size_t version(subject *w, size_t p) {
    bool marked = in(w, p, LETTER); /* v */
    size_t ends[6];
    size_t n = 0;
    for (size_t pos = p + marked; n < 6; pos = ends[n - 1] + 1) {
        size_t end = run(w, pos, DIGIT, 9);
        if (end == pos) {
            break;
        }
        ends[n++] = end;
        if (at(w, end) != '.') {
            break;
        }
    }
    for (size_t least = marked ? 1 : 3; n >= least; n--) {
        size_t end = ends[n - 1];
        if ((at(w, end) == '-' || at(w, end) == '+') && in(w, end + 1, ALNUM)) {
            size_t suffix = run(w, end + 2, ALNUM | DOT | DASH | VERSION_MARK, 40);
            end = in(w, suffix, WORD) ? end : suffix;
        }
        if (!in(w, end, WORD)) {
            return end;
        }
    }
    return 0;
}

static size_t number_unit(subject *w, size_t p) {
    size_t end = run(w, p, DIGIT, 18);
    for (size_t i = 0; i < 6 && (at(w, end) == '.' || at(w, end) == ','); i++) {
        size_t more = run(w, end + 1, DIGIT, 18);
        if (more == end + 1) {
            break;
        }
        end = more;
    }
    if (at(w, end) == '%') {
        return in(w, end + 1, ALNUM) ? 0 : end + 1;
    }
    size_t unit = run(w, end, LETTER, 5);
    if (unit == end || in(w, unit, ALNUM)) {
        return 0;
    }
    size_t per = at(w, unit) == '/' ? run(w, unit + 1, LETTER, 4) : 0;
    return per > unit + 1 && !in(w, per, ALNUM) ? per : unit;
}

static bool is_quote(unsigned char c) {
    return c == '"' || c == '\'';
}

static size_t key_value(subject *w, size_t p) {
    size_t pos = run(w, p + 1, WORD | DOT | DASH, 63);
    pos += is_quote(at(w, pos));
    if (at(w, pos) != '=' && at(w, pos) != ':') {
        return 0;
    }
    pos++;
    pos += is_quote(at(w, pos));
    pos += at(w, pos) == '+' || at(w, pos) == '-';
    return in(w, pos, DIGIT) ? run(w, pos + 1, WORD | DOT | SLASH | DASH | VALUE_MARK, 64) : 0;
}

static size_t windows_path(subject *w, size_t p) {
    size_t name;
    if (w->s[p] == '\\') {
        size_t host = at(w, p + 1) == '\\' ? p + 2 : w->len;
        name = run(w, host, WORD | DOT | DASH | HOST_MARK, 64);
        if (name == host || at(w, name) != '\\') {
            return 0;
        }
        name++;
    } else {
        if (at(w, p + 1) != ':' || (at(w, p + 2) != '\\' && at(w, p + 2) != '/')) {
            return 0;
        }
        name = p + 3;
    }
    size_t end = run(w, name, WORD | DOT | SLASH | DASH | WINDOWS_MARK, 260);
    return end > name ? end : 0;
}

static size_t mixed_path(subject *w, size_t p) {
    size_t end = run(w, p, NAME, 128);
    size_t n = 0;
    while (n < 32 && at(w, end) == '/') {
        size_t more = run(w, end + 1, NAME, 128);
        if (more == end + 1) {
            break;
        }
        end = more;
        n++;
    }
    return n == 0 ? 0 : end + (at(w, end) == '/');
}

static size_t quoted(subject *w, size_t p) {
    if (!in(w, p + 1, LETTER | UNDER) && at(w, p + 1) != '$') {
        return 0;
    }
    size_t end = run(w, p + 2, WORD | DOT | SLASH | DASH | QUOTED_MARK, 127);
    return at(w, end) == w->s[p] && !in(w, end + 1, WORD) ? end + 1 : 0;
}

static size_t snake_case(subject *w, size_t p) {
    size_t pos = run(w, p, UNDER, 2);
    if (!in(w, pos, LOWER)) {
        return 0;
    }
    size_t first = run_all(w, pos, LOWER | DIGIT);
    size_t end = first;
    while (at(w, end) == '_' && in(w, end + 1, LOWER | DIGIT)) {
        end = run_all(w, end + 1, LOWER | DIGIT);
    }
    return end > first ? end : 0;
}

static size_t lower_camel(subject *w, size_t p) {
    size_t end = run_all(w, p, LOWER | DIGIT);
    return in(w, end, UPPER) ? run_all(w, end, ALNUM) : 0;
}

static size_t placeholder(subject *w, size_t p) {
    size_t name = p + 2;
    size_t end;
    if (w->s[p] == '<') {
        end = in(w, p + 1, UPPER) ? run(w, name, UPPER | DIGIT | UNDER, 64) : name;
        return end > name && at(w, end) == '>' ? end + 1 : 0;
    }
    if (at(w, p + 1) != '{') {
        return 0;
    }
    end = run(w, name, BRACED, 128);
    if (end == name || at(w, end) != '}') {
        return 0;
    }
    return w->s[p] == '$' ? end + 1 : at(w, end + 1) == '}' ? end + 2 : 0;
}

/* "ValueErrors": one of the endings, behind 64 bytes at most. */
static bool ends_as_error(const subject *w, size_t p, size_t end) {
    static const struct {
        const char *word;
        size_t len;
    } endings[] = {{LISTED("Error")}, {LISTED("Exception")}, {LISTED("Warning")},
                   {LISTED("Fault")}, {LISTED("Failure")},   {LISTED("Panic")}};
    end -= w->s[end - 1] == 's';
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++) {
        size_t n = endings[i].len;
        if (end - p >= n && end - p <= 64 + n && w->s[end - n] == (unsigned char)*endings[i].word &&
            memcmp(w->s + end - n, endings[i].word, n) == 0) {
            return true;
        }
    }
    return false;
}

static size_t error_name(subject *w, size_t p) {
    size_t end = word_run(w, p);
    if (ends_as_error(w, p, end)) {
        return end;
    }
    if (listed(w, p, ERROR_NAME) != 0) {
        size_t code = at(w, end) == '[' ? run(w, end + 1, UPPER | DIGIT, 12) : 0;
        bool coded = code > end + 1 && at(w, code) == ']' && !in(w, code + 1, WORD);
        return coded ? code + 1 : end;
    }
    size_t digits = run(w, p, UPPER, 4);
    size_t stop = run(w, digits, DIGIT, 6);
    return digits > p && stop >= digits + 3 && stop == end ? end : 0;
}

/* What each class begins with, what must not stand before it, and two sets of kinds of which its
 * matches hold one each. */
static const struct {
    size_t (*match)(subject *w, size_t p);
    const char *first;
    const char *not_after;
    uint32_t needs[2];
} starts[CLASSES] = {
    [HEX] = {hex, "0", "A-Za-z0-9_", {DIGIT, LOWER}},
    [NUMBER] = {number, "0-9", "A-Za-z0-9_.", {DIGIT, DIGIT}},
    [ALLCAPS] = {allcaps, "A-Z_", "", {UPPER | UNDER, UPPER | UNDER}},
    [DOTTED] = {dotted, "0-9a-z_", "a-z0-9_", {DOT, LOWER | UNDER}},
    [PATH] = {path, "/", "", {SLASH, SLASH}},
    [EXTENSION] = {extension, ".", "", {DOT, LOWER}},
    [FLAG] = {flag, "-", "", {DASH, LOWER}},
    [CAMEL] = {camel, "A-Z", "A-Za-z0-9_", {UPPER, LOWER}},
    [DIRECTIVE] = {directive, "nNcCdDwWsSmMiIaArRpPfFuUeEoO", "A-Za-z0-9_", {LETTER, LETTER}},
    [CONNECTIVE] = {connective, "aAoOnNxX", "A-Za-z0-9_", {LETTER, LETTER}},
    [UUID] = {uuid, "0-9A-Fa-f", "0-9A-Za-z", {DASH, ALNUM}},
    [HASH] = {hash, "0-9A-Fa-fsm", "A-Za-z0-9_", {DIGIT, DIGIT}},
    [VERSION] = {version, "vV0-9", "A-Za-z0-9_.", {DIGIT, DOT | LETTER}},
    [NUMBER_UNIT] = {number_unit, "0-9", "A-Za-z0-9_.", {DIGIT, LETTER | MARK}},
    [KEY_VALUE] = {key_value, "A-Za-z_", "A-Za-z0-9_.-", {DIGIT, MARK}},
    [WINDOWS_PATH] = {windows_path, "A-Za-z\\", "A-Za-z0-9", {MARK, MARK}},
    [UPPER_FLAG] = {upper_flag, "-", "A-Za-z0-9_-", {DASH, UPPER}},
    [MIXED_PATH] = {mixed_path, "A-Za-z0-9_.~@+%/-", "A-Za-z0-9_.~@+%-", {SLASH, SLASH}},
    [QUOTED] = {quoted, "\"'`", "A-Za-z0-9_", {MARK, MARK}},
    [SNAKE_CASE] = {snake_case, "_a-z", "A-Za-z0-9_", {UNDER, LOWER}},
    [LOWER_CAMEL] = {lower_camel, "a-z", "A-Za-z0-9_", {LOWER, UPPER}},
    [PLACEHOLDER] = {placeholder, "{$<", "", {MARK, MARK}},
    [ERROR_NAME] = {error_name, "A-Za-z0-9_", "A-Za-z0-9_", {LETTER, LETTER}},
    [NEGATION] = {negation, "A-Za-z", "A-Za-z0-9_", {LETTER, LETTER}},
};

/* table[byte] |= bits for every byte of a list. */
static void add_bytes(uint32_t *table, const char *bytes, uint32_t bits) {
    for (const unsigned char *s = (const unsigned char *)bytes; *s != '\0'; s++) {
        unsigned last = s[1] == '-' && s[2] != '\0' ? s[2] : *s;
        for (unsigned byte = *s; byte <= last; byte++) {
            table[byte] |= bits;
        }
        s += last != *s ? 2 : 0;
    }
}

void pith_critical_ascii_init(pith_critical_ascii *ascii) {
    memset(ascii, 0, sizeof *ascii);
    for (size_t i = 0; i < sizeof set_bytes / sizeof *set_bytes; i++) {
        add_bytes(ascii->sets, set_bytes[i].bytes, set_bytes[i].set);
    }
    for (unsigned byte = 0x80; byte < 256; byte++) {
        ascii->sets[byte] |= PITH_BYTE_FOREIGN;
    }
    for (unsigned c = 0; c < CLASSES; c++) {
        add_bytes(ascii->first, starts[c].first, BIT(c));
        add_bytes(ascii->after, starts[c].not_after, BIT(c));
        for (uint32_t kinds = 0; kinds < PITH_BYTE_KINDS; kinds++) {
            bool all = (kinds & starts[c].needs[0]) != 0 && (kinds & starts[c].needs[1]) != 0;
            ascii->possible[kinds] |= all ? BIT(c) : 0;
        }
    }
    for (unsigned byte = 0; byte < 256; byte++) {
        ascii->after[byte] = ~ascii->after[byte];
    }
    for (size_t i = 0; i < sizeof listed_words / sizeof *listed_words; i++) {
        int letter = listed_words[i].word[0] - 'a';
        ascii->lengths[letter] |= (uint16_t)(1U << listed_words[i].len);
        for (letter++; letter <= 26; letter++) {
            ascii->listed[letter]++;
        }
    }
}

/* The first of the classes `can` that matches at p: where the match ends, and its class; 0: none.
 */
static size_t match_at(subject *w, size_t p, uint32_t can, unsigned *c) {
    for (; can != 0; can &= can - 1) {
        *c = (unsigned)__builtin_ctz(can);
        size_t end = starts[*c].match(w, p);
        if (end != 0) {
            return end;
        }
    }
    return 0;
}

/* Two scans of one word. */
typedef struct scans {
    subject w;
    uint32_t of[2];      /* classes of each that are possible */
    uint32_t from_lists; /* those of them that only a listed word can be */
    size_t resume[2];    /* where each goes on: behind its last match */
} scans;

/* The place p, where the classes `can` can begin. False when the arena is over its bound. */
static bool begin_at(scans *s, size_t p, uint32_t can, size_t start, pith_span_list spans[2],
                     pith_arena *arena) {
    subject *w = &s->w;
    if ((can & s->from_lists) != 0 && !may_be_listed(w, p)) {
        can &= ~s->from_lists;
    }
    for (size_t k = 0; k < 2; k++) {
        /* Where a match ended a dotted name can begin (\G), whatever stands before it. */
        uint32_t again = p == s->resume[k] ? w->ascii->first[w->s[p]] & BIT(DOTTED) : 0;
        unsigned c;
        size_t to = p < s->resume[k] ? 0 : match_at(w, p, (can | again) & s->of[k], &c);
        if (to != 0) {
            size_t from = c == DOTTED ? run_all(w, p, DIGIT) : p;
            if (!pith_span_push(&spans[k], arena, (uint32_t)(start + from),
                                (uint32_t)(start + to))) {
                return false;
            }
            s->resume[k] = to;
        }
    }
    return true;
}

bool pith_critical_ascii_find(const pith_critical_ascii *ascii, const uint32_t classes[2],
                              uint32_t kinds, const char *text, size_t start, size_t end,
                              pith_span_list spans[2], pith_arena *arena) {
    uint32_t possible = ascii->possible[kinds % PITH_BYTE_KINDS];
    scans s = {.w = {.s = (const unsigned char *)text + start,
                     .len = end - start,
                     .ascii = ascii,
                     .run_at = SIZE_MAX},
               .of = {classes[0] & possible, classes[1] & possible},
               /* "n't" has a mark, and other names of errors have large letters. */
               .from_lists = BIT(DIRECTIVE) | BIT(CONNECTIVE) |
                             ((kinds & MARK) == 0 ? BIT(NEGATION) : 0) |
                             ((kinds & UPPER) == 0 ? BIT(ERROR_NAME) : 0)};
    const uint32_t either = s.of[0] | s.of[1];
    uint32_t before = UINT32_MAX; /* classes that can begin behind the last byte */
    for (size_t p = 0; either != 0 && p < end - start; p++) {
        unsigned char byte = s.w.s[p];
        uint32_t can = ascii->first[byte] & before & either;
        before = ascii->after[byte];
        bool resumes = p == s.resume[0] || p == s.resume[1];
        if ((can != 0 || resumes) && !begin_at(&s, p, can, start, spans, arena)) {
            return false;
        }
    }
    return true;
}
