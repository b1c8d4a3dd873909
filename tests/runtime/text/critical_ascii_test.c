/* The fast scan of ASCII words beside PCRE2 with the classes' own patterns, byte for byte. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "runtime/text/critical_ascii.h"
#include "runtime/text/critical_classes.h"

#include <pcre2.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SPANS_MAX = 512, TEXT_MAX = 1024, ARENA_BYTES = 1 << 20, PATTERN_BYTES = 16384 };

typedef struct spans {
    pith_span items[SPANS_MAX];
    size_t n;
} spans;

/* The classes of a set as one alternation, and nothing else between the text and PCRE2. */
typedef struct oracle {
    uint32_t classes;
    pcre2_code *code;
    pcre2_match_data *match;
} oracle;

static oracle open_oracle(uint32_t classes) {
    static char pattern[PATTERN_BYTES];
    size_t at = 0;
    for (size_t i = 0; i < pith_critical_n_classes; i++) {
        if ((classes >> i & 1) != 0) {
            at += (size_t)snprintf(pattern + at, sizeof pattern - at, "%s(?:%s)", at > 0 ? "|" : "",
                                   pith_critical_classes[i].pattern);
            assert_true(at < sizeof pattern);
        }
    }
    int number;
    PCRE2_SIZE offset;
    oracle o = {.classes = classes,
                .code = pcre2_compile((PCRE2_SPTR)pattern, at, PCRE2_UTF | PCRE2_UCP, &number,
                                      &offset, NULL),
                .match = pcre2_match_data_create(1, NULL)};
    assert_non_null(o.code);
    assert_non_null(o.match);
    assert_int_equal(pcre2_jit_compile(o.code, PCRE2_JIT_COMPLETE), 0);
    return o;
}

static void close_oracle(oracle *o) {
    pcre2_match_data_free(o->match);
    pcre2_code_free(o->code);
}

static void find_slowly(const oracle *o, const char *text, size_t len, spans *out) {
    out->n = 0;
    for (size_t pos = 0; pos < len;) {
        int rc = pcre2_match(o->code, (PCRE2_SPTR)text, len, pos, 0, o->match, NULL);
        if (rc == PCRE2_ERROR_NOMATCH) {
            return;
        }
        assert_true(rc >= 0 && out->n < SPANS_MAX);
        const PCRE2_SIZE *ov = pcre2_get_ovector_pointer(o->match);
        assert_true(ov[1] > ov[0]);
        out->items[out->n++] = (pith_span){(uint32_t)ov[0], (uint32_t)ov[1]};
        pos = ov[1];
    }
}

/* `classes` in the first place or the second; the other scan looks for `others` beside it. */
static void find_fast(const pith_critical_ascii *ascii, uint32_t classes, uint32_t others,
                      int place, const char *text, size_t len, spans *out) {
    pith_arena arena;
    pith_arena_init(&arena, ARENA_BYTES);
    pith_span_list lists[2] = {{0}, {0}};
    const uint32_t sets[2] = {place == 0 ? classes : others, place == 0 ? others : classes};
    for (size_t pos = 0; pos < len; pos++) {
        uint32_t kinds;
        size_t end = pith_ascii_word(ascii, text, pos, len, &kinds);
        assert_true(pith_critical_ascii_find(ascii, sets, kinds, text, pos, end, lists, &arena));
        pos = end;
    }
    pith_span_list list = lists[place];
    assert_true(list.len <= SPANS_MAX);
    out->n = list.len;
    if (list.len > 0) {
        memcpy(out->items, list.items, list.len * sizeof *list.items);
    }
    pith_arena_reset(&arena);
}

static bool agree(const oracle *o, const pith_critical_ascii *ascii, const char *text, size_t len) {
    static spans slow;
    static spans fast;
    find_slowly(o, text, len, &slow);
    bool same = true;
    for (int place = 0; place < 2; place++) {
        uint32_t others =
            place == 0 ? 0 : 0xA5A5A5U; /* whatever: scans know nothing of each other */
        find_fast(ascii, o->classes, others, place, text, len, &fast);
        same = same && slow.n == fast.n &&
               memcmp(slow.items, fast.items, slow.n * sizeof *slow.items) == 0;
    }
    return same;
}

static void check(const oracle *o, const pith_critical_ascii *ascii, const char *text, size_t len) {
    if (!agree(o, ascii, text, len)) {
        fail_msg("classes %06x: not as PCRE2 in [%.*s]", o->classes, (int)len, text);
    }
}

