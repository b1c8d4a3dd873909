/* Arena, queue, UTF-8, files, status: what every layer stands on. */
#include "runtime/base/arena.h"
#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/queue.h"
#include "runtime/base/utf8.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static void arena_refuses_what_is_over_its_bound(void **state) {
    pith_arena arena;
    pith_arena_init(&arena, 256);
    assert_non_null(pith_arena_alloc(&arena, 128, 1));
    assert_null(pith_arena_alloc(&arena, 129, 1));
    assert_non_null(pith_arena_alloc(&arena, 128, 1));
    assert_null(pith_arena_alloc(&arena, 1, 1));
    pith_arena_reset(&arena);
    assert_int_equal(arena.bytes_used, 0);
    assert_non_null(pith_arena_alloc(&arena, 256, 1));
    pith_arena_reset(&arena);
}

static void arena_refuses_sizes_that_overflow(void **state) {
    pith_arena arena;
    pith_arena_init(&arena, SIZE_MAX);
    assert_null(pith_arena_alloc(&arena, SIZE_MAX / 2, 3));
    assert_null(pith_arena_alloc(&arena, SIZE_MAX, 1));
    pith_arena_reset(&arena);
}

static void arena_memory_is_aligned_and_disjoint(void **state) {
    pith_arena arena;
    pith_arena_init(&arena, 1 << 22);
    unsigned char *parts[200];
    for (size_t i = 0; i < 200; i++) {
        parts[i] = pith_arena_calloc(&arena, i * 7 + 1, 1);
        assert_non_null(parts[i]);
        assert_int_equal((uintptr_t)parts[i] % 64, 0);
        memset(parts[i], (int)i, i * 7 + 1);
    }
    for (size_t i = 0; i < 200; i++) {
        assert_int_equal(parts[i][0], i & 0xFF);
        assert_int_equal(parts[i][i * 7], i & 0xFF);
    }
    pith_arena_reset(&arena);
}

static void queue_is_fifo_and_a_full_one_refuses(void **state) {
    pith_queue *queue;
    int items[3];
    assert_int_equal(pith_queue_open(&queue, 2, NULL), PITH_OK);
    assert_true(pith_queue_push(queue, &items[0]));
    assert_true(pith_queue_push(queue, &items[1]));
    assert_false(pith_queue_push(queue, &items[2]));
    assert_ptr_equal(pith_queue_pop(queue, 0), &items[0]);
    assert_true(pith_queue_push(queue, &items[2]));
    assert_ptr_equal(pith_queue_pop(queue, 0), &items[1]);
    assert_ptr_equal(pith_queue_pop(queue, INT64_MAX), &items[2]);
    assert_null(pith_queue_pop(queue, 0));
    int64_t begin = pith_clock_now(&pith_clock_system);
    assert_null(pith_queue_pop(queue, 20000000));
    assert_true(pith_clock_now(&pith_clock_system) - begin >= 20000000);
    pith_queue_close(queue);
}

static void a_shut_queue_gives_out_what_is_in_and_takes_nothing(void **state) {
    pith_queue *queue;
    int item;
    assert_int_equal(pith_queue_open(&queue, 4, NULL), PITH_OK);
    assert_true(pith_queue_push(queue, &item));
    pith_queue_shut(queue);
    assert_false(pith_queue_push(queue, &item));
    assert_ptr_equal(pith_queue_pop(queue, INT64_MAX), &item);
    assert_null(pith_queue_pop(queue, INT64_MAX));
    pith_queue_close(queue);
}

enum { PUSHERS = 3, PUSHES = 2000 };

static void *push_many(void *arg) {
    for (int i = 0; i < PUSHES; i++) {
        while (!pith_queue_push(arg, arg)) {
            (void)usleep(50);
        }
    }
    return NULL;
}

static void every_item_of_many_producers_arrives_once(void **state) {
    pith_queue *queue;
    pthread_t threads[PUSHERS];
    assert_int_equal(pith_queue_open(&queue, 16, NULL), PITH_OK);
    for (int i = 0; i < PUSHERS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, push_many, queue), 0);
    }
    for (int i = 0; i < PUSHERS * PUSHES; i++) {
        assert_ptr_equal(pith_queue_pop(queue, INT64_MAX), queue);
    }
    for (int i = 0; i < PUSHERS; i++) {
        (void)pthread_join(threads[i], NULL);
    }
    assert_int_equal(pith_queue_len(queue), 0);
    pith_queue_close(queue);
}

