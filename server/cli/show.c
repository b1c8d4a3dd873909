#include "server/cli/show.h"

enum { BAR_CELLS = 30 };

/* ANSI: faint, bold, reset. */
static const char dim[] = "\x1b[2m";
static const char bold[] = "\x1b[1m";
static const char reset[] = "\x1b[0m";

static void put(FILE *out, const char *text, size_t len) {
    (void)fwrite(text, 1, len, out);
}

static void show_dropped(FILE *out, const char *text, size_t len, bool colour) {
    (void)fputs(colour ? dim : "[-", out);
    put(out, text, len);
    (void)fputs(colour ? reset : "-]", out);
}

void pith_show_explained(FILE *out, const char *text, size_t len,
                         const Pith__V1__CompressResponse *response, bool colour) {
    const Pith__V1__Explanation *e = response->explanation;
    size_t at = 0;
    for (size_t i = 0; e != NULL && i < e->n_word_start; i++) {
        size_t start = e->word_start[i];
        size_t end = e->word_end[i];
        put(out, text + at, start - at);
        if (!e->kept[i]) {
            show_dropped(out, text + start, end - start, colour);
        } else if (colour && e->critical[i]) {
            (void)fputs(bold, out);
            put(out, text + start, end - start);
            (void)fputs(reset, out);
        } else {
            put(out, text + start, end - start);
        }
        at = end;
    }
    put(out, text + at, len - at);
    if (len > 0 && text[len - 1] != '\n') {
        (void)fputc('\n', out);
    }
}

static const char *reason_name(Pith__V1__PassthroughReason reason) {
    static const char *const names[] = {
        [PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_UNSPECIFIED] = "unspecified",
        [PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_EMPTY] = "empty",
        [PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_TOO_SHORT] = "too short",
        [PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_NOTHING_DROPPED] = "nothing dropped",
        [PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_NOTHING_KEPT] = "nothing kept",
        [PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_NONFINITE_SCORE] = "score not a number",
        [PITH__V1__PASSTHROUGH_REASON__PASSTHROUGH_REASON_DEADLINE] = "deadline",
    };
    size_t index = (size_t)reason;
    return index < sizeof names / sizeof *names ? names[index] : "unknown";
}

void pith_show_figures(FILE *out, const Pith__V1__CompressResponse *r) {
    double share = r->input_tokens > 0 ? 100.0 * r->kept_tokens / r->input_tokens : 100.0;
    double ms = r->timing != NULL ? r->timing->total_us / 1000.0 : 0.0;
    (void)fprintf(out, "words %u -> %u, tokens %u -> %u (%.1f %%), critical %u of %u kept, %.1f ms",
                  r->input_words, r->kept_words, r->input_tokens, r->kept_tokens, share,
                  r->critical_kept, r->critical_total, ms);
    if (r->folded_lines > 0) {
        (void)fprintf(out, ", %u lines folded with %u critical", r->folded_lines,
                      r->folded_critical);
    }
    if (r->passed_through) {
        (void)fprintf(out, ", passed through: %s", reason_name(r->passthrough_reason));
    }
    if (r->budget_missed) {
        (void)fputs(", budget missed: critical spans need more", out);
    }
    if (r->unscored_words > 0) {
        (void)fprintf(out, ", %u words unscored", r->unscored_words);
    }
    (void)fputc('\n', out);
}

void pith_show_progress(FILE *out, uint32_t done, uint32_t total) {
    if (total == 0) {
        return;
    }
    uint32_t cells = (uint32_t)((uint64_t)done * BAR_CELLS / total);
    (void)fputs("\r[", out);
    for (uint32_t i = 0; i < BAR_CELLS; i++) {
        (void)fputc(i < cells ? '#' : '.', out);
    }
    (void)fprintf(out, "] %3u %%", (uint32_t)((uint64_t)done * 100 / total));
    (void)fputs(done == total ? "\r\x1b[K" : "", out);
    (void)fflush(out);
}
