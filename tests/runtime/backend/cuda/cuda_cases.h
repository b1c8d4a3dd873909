/* What the tests of the emulated CUDA backend share: a random model of one head, stand-ins for
 * libraries, and that a test left nothing on the devices. */
#ifndef TESTS_RUNTIME_BACKEND_CUDA_CUDA_CASES_H
#define TESTS_RUNTIME_BACKEND_CUDA_CUDA_CASES_H

#include "runtime/backend/cuda/emulated.h"
#include "tests/runtime/model/model_cases.h"

#include <dlfcn.h>

/* Tokens of a step and of a text; codes of CUDA's. */
enum { TOKENS_MAX = 160, TEXT = 5, NO_MEMORY = 2, LAUNCH_RESOURCES = 701, LAUNCH_FAILURE = 719 };

static random_directory dir; /* of the group's model */

static inline pith_model_config one_head(void) {
    pith_model_config config = pith_random_config_tiny();
    config.n_heads = 1; /* of 64 */
    return config;
}

/* cmocka's group setup and teardown. */
static inline int write_model(void **state) {
    pith_model_config config = one_head();
    pith_random_model_opts opts = pith_random_model_defaults();
    random_directory_open(&dir, &config, &opts);
    return 0;
}

static inline int remove_model(void **state) {
    random_directory_close(&dir);
    return 0;
}

/* Stores the address of a stand-in library's function in *slot, a pointer to a function. */
static inline void resolve(void *library, const char *name, void *slot) {
    void *found = dlsym(library, name);
    assert_non_null(found);
    memcpy(slot, &found, sizeof found);
}

static inline void check_devices_empty(void) {
    pith_emulated_stats left = pith_emulated_read();
    assert_int_equal(left.bytes_in_use, 0);
    assert_int_equal(left.streams_events, 0);
}

#endif
