/* The runner that computes: for each device one thread that runs the encoder's forward over the
 * backend, or, where the device takes a step while it computes another, waits for steps that submit
 * handed over. */
#ifndef PITH_ENGINE_MODEL_RUNNER_H
#define PITH_ENGINE_MODEL_RUNNER_H

#include "runtime/engine/model.h"
#include "runtime/engine/runner.h"

/* `models` [n_models] is borrowed until close; step->model indexes it, step->device their devices.
 * One thread for each device. */
PITH_MUST_USE pith_status pith_model_runner_open(pith_runner *runner, pith_model *const *models,
                                                 size_t n_models, uint32_t n_devices,
                                                 const pith_clock *clock, pith_err *err);

#endif