static void utf8_finds_the_first_bad_byte(void **state) {
    static const struct {
        const char *text;
        size_t len;
        size_t valid;
    } cases[] = {
        {"", 0, 0},
        {"plain ascii text, longer than one word", 38, 38},
        {"\xC3\xA9t\xC3\xA9", 5, 5},
        {"\xE2\x82\xAC\xF0\x9F\x98\x80", 7, 7},
        {"a\0b", 3, 3},
        {"abcdefgh\x80", 9, 8},       /* lone continuation */
        {"ab\xC0\x80", 4, 2},         /* overlong NUL */
        {"ab\xE0\x80\x80", 5, 2},     /* overlong */
        {"ab\xED\xA0\x80", 5, 2},     /* surrogate */
        {"ab\xF4\x90\x80\x80", 6, 2}, /* over U+10FFFF */
        {"ab\xF0\x9F\x98", 5, 2},     /* cut */
        {"ab\xE2\x28\xA1", 5, 2},     /* bad continuation */
        {"ab\xFE", 3, 2},
        {"\xF4\x8F\xBF\xBF", 4, 4}, /* U+10FFFF */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(pith_utf8_valid(cases[i].text, cases[i].len), cases[i].valid);
    }
}

static void utf8_decodes_what_it_encodes_for_every_code_point(void **state) {
    for (uint32_t code = 0; code <= 0x10FFFF; code++) {
        char bytes[4];
        uint32_t back;
        size_t len = pith_utf8_encode(code, bytes);
        bool surrogate = code >= 0xD800 && code < 0xE000;
        size_t valid = pith_utf8_valid(bytes, len);
        if (surrogate) {
            assert_int_equal(valid, 0);
            continue;
        }
        assert_int_equal(valid, len);
        assert_int_equal(pith_utf8_decode(bytes, len, 0, &back), len);
        assert_int_equal(back, code);
    }
}

static void a_file_is_read_and_mapped_and_bounds_are_named(void **state) {
    char path[] = "/tmp/pith-base-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "hello", 5), 5);
    (void)close(fd);
    pith_file file;
    pith_err err;
    assert_int_equal(pith_file_read(&file, path, 5, &err), PITH_OK);
    assert_int_equal(file.len, 5);
    assert_string_equal(file.data, "hello");
    pith_file_close(&file);
    assert_int_equal(pith_file_read(&file, path, 4, &err), PITH_INVALID);
    assert_non_null(strstr(err.text, "longer than 4 bytes"));
    assert_int_equal(pith_file_map(&file, path, &err), PITH_OK);
    assert_memory_equal(file.data, "hello", 5);
    pith_file_discard(&file, 0, file.len);
    assert_memory_equal(file.data, "hello", 5);
    pith_file_close(&file);
    (void)unlink(path);
    assert_int_equal(pith_file_read(&file, path, 4, &err), PITH_NOT_FOUND);
    assert_non_null(strstr(err.text, path));
}

static void an_error_text_is_cut_never_overrun(void **state) {
    pith_err err;
    char big[2 * PITH_ERR_TEXT_BYTES];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    assert_int_equal(pith_fail(&err, PITH_IO, "%s", big), PITH_IO);
    assert_int_equal(strlen(err.text), PITH_ERR_TEXT_BYTES - 1);
    assert_int_equal(pith_fail(NULL, PITH_IO, "%s", big), PITH_IO);
    for (int s = 0; s < PITH_STATUS_COUNT; s++) {
        assert_non_null(pith_status_name((pith_status)s));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arena_refuses_what_is_over_its_bound),
        cmocka_unit_test(arena_refuses_sizes_that_overflow),
        cmocka_unit_test(arena_memory_is_aligned_and_disjoint),
        cmocka_unit_test(queue_is_fifo_and_a_full_one_refuses),
        cmocka_unit_test(a_shut_queue_gives_out_what_is_in_and_takes_nothing),
        cmocka_unit_test(every_item_of_many_producers_arrives_once),
        cmocka_unit_test(utf8_finds_the_first_bad_byte),
        cmocka_unit_test(utf8_decodes_what_it_encodes_for_every_code_point),
        cmocka_unit_test(a_file_is_read_and_mapped_and_bounds_are_named),
        cmocka_unit_test(an_error_text_is_cut_never_overrun),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
