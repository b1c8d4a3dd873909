/* SHA-256 against the examples of FIPS 180-4 and NIST's long-message vectors, on both paths. */
#include "runtime/base/sha256.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

typedef struct vector {
    const char *text;
    size_t repeats;
    const char *hex;
} vector;

static const vector vectors[] = {
    {"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
     "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
    {"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnop"
     "qrsmnopqrstnopqrstu",
     1, "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
    {"aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"},
};

static void check_vectors(pith_sha256_blocks_fn blocks) {
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        pith_sha256 sha;
        uint8_t digest[PITH_SHA256_BYTES];
        char hex[PITH_SHA256_HEX_BYTES];
        pith_sha256_init(&sha);
        sha.blocks = blocks;
        for (size_t r = 0; r < vectors[i].repeats; r++) {
            pith_sha256_update(&sha, vectors[i].text, strlen(vectors[i].text));
        }
        pith_sha256_final(&sha, digest);
        pith_sha256_hex(digest, hex);
        assert_string_equal(hex, vectors[i].hex);
    }
}

static void the_plain_path_gives_the_published_digests(void **state) {
    check_vectors(pith_sha256_blocks_plain);
}

static void the_sha_instructions_give_the_published_digests(void **state) {
    if (!pith_sha256_has_shani()) {
        skip();
    }
    check_vectors(pith_sha256_blocks_shani);
}

static void both_paths_agree_for_every_length_up_to_four_blocks(void **state) {
    if (!pith_sha256_has_shani()) {
        skip();
    }
    uint8_t data[4 * PITH_SHA256_BLOCK_BYTES];
    for (size_t i = 0; i < sizeof data; i++) {
        data[i] = (uint8_t)(i * 131 + 7);
    }
    for (size_t len = 0; len <= sizeof data; len++) {
        pith_sha256 plain;
        pith_sha256 fast;
        uint8_t a[PITH_SHA256_BYTES];
        uint8_t b[PITH_SHA256_BYTES];
        pith_sha256_init(&plain);
        pith_sha256_init(&fast);
        plain.blocks = pith_sha256_blocks_plain;
        fast.blocks = pith_sha256_blocks_shani;
        pith_sha256_update(&plain, data, len);
        pith_sha256_update(&fast, data, len / 3); /* cut anywhere: the same digest */
        pith_sha256_update(&fast, data + len / 3, len - len / 3);
        pith_sha256_final(&plain, a);
        pith_sha256_final(&fast, b);
        assert_memory_equal(a, b, sizeof a);
    }
}

static void one_changed_bit_changes_the_digest(void **state) {
    uint8_t data[100] = {0};
    uint8_t before[PITH_SHA256_BYTES];
    uint8_t after[PITH_SHA256_BYTES];
    pith_sha256 sha;
    pith_sha256_init(&sha);
    pith_sha256_update(&sha, data, sizeof data);
    pith_sha256_final(&sha, before);
    data[99] ^= 1;
    pith_sha256_init(&sha);
    pith_sha256_update(&sha, data, sizeof data);
    pith_sha256_final(&sha, after);
    assert_memory_not_equal(before, after, sizeof before);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plain_path_gives_the_published_digests),
        cmocka_unit_test(the_sha_instructions_give_the_published_digests),
        cmocka_unit_test(both_paths_agree_for_every_length_up_to_four_blocks),
        cmocka_unit_test(one_changed_bit_changes_the_digest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
