/* The JSON body of POST /compress: {"content": text, "target_ratio": number or null}.
 *
 * Further keys are ignored. Refused: no object, duplicate keys, bytes after the object, invalid
 * UTF-8, `content` missing or no string, a ratio outside (0, 1]. A parser's tree takes many times
 * the bytes of the text it was read from, so a body with more than PITH_HTTP_BODY_VALUES_MAX values
 * or nested deeper than PITH_HTTP_BODY_DEPTH_MAX is refused before it is parsed. Any thread. */
#ifndef PITH_SERVER_HTTP_BODY_H
#define PITH_SERVER_HTTP_BODY_H

#include "runtime/base/status.h"

#include <stdbool.h>
#include <stddef.h>

enum { PITH_HTTP_BODY_VALUES_MAX = 256, PITH_HTTP_BODY_DEPTH_MAX = 8 };

typedef struct pith_http_body {
    const char *text; /* [text_len], valid UTF-8, NUL allowed; lives until reset */
    size_t text_len;
    double ratio; /* holds with has_ratio */
    bool has_ratio;
    void *root; /* private */
} pith_http_body;

/* Reads json[0, len). PITH_INVALID: one line that names the key, never the request's text; `field`
 * gets the key at fault or "". */
PITH_MUST_USE pith_status pith_http_body_read(pith_http_body *body, const char *json, size_t len,
                                              const char **field, pith_err *err);
void pith_http_body_reset(pith_http_body *body);

#endif
