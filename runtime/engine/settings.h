/* What decides over scores and can be exchanged while serving: patterns and thresholds.
 *
 * Immutable once made. A job keeps the settings it was submitted under; the engine keeps all that
 * it ever had until close, so that names and fingerprints stay valid: those that are had again are
 * the same ones, and there are at most PITH_SETTINGS_MAX different ones. */
#ifndef PITH_ENGINE_SETTINGS_H
#define PITH_ENGINE_SETTINGS_H

#include "runtime/engine/model.h"

/* Each holds its compiled patterns: 32 KiB, and as much again of machine code. */
enum { PITH_SETTINGS_MAX = 256 };

typedef struct pith_settings {
    struct pith_settings *older;
    struct pith_critical *critical;
    char *patterns; /* the text it was opened with; NULL: built in */
    size_t n_models;
    pith_decide_config decide[PITH_MODELS_MAX];
    char fingerprints[PITH_MODELS_MAX][33]; /* 32 hex digits */
    pith_model_info infos[PITH_MODELS_MAX];
} pith_settings;

typedef struct pith_settings_opts {
    pith_model *const *models; /* [n_models] borrowed */
    size_t n_models;
    const pith_device *device; /* borrowed */
    const char *patterns;      /* NULL: built in */
    uint32_t fold_after;       /* 0: the default */
    bool reread;               /* thresholds from the models' files, not as they were opened */
} pith_settings_opts;

PITH_MUST_USE pith_status pith_settings_open(pith_settings **settings,
                                             const pith_settings_opts *opts, pith_err *err);

/* Frees these and all older ones. */
void pith_settings_close(pith_settings *settings);

#endif
