/* The frame guard on bytes made here: what is a flood, what is not, and in whatever pieces. */
#include "server/grpc/frame_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { BYTES_MAX = 1 << 20 };

#define MS INT64_C(1000000)

enum { DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION };
enum { END_STREAM = 1, ACK = 1, END_HEADERS = 4 };

typedef struct bytes {
    uint8_t *data;
    size_t n;
} bytes;

static bytes opening(void) {
    bytes b = {.data = calloc(1, BYTES_MAX)};
    memcpy(b.data, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    b.n = 24;
    return b;
}

static void frame(bytes *b, int type, int flags, uint32_t stream, uint32_t len) {
    uint8_t header[9] = {(uint8_t)(len >> 16),    (uint8_t)(len >> 8),    (uint8_t)len,
                         (uint8_t)type,           (uint8_t)flags,         (uint8_t)(stream >> 24),
                         (uint8_t)(stream >> 16), (uint8_t)(stream >> 8), (uint8_t)stream};
    assert_true(b->n + sizeof header + len <= BYTES_MAX);
    memcpy(b->data + b->n, header, sizeof header);
    b->n += sizeof header + len; /* the payload is zero: nobody looks at it */
}

/* Feeds everything in pieces of `piece` bytes at `now`; forgets it. */
static pith_flood feed(pith_frame_guard *guard, bytes *b, size_t piece, int64_t now) {
    pith_flood flood = PITH_FLOOD_NONE;
    for (size_t at = 0; at < b->n; at += piece) {
        size_t n = b->n - at < piece ? b->n - at : piece;
        flood = pith_frame_guard_feed(guard, b->data + at, n, now);
    }
    b->n = 0;
    return flood;
}

static void a_flood_of_resets_is_seen_in_pieces_of_any_size(void **state) {
    static const size_t pieces[] = {1, 2, 7, 9, 13, 4096, BYTES_MAX};
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++) {
        for (int n = 200; n <= 201; n++) {
            pith_frame_guard guard;
            pith_frame_guard_init(&guard, false, 0);
            bytes b = opening();
            for (int k = 0; k < n; k++) {
                frame(&b, HEADERS, END_HEADERS, (uint32_t)(2 * k + 1), 50);
                frame(&b, RST_STREAM, 0, (uint32_t)(2 * k + 1), 4);
            }
            assert_int_equal(feed(&guard, &b, pieces[i], 0),
                             n == 200 ? PITH_FLOOD_NONE : PITH_FLOOD_RESETS);
            assert_int_equal(guard.n_streams, n);
            free(b.data);
        }
    }
}

static void a_wary_guard_allows_few_resets_at_once_and_as_many_over_time(void **state) {
    pith_frame_guard guard;
    pith_frame_guard_init(&guard, true, 0);
    bytes b = opening();
    uint32_t stream = 1;
    frame(&b, SETTINGS, ACK, 0, 0);
    for (int64_t ms = 0; ms < 2000; ms += 10) { /* 900 a second */
        for (int k = 0; k < 9; k++, stream += 2) {
            frame(&b, HEADERS, END_HEADERS, stream, 50);
            frame(&b, RST_STREAM, 0, stream, 4);
        }
        assert_int_equal(feed(&guard, &b, 64, ms * MS), PITH_FLOOD_NONE);
    }
    pith_frame_guard_init(&guard, true, 0);
    b = (bytes){.data = b.data};
    memset(b.data, 0, BYTES_MAX);
    b.n = 24;
    for (uint32_t k = 0; k < 21; k++) {
        frame(&b, HEADERS, END_HEADERS, 2 * k + 1, 50);
        frame(&b, RST_STREAM, 0, 2 * k + 1, 4);
    }
    assert_int_equal(feed(&guard, &b, 64, 0), PITH_FLOOD_RESETS);
    free(b.data);
}

static void a_flood_that_goes_on_is_seen_whatever_the_bucket_held(void **state) {
    pith_frame_guard guard;
    pith_frame_guard_init(&guard, false, 0);
    bytes b = opening();
    pith_flood flood = PITH_FLOOD_NONE;
    int64_t ms = 60000; /* a long quiet life first */
    uint32_t stream = 1;
    frame(&b, SETTINGS, ACK, 0, 0);
    while (flood == PITH_FLOOD_NONE && ms < 62000) { /* 6,000 a second */
        for (int k = 0; k < 60; k++, stream += 2) {
            frame(&b, HEADERS, END_HEADERS, stream, 50);
            frame(&b, RST_STREAM, 0, stream, 4);
        }
        flood = feed(&guard, &b, 4096, ms * MS);
        ms += 10;
    }
    assert_int_equal(flood, PITH_FLOOD_RESETS);
    assert_true(ms <= 60510);
    free(b.data);
}

static void cancelling_a_thousand_calls_that_ran_is_no_flood(void **state) {
    pith_frame_guard guard;
    pith_frame_guard_init(&guard, false, 0);
    bytes b = opening();
    frame(&b, SETTINGS, ACK, 0, 0);
    for (int round = 0; round < 3; round++) {
        uint32_t first = (uint32_t)(1 + 2000 * round);
        for (uint32_t k = 0; k < 1000; k++) {
            frame(&b, HEADERS, END_HEADERS, first + 2 * k, 50);
            frame(&b, DATA, END_STREAM, first + 2 * k, 20);
        }
        assert_int_equal(feed(&guard, &b, 1000, (1 + 1000 * round) * MS), PITH_FLOOD_NONE);
        for (uint32_t k = 0; k < 1000; k++) {
            frame(&b, RST_STREAM, 0, first + 2 * k, 4);
        }
        assert_int_equal(feed(&guard, &b, 1000, (150 + 1000 * round) * MS), PITH_FLOOD_NONE);
    }
    free(b.data);
}

