/* One fixture for all tests of a file, on the goldens' tokenizer, with cmocka's group setup and
 * teardown. */
#ifndef PITH_TESTS_DECIDE_FIXTURE_GROUP_H
#define PITH_TESTS_DECIDE_FIXTURE_GROUP_H

#include "tests/runtime/decide/fixture.h"

static fixture f;

static int open_all(void **state) {
    fixture_open(&f, fixture_golden("tokenizer.json"));
    return 0;
}

static int close_all(void **state) {
    fixture_close(&f);
    return 0;
}

#endif
