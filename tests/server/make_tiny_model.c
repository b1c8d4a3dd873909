/* Writes a random model that emulated devices compute fast (four layers, one head of 64) into a new
 * folder and prints its path. */
#include "tests/runtime/engine/fixture.h"

#include <stdio.h>
#include <stdlib.h>

int main(void) {
    enum { HEADS = 1, WINDOW = 64 };
    char *path = tiny_model_make_for(HEADS, WINDOW);
    if (path == NULL) {
        return 1;
    }
    (void)puts(path);
    free(path);
    return 0;
}
