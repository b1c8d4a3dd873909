#include "runtime/text/tabular.h"

#include "runtime/text/eight.h"
#include "runtime/text/words.h"

#include <string.h>

/* Cells of a stripped, non-empty line parted by runs of white space. */
static uint32_t cells_by_space(const char *text, size_t start, size_t end, bool tab_parts) {
    uint32_t cells = 1;
    size_t pos = start;
    while ((pos = pith_word_end(text, end, pos)) < end) {
        uint32_t run = 0;
        bool tab = false;
        while (pos < end) {
            size_t step = pith_space_len(text, end, pos);
            if (step == 0) {
                break;
            }
            tab = tab || text[pos] == '\t';
            pos += step;
            run++;
        }
        if (run >= 2 || (tab && tab_parts)) {
            cells++;
        }
    }
    return cells;
}

static uint32_t cells_by_bar(const char *text, size_t start, size_t end) {
    uint32_t bars = 0;
    for (size_t i = start; i < end; i++) {
        bars += text[i] == '|';
    }
    return bars - 1;
}

/* No run of white space that parts cells stands within the stripped line, nor anything that may be
 * white space beyond ASCII: it is one cell. */
static bool is_one_cell(const char *text, size_t start, size_t end, bool tab_parts) {
    const uint64_t top = PITH_EIGHT(0x80);
    uint64_t before = 0; /* the last byte of the eight before, as the first of a set */
    for (size_t pos = start; pos < end; pos += 8) {
        char rest[8] = "xxxxxxx";
        if (end - pos < 8) {
            memcpy(rest, text + pos, end - pos);
        }
        uint64_t eight = pith_eight_at(end - pos < 8 ? rest : text + pos);
        uint64_t blank = pith_eight_no_mark(eight);
        bool parts = (blank & (blank << 8 | before)) != 0;
        if ((eight & top) != 0 || parts || (tab_parts && pith_eight_equal(eight, '\t') != 0)) {
            return false;
        }
        before = blank >> 56;
    }
    return true;
}

/* Kind of row: lines of one run agree in it. 0 for what is no row. */
static uint64_t row_kind(const char *text, size_t start, size_t end, pith_profile profile) {
    pith_space_strip(text, &start, &end);
    if (start == end) {
        return 0;
    }
    bool faithful = profile == PITH_PROFILE_FAITHFUL;
    if (faithful && end - start >= 2 && text[start] == '|' && text[end - 1] == '|') {
        uint32_t cells = cells_by_bar(text, start, end);
        return cells >= PITH_TABLE_CELLS_MIN ? UINT64_C(1) << 32 | cells : 0;
    }
    if (is_one_cell(text, start, end, faithful)) {
        return 0;
    }
    uint32_t cells = cells_by_space(text, start, end, faithful);
    return cells >= PITH_TABLE_CELLS_MIN ? cells : 0;
}

static void close_run(bool *rows, uint64_t kind, uint32_t begin, uint32_t end) {
    bool table = kind != 0 && end - begin >= PITH_TABLE_ROWS_MIN;
    memset(rows + begin, table, end - begin);
}

void pith_tabular_mark(const char *text, size_t len, pith_profile profile, bool *rows) {
    uint32_t line = 0;
    uint32_t run = 0; /* first line of the run at hand */
    uint64_t run_kind = 0;
    size_t start = 0;
    for (;;) {
        const char *nl = start < len ? memchr(text + start, '\n', len - start) : NULL;
        size_t end = nl == NULL ? len : (size_t)(nl - text);
        uint64_t kind = row_kind(text, start, end, profile);
        if (kind != run_kind) {
            close_run(rows, run_kind, run, line);
            run = line;
            run_kind = kind;
        }
        line++;
        if (nl == NULL) {
            break;
        }
        start = end + 1;
    }
    close_run(rows, run_kind, run, line);
}