static void a_header_block_ends_in_time_or_is_a_flood(void **state) {
    pith_frame_guard guard;
    bytes b = opening();
    pith_frame_guard_init(&guard, false, 0);
    frame(&b, HEADERS, 0, 1, 16384);
    frame(&b, CONTINUATION, 0, 1, 16384);
    frame(&b, CONTINUATION, END_HEADERS, 1, 16384);
    frame(&b, HEADERS, END_HEADERS, 3, 16384); /* another block: counted anew */
    assert_int_equal(feed(&guard, &b, 1000, 0), PITH_FLOOD_NONE);
    frame(&b, HEADERS, 0, 5, 16384);
    for (int i = 0; i < 4; i++) {
        frame(&b, CONTINUATION, 0, 5, 16384);
    }
    assert_int_equal(feed(&guard, &b, 1000, 0), PITH_FLOOD_HEADER_BLOCK);

    b.n = 24;
    pith_frame_guard_init(&guard, false, 0);
    frame(&b, HEADERS, 0, 1, 10);
    for (int i = 0; i < 64; i++) {
        frame(&b, CONTINUATION, 0, 1, 1);
    }
    assert_int_equal(feed(&guard, &b, 1000, 0), PITH_FLOOD_HEADER_BLOCK);
    b.n = 24; /* and one frame that claims 16 MiB, before its bytes have come */
    pith_frame_guard_init(&guard, false, 0);
    frame(&b, HEADERS, 0, 1, 0);
    b.data[24] = 0xFF;
    assert_int_equal(feed(&guard, &b, 1, 0), PITH_FLOOD_HEADER_BLOCK);
    free(b.data);
}

static void frames_that_carry_nothing_are_a_flood_and_pings_are_the_cores(void **state) {
    static const int kinds[] = {DATA, PRIORITY, SETTINGS, PUSH, GOAWAY, 77, PING, WINDOW};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        pith_frame_guard guard;
        pith_frame_guard_init(&guard, false, 0);
        bytes b = opening();
        for (int k = 0; k < 1001; k++) {
            frame(&b, kinds[i], 0, 1, 0);
        }
        bool counted = kinds[i] != PING && kinds[i] != WINDOW;
        assert_int_equal(feed(&guard, &b, 100, 0),
                         counted ? PITH_FLOOD_EMPTY_FRAMES : PITH_FLOOD_NONE);
        free(b.data);
    }
}

static void streams_without_acknowledging_the_limit_are_a_flood(void **state) {
    for (int acked = 0; acked < 2; acked++) {
        pith_frame_guard guard;
        pith_frame_guard_init(&guard, false, 0);
        bytes b = opening();
        if (acked == 1) {
            frame(&b, SETTINGS, ACK, 0, 0);
        }
        for (uint32_t k = 0; k < 2049; k++) {
            frame(&b, HEADERS, END_HEADERS, 2 * k + 1, 50);
        }
        assert_int_equal(feed(&guard, &b, 999, 0),
                         acked == 1 ? PITH_FLOOD_NONE : PITH_FLOOD_STREAMS);
        free(b.data);
    }
}

static void a_flood_stays_a_flood(void **state) {
    pith_frame_guard guard;
    pith_frame_guard_init(&guard, false, 0);
    bytes b = opening();
    for (int k = 0; k < 1001; k++) {
        frame(&b, PRIORITY, 0, 1, 5);
    }
    assert_int_equal(feed(&guard, &b, 100, 0), PITH_FLOOD_EMPTY_FRAMES);
    frame(&b, PING, 0, 0, 8);
    assert_int_equal(feed(&guard, &b, 100, 3600 * 1000 * MS), PITH_FLOOD_EMPTY_FRAMES);
    free(b.data);
}

/* Whatever comes, nothing outside is read and the states stay inside their bounds. */
static void noise_is_survived(void **state) {
    uint32_t seed = 1;
    for (int round = 0; round < 2000; round++) {
        pith_frame_guard guard;
        pith_frame_guard_init(&guard, (round & 1) != 0, 0);
        size_t n = (size_t)(round % 400);
        uint8_t *noise = malloc(n + 1);
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525 + 1013904223;
            noise[i] = (uint8_t)(seed >> (i % 3 == 0 ? 24 : 30)); /* often small: short frames */
        }
        pith_flood flood = pith_frame_guard_feed(&guard, noise, n, round * MS);
        assert_true(guard.n_header < PITH_FRAME_HEADER_BYTES && strlen(pith_flood_text(flood)) > 0);
        free(noise);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_flood_of_resets_is_seen_in_pieces_of_any_size),
        cmocka_unit_test(a_wary_guard_allows_few_resets_at_once_and_as_many_over_time),
        cmocka_unit_test(a_flood_that_goes_on_is_seen_whatever_the_bucket_held),
        cmocka_unit_test(cancelling_a_thousand_calls_that_ran_is_no_flood),
        cmocka_unit_test(a_header_block_ends_in_time_or_is_a_flood),
        cmocka_unit_test(frames_that_carry_nothing_are_a_flood_and_pings_are_the_cores),
        cmocka_unit_test(streams_without_acknowledging_the_limit_are_a_flood),
        cmocka_unit_test(a_flood_stays_a_flood),
        cmocka_unit_test(noise_is_survived),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