static uint64_t next_random(uint64_t *state) {
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* What each class is made of: bytes that a short text of it needs, and one that ends it. */
static const char *const alphabets[] = {
    "0xaZ_.",  "07._a ",  "AZ_a0",    "a_.0Z",  "/a._A-",  ".az_Z0",  "-a_A0 ",   "AaZ_0",
    "noT'r_ ", "aNodxr",  "aF09-_g",  "af07_g", "v1.-+_a", "1.,%a/Z", "a_:=\"1-", "C:\\/a$1",
    "-AO_=a",  "a/~.-A ", "\"'`a$.1", "_az0A",  "aA0_Z",   "{}$<A>a", "E1A[]s0",  "nN'tax"};

/* Pieces of which longer texts are made, with what may come after them too much or too little. */
static const char *const pieces[] = {"sha256:",
                                     "sha1=",
                                     "md5-",
                                     "sha512",
                                     "abcdef01",
                                     "0123456789abcdef",
                                     "Error",
                                     "Exception",
                                     "Warning",
                                     "Fault",
                                     "Failure",
                                     "Panic",
                                     "error",
                                     "PANICKED",
                                     "failed",
                                     "Traceback",
                                     "E0277",
                                     "[E1]",
                                     "s",
                                     "not",
                                     "NEVER",
                                     "can't",
                                     "Cannot",
                                     "cannot",
                                     "don",
                                     "'t",
                                     "won't",
                                     "shouldn't",
                                     "isn't",
                                     "and",
                                     "or",
                                     "XOR",
                                     "nor",
                                     "no",
                                     "neither",
                                     "Nowhere",
                                     "wasn't",
                                     "required",
                                     "avoid",
                                     "mandatory",
                                     "prohibited",
                                     "{{",
                                     "}}",
                                     "${",
                                     "}",
                                     "<",
                                     ">",
                                     "TAG_1",
                                     "C:\\",
                                     "\\\\",
                                     "srv\\",
                                     "0x",
                                     "ff",
                                     "1.2.3",
                                     "v1",
                                     ".",
                                     ",",
                                     "..",
                                     "/",
                                     "//",
                                     "-",
                                     "--",
                                     "_",
                                     "__",
                                     "a",
                                     "Z",
                                     "aB",
                                     "9",
                                     "12345678",
                                     "123456789012345678",
                                     "ms",
                                     "GB/s",
                                     "%",
                                     "=",
                                     ":",
                                     "\"",
                                     "'",
                                     "`",
                                     "key",
                                     "snake_case",
                                     "lowerCamel",
                                     "CamelCase",
                                     "os.path",
                                     ".py",
                                     "/usr/lib",
                                     "-Wall",
                                     "--flag",
                                     " ",
                                     "\n",
                                     "\t",
                                     "\x1c",
                                     "(",
                                     ")",
                                     "~",
                                     "@",
                                     "+",
                                     "*",
                                     "|",
                                     "#",
                                     "123e4567-",
                                     "e89b-12d3-a456-",
                                     "426614174000",
                                     "123e4567-e89b-12d3-a456-426614174000",
                                     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                                     "F",
                                     "\x7f",
                                     "\x01"};

static size_t random_text(uint64_t *state, char *text) {
    size_t len = 0;
    for (uint64_t n = 1 + next_random(state) % 24; n > 0 && len < TEXT_MAX / 2; n--) {
        uint64_t kind = next_random(state) % 8;
        if (kind == 0) {
            text[len++] = (char)(next_random(state) % 0x80);
        } else if (kind == 1) {
            const char *alphabet =
                alphabets[next_random(state) % (sizeof alphabets / sizeof *alphabets)];
            text[len++] = alphabet[next_random(state) % strlen(alphabet)];
        } else {
            const char *piece = pieces[next_random(state) % (sizeof pieces / sizeof *pieces)];
            for (uint64_t again = 1 + (kind == 2 ? next_random(state) % 5 : 0); again > 0;
                 again--) {
                memcpy(text + len, piece, strlen(piece));
                len += strlen(piece);
            }
        }
    }
    return len;
}

static uint32_t set_of(bool published) {
    uint32_t classes = 0;
    for (size_t i = 0; i < pith_critical_n_classes; i++) {
        classes |= pith_critical_classes[i].published == published ? UINT32_C(1) << i : 0;
    }
    return classes;
}

/* Every text of up to five bytes of its alphabet, for each class alone. */
static void every_short_text_has_the_matches_that_pcre2_finds(void **state) {
    enum { LONGEST = 5 };
    pith_critical_ascii ascii;
    pith_critical_ascii_init(&ascii);
    assert_int_equal(sizeof alphabets / sizeof *alphabets, pith_critical_n_classes);
    for (size_t c = 0; c < pith_critical_n_classes; c++) {
        oracle o = open_oracle(UINT32_C(1) << c);
        size_t n = strlen(alphabets[c]);
        for (size_t len = 1, texts = n; len <= LONGEST; len++, texts *= n) {
            for (size_t i = 0; i < texts; i++) {
                char text[LONGEST];
                for (size_t at = 0, rest = i; at < len; at++, rest /= n) {
                    text[at] = alphabets[c][rest % n];
                }
                check(&o, &ascii, text, len);
            }
        }
        close_oracle(&o);
    }
}

static void generated_texts_have_the_matches_that_pcre2_finds(void **state) {
    enum { TEXTS = 20000, SETS = 6 };
    pith_critical_ascii ascii;
    pith_critical_ascii_init(&ascii);
    uint64_t seed = 5;
    static char text[TEXT_MAX];
    for (int s = 0; s < SETS; s++) {
        uint32_t classes = s == 0   ? set_of(true)
                           : s == 1 ? set_of(false)
                                    : (uint32_t)next_random(&seed) & (set_of(true) | set_of(false));
        oracle o = open_oracle(classes);
        for (int i = 0; i < TEXTS; i++) {
            size_t len = random_text(&seed, text);
            check(&o, &ascii, text, len);
        }
        close_oracle(&o);
    }
    for (size_t c = 0; c < pith_critical_n_classes; c++) {
        oracle o = open_oracle(UINT32_C(1) << c);
        for (int i = 0; i < TEXTS / 10; i++) {
            size_t len = random_text(&seed, text);
            check(&o, &ascii, text, len);
        }
        close_oracle(&o);
    }
}

/* Lengths at which a pattern's bounded repeat is full. */
static void repeats_end_where_the_patterns_end_them(void **state) {
    static const char *const shapes[][3] = {
        {"x", "1", "a"},      {"", "1", "ms"},    {"", "1", ".2.3"},   {"v1.", "1", "-r"},
        {"v1-", "a", "."},    {"", "a", "=1"},    {"a=1", "b", " "},   {"", "a", "1"},
        {"md5:", "a", ";"},   {"\"", "a", "\""},  {"{{", "a", "}}"},   {"${", "a", "}"},
        {"<A", "B", ">"},     {"", "x", "Error"}, {"", "X", "Errors"}, {"", "a", "/b"},
        {"a/", "b", "/c"},    {"a", "/b", "/"},   {"C:\\", "a", "!"},  {"\\\\", "h", "\\x"},
        {"error[", "A", "]"}, {"", "A", "123"},   {"A", "1", ""},      {".", "a", ""},
        {"", "a", "n't"},     {"1", ".1", "ms"},  {"1", ".1", ""},     {"1m", "a", ""},
        {"1m/", "a", ""},     {"", "f", "0"},     {"0", "f", ""},      {"_", "_", "a_b"}};
    pith_critical_ascii ascii;
    pith_critical_ascii_init(&ascii);
    oracle sets[] = {open_oracle(set_of(true)), open_oracle(set_of(false))};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        for (size_t n = 0; n <= 300; n++) {
            static char text[TEXT_MAX];
            size_t len = (size_t)snprintf(text, sizeof text, "%s", shapes[i][0]);
            for (size_t k = 0; k < n; k++) {
                len += (size_t)snprintf(text + len, sizeof text - len, "%s", shapes[i][1]);
            }
            len += (size_t)snprintf(text + len, sizeof text - len, "%s", shapes[i][2]);
            check(&sets[0], &ascii, text, len);
            check(&sets[1], &ascii, text, len);
        }
    }
    close_oracle(&sets[0]);
    close_oracle(&sets[1]);
}

