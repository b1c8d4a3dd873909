#include "runtime/decide/line_template.h"

#include "runtime/decide/line_scan.h"

#include <string.h>

typedef struct masker {
    const char *s;
    size_t len;
    pith_line_template *out;
    size_t read_until[3]; /* by kind of quote: behind a string that is read through */
    bool no_close[3];     /* no closing quote of the kind in the rest of the line */
} masker;

static void put(masker *m, char byte) {
    m->out->bytes[m->out->len++] = byte;
    m->out->letters = m->out->letters || pith_scan_letter(byte);
}

static void put_literal(masker *m, size_t from, size_t to) {
    for (size_t i = from; i < to; i++) {
        put(m, m->s[i]);
    }
}

static size_t put_mask(masker *m, int mask, size_t end) {
    m->out->bytes[m->out->len++] = (char)mask;
    m->out->masked = true;
    return end;
}

static size_t put_id(masker *m, size_t at, size_t end) {
    size_t i = at;
    while (i < end && pith_scan_letter(m->s[i])) {
        put(m, m->s[i++]);
    }
    m->out->ids[m->out->n_ids++] = (pith_line_id){(uint32_t)at, (uint32_t)end};
    return put_mask(m, PITH_MASK_ID, end);
}

static size_t put_space(masker *m, size_t at) {
    size_t end = at;
    while (end < m->len && pith_scan_space(m->s[end])) {
        end++;
    }
    if (at == 0 && end < m->len && !pith_scan_digit(m->s[end])) {
        put_literal(m, 0, end);
    } else {
        put(m, ' ');
    }
    return end;
}

/* CVE-2024-1234, ORDER-17: capitals, then parts behind hyphens of which the first is digits. */
static size_t ticket_end(const masker *m, size_t at, size_t end) {
    for (size_t i = at; i < end; i++) {
        if (m->s[i] < 'A' || m->s[i] > 'Z') {
            return 0;
        }
    }
    if (end - at < 2 || end + 1 >= m->len || m->s[end] != '-' || !pith_scan_digit(m->s[end + 1])) {
        return 0;
    }
    while (end + 1 < m->len && m->s[end] == '-' && pith_scan_word(m->s[end + 1])) {
        end = pith_scan_word_end(m->s, m->len, end + 1);
    }
    return end;
}

/* A word that starts at `at`: literal, literal and a number (shard_17), or an identifier. */
static size_t put_word(masker *m, size_t at) {
    size_t end = pith_scan_word_end(m->s, m->len, at);
    size_t ticket = ticket_end(m, at, end);
    if (ticket > 0) {
        put_literal(m, at, end);
        m->out->ids[m->out->n_ids++] = (pith_line_id){(uint32_t)at, (uint32_t)ticket};
        return put_mask(m, PITH_MASK_ID, ticket);
    }
    size_t tail = end; /* digits at the end */
    while (tail > at && pith_scan_digit(m->s[tail - 1])) {
        tail--;
    }
    for (size_t i = at; i < tail; i++) {
        if (pith_scan_digit(m->s[i])) {
            return put_id(m, at, end);
        }
    }
    if (tail == end) {
        put_literal(m, at, end);
        return end;
    }
    if (tail == at || m->s[tail - 1] != '_') {
        return put_id(m, at, end);
    }
    put_literal(m, at, tail);
    return put_mask(m, PITH_MASK_NUMBER, end);
}

/* Where a word or a path may begin, at `at`. */
static size_t put_token(masker *m, size_t at) {
    const char *s = m->s;
    size_t end = 0;
    if ((end = pith_scan_uuid(s, m->len, at)) > 0) {
        return put_mask(m, PITH_MASK_UUID, end);
    }
    if ((end = pith_scan_time(s, m->len, at)) > 0) {
        return put_mask(m, PITH_MASK_TIME, end);
    }
    if ((end = pith_scan_path(s, m->len, at)) > 0) {
        return put_mask(m, PITH_MASK_PATH, end);
    }
    if ((end = pith_scan_version(s, m->len, at)) > 0) {
        return put_id(m, at, end);
    }
    if ((end = pith_scan_number(s, m->len, at)) > 0) {
        return put_mask(m, PITH_MASK_NUMBER, end);
    }
    if ((end = pith_scan_hex(s, m->len, at)) > 0) {
        return put_mask(m, PITH_MASK_HEX, end);
    }
    if (pith_scan_word(s[at])) {
        return put_word(m, at);
    }
    put(m, s[at]);
    return at + 1;
}

static int quote_kind(char c) {
    return c == '"' ? 0 : c == '\'' ? 1 : c == '`' ? 2 : -1;
}

/* Whether a string with white space in it is a sentence and not the value of a key. */
static bool is_sentence(const masker *m, size_t open, size_t close) {
    for (size_t i = open + 1; i < close; i++) {
        if (pith_scan_space(m->s[i])) {
            return pith_scan_sentence_place(m->s, open);
        }
    }
    return false;
}

static bool is_key(const masker *m, size_t open, size_t close) {
    size_t at = close + 1;
    while (at < m->len && pith_scan_space(m->s[at])) {
        at++;
    }
    return m->s[open] == '"' && at < m->len && m->s[at] == ':';
}

static size_t put_quote(masker *m, size_t at, int kind) {
    bool opens = at == 0 || (!pith_scan_word(m->s[at - 1]) && m->s[at - 1] != '\\');
    size_t close = 0;
    if (opens && !m->no_close[kind] && at >= m->read_until[kind]) {
        close = pith_scan_close(m->s, m->len, at);
        m->no_close[kind] = close == 0;
    }
    if (close == 0) {
        put(m, m->s[at]);
        return at + 1;
    }
    if (is_key(m, at, close)) {
        put_literal(m, at, close + 1);
        return close + 1;
    }
    if (is_sentence(m, at, close)) {
        m->read_until[kind] = close + 1;
        put(m, m->s[at]);
        return at + 1;
    }
    return put_mask(m, PITH_MASK_QUOTED, close + 1);
}

bool pith_line_template_make(pith_line_template *t, const char *line, size_t len) {
    t->len = 0;
    t->n_ids = 0;
    t->letters = false;
    t->masked = false;
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)line[i] < PITH_MASK_END) {
            return false;
        }
    }
    masker m = {.s = line, .len = len, .out = t};
    for (size_t at = 0; at < len;) {
        int kind = quote_kind(line[at]);
        if (pith_scan_space(line[at])) {
            at = put_space(&m, at);
        } else if (kind >= 0) {
            at = put_quote(&m, at, kind);
        } else {
            at = put_token(&m, at);
        }
    }
    return true;
}
