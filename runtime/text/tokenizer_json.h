/* Reads a Hugging Face tokenizer.json. Pure function; any thread. */
#ifndef PITH_TEXT_TOKENIZER_JSON_H
#define PITH_TEXT_TOKENIZER_JSON_H

#include "runtime/text/tokenizer.h"

/* Fills a zeroed tokenizer from json[0, len). `name` stands in messages. What was filled before a
 * failure is for the caller to close. A file that contradicts itself is PITH_CORRUPT, one that
 * asks for something else than byte-level BPE is PITH_UNSUPPORTED; the text names what was found.
 * Truncation, padding and post-processor of the file are not looked at. */
PITH_MUST_USE pith_status pith_tokenizer_json_read(pith_tokenizer *tokenizer, const char *name,
                                                   const char *json, size_t len, pith_err *err);

#endif
