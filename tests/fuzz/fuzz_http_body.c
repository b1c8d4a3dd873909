/* Bodies of POST /compress. What is accepted is text in valid UTF-8 and a ratio in bounds; what is
 * refused says so in a line that has nothing of the body. */
#include "runtime/base/utf8.h"
#include "server/http/body.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    pith_http_body body;
    pith_err err = {0};
    const char *field = NULL;
    pith_status status = pith_http_body_read(&body, (const char *)data, size, &field, &err);
    bool sound;
    if (status == PITH_OK) {
        sound = pith_utf8_valid(body.text, body.text_len) == body.text_len &&
                body.text_len <= size && body.text[body.text_len] == '\0' &&
                (!body.has_ratio || (body.ratio > 0 && body.ratio <= 1));
    } else {
        sound = status == PITH_INVALID && field != NULL && err.text[0] != '\0' &&
                strchr(err.text, '\n') == NULL;
    }
    if (!sound) {
        abort();
    }
    pith_http_body_reset(&body);
    return 0;
}
