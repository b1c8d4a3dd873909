/* Seeded texts of many kinds for property tests. */
#ifndef PITH_TESTS_DECIDE_GENERATE_H
#define PITH_TESTS_DECIDE_GENERATE_H

#include <stdint.h>
#include <stdio.h>
#include <string.h>

typedef struct generator {
    uint64_t state;
} generator;

static inline uint32_t gen_below(generator *g, uint32_t n) {
    g->state = g->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((g->state >> 33) % n);
}

static const char *const gen_plain[] = {"the",
                                        "of",
                                        "window",
                                        "score",
                                        "time",
                                        "people",
                                        "between",
                                        "little",
                                        "made",
                                        "system",
                                        "caf\xC3\xA9",
                                        "\xE4\xB8\xAD\xE6\x96\x87\xE5\xAD\x97",
                                        "\xF0\x9F\x8E\x89",
                                        "e\xCC\x81t\xCC\x81",
                                        "\xD7\xA9\xD7\x9C\xD7\x95\xD7\x9D",
                                        "[MASK]",
                                        "[CLS]",
                                        "a",
                                        "x)",
                                        "(y",
                                        "long-ish,"};
static const char *const gen_critical[] = {
    "42",        "3.14",       "0x7fff",   "SIGILL",        "os.path",    "/usr/lib",
    "--verbose", "IndexError", "not",      "never",         "and",        "must",
    "v1.2.3",    "4.2GB",      "a=5",      "snake_case",    "lowerCamel", "C:\\Temp\\x",
    "-Wall",     "{{TAG_1}}",  "'quoted'", "src/Main.java", "9fbd47ba12"};
static const char *const gen_spaces[] = {" ",      " ",        " ",        " ",    "  ",
                                         "\n",     "\n",       "\n\n",     "\r\n", "\t",
                                         "\n    ", "\xC2\xA0", "\n\n\n  ", "\x1C"};

#define GEN_PICK(g, list) ((list)[gen_below((g), sizeof(list) / sizeof *(list))])

static inline size_t gen_put(char *out, size_t at, size_t cap, const char *bytes) {
    size_t n = strlen(bytes);
    if (at + n > cap) {
        return at;
    }
    memcpy(out + at, bytes, n);
    return at + n;
}

/* A word of many tokens: letters, digits and marks, or one character again and again. */
static inline size_t gen_long_word(generator *g, char *out, size_t at, size_t cap) {
    static const char *const units[] = {"qz", "x9,", "\xE4\xB8\xA5", "ab=17;", "-", "aB/c"};
    const char *unit = GEN_PICK(g, units);
    for (uint32_t n = 20 + gen_below(g, 150); n > 0; n--) {
        at = gen_put(out, at, cap, unit);
    }
    return at;
}

static inline size_t gen_table(generator *g, char *out, size_t at, size_t cap) {
    uint32_t cells = 3 + gen_below(g, 2);
    at = gen_put(out, at, cap, "\n");
    for (uint32_t row = 0, rows = 2 + gen_below(g, 4); row < rows; row++) {
        for (uint32_t c = 0; c < cells; c++) {
            at = gen_put(out, at, cap, c == 0 ? "" : "   ");
            at = gen_put(out, at, cap, GEN_PICK(g, gen_plain));
        }
        at = gen_put(out, at, cap, "\n");
    }
    return at;
}

/* About `n_words` words into out[cap]; returns the length. Always valid UTF-8. */
static inline size_t gen_text(generator *g, uint32_t n_words, char *out, size_t cap) {
    uint32_t critical_percent = gen_below(g, 3) * 15;
    size_t at = 0;
    if (gen_below(g, 4) == 0) {
        at = gen_put(out, at, cap, GEN_PICK(g, gen_spaces));
    }
    for (uint32_t i = 0; i < n_words; i++) {
        uint32_t kind = gen_below(g, 200);
        if (kind == 0) {
            at = gen_long_word(g, out, at, cap);
        } else if (kind == 1) {
            at = gen_table(g, out, at, cap);
        } else if (gen_below(g, 100) < critical_percent) {
            at = gen_put(out, at, cap, GEN_PICK(g, gen_critical));
        } else {
            at = gen_put(out, at, cap, GEN_PICK(g, gen_plain));
        }
        if (i + 1 < n_words || gen_below(g, 2) == 0) {
            at = gen_put(out, at, cap, GEN_PICK(g, gen_spaces));
        }
    }
    return at;
}

#endif
