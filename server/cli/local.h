/* Compression in process: an engine for one request. */
#ifndef PITH_SERVER_CLI_LOCAL_H
#define PITH_SERVER_CLI_LOCAL_H

#include "pith/v1/compression.pb-c.h"
#include "runtime/base/status.h"
#include "server/common/options.h"

/* *response is freed with pith__v1__compress_response__free_unpacked. Shows a progress bar on
 * stderr when that is a terminal and the text is long. */
PITH_MUST_USE pith_status pith_local_compress(const pith_options *options,
                                              const Pith__V1__CompressRequest *request,
                                              Pith__V1__CompressResponse **response, pith_err *err);

#endif