/* A table without one bit: each class is missed by the comparison above where it is not looked for.
 */
static void a_filter_that_lets_a_class_slip_is_noticed(void **state) {
    uint64_t seed = 7;
    static char text[TEXT_MAX];
    for (size_t c = 0; c < pith_critical_n_classes; c++) {
        uint32_t bit = UINT32_C(1) << c;
        oracle o = open_oracle(bit);
        for (int table = 0; table < 3; table++) {
            pith_critical_ascii broken;
            pith_critical_ascii_init(&broken);
            uint32_t *tables[] = {broken.first, broken.after, broken.possible};
            for (size_t i = 0; i < 256; i++) {
                tables[table][i] &= ~bit;
            }
            bool noticed = false;
            for (int i = 0; i < 5000 && !noticed; i++) {
                noticed = !agree(&o, &broken, text, random_text(&seed, text));
            }
            if (!noticed) {
                fail_msg("class %zu: nothing noticed without its bits in table %d", c, table);
            }
        }
        close_oracle(&o);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_text_has_the_matches_that_pcre2_finds),
        cmocka_unit_test(generated_texts_have_the_matches_that_pcre2_finds),
        cmocka_unit_test(repeats_end_where_the_patterns_end_them),
        cmocka_unit_test(a_filter_that_lets_a_class_slip_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
