/* From the options table to a running engine. */
#ifndef PITH_SERVER_COMMON_ENGINE_OPTIONS_H
#define PITH_SERVER_COMMON_ENGINE_OPTIONS_H

#include "runtime/engine/engine.h"
#include "server/common/options.h"
#include "server/common/version.h"

/* Opens the engine that the options describe: "[NAME=]DIR" models (the shipped one when none is
 * given), device, dtype, patterns file. */
PITH_MUST_USE pith_status pith_engine_open_with(pith_engine **engine, const pith_options *options,
                                                pith_err *err);

/* Reads the patterns file and each model's thresholds again; all of it is in force afterwards, or
 * nothing has changed. */
PITH_MUST_USE pith_status pith_engine_reload_with(pith_engine *engine, const pith_options *options,
                                                  pith_err *err);

/* Sets the log's level and form that the options name; before the first line is logged. */
PITH_MUST_USE pith_status pith_apply_log(const pith_options *options, pith_err *err);

/* Folder of the model that ships: ../../models/pith-mini beside a build tree's program, or
 * ../share/pith/models/pith-mini beside an installed one. */
PITH_MUST_USE pith_status pith_shipped_model(char *dir, size_t size, pith_err *err);

#endif
