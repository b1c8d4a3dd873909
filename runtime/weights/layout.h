/* Names of tensors in the published layouts, brought to the canonical ones.
 *
 * Flat (kompress-base) names are canonical. Unmerged PEFT (kompress-v2-base) names of the encoder
 * begin with "encoder.base_model.model."; a linear with an adapter is three tensors, M.base_layer,
 * M.lora_A and M.lora_B, the last two with or without the adapter name "default". Pure functions.
 */
#ifndef PITH_WEIGHTS_LAYOUT_H
#define PITH_WEIGHTS_LAYOUT_H

#include "runtime/weights/manifest.h"

typedef enum pith_layout_role {
    PITH_ROLE_PLAIN,   /* the tensor itself */
    PITH_ROLE_BASE,    /* the weight under an adapter */
    PITH_ROLE_LORA_A,  /* [r, in] */
    PITH_ROLE_LORA_B,  /* [out, r] */
    PITH_ROLE_HARMLESS /* a buffer that old writers saved and the forward pass computes */
} pith_layout_role;

/* The role of a name in a file; `canonical` gets the manifest's name of the tensor it belongs to,
 * or an empty text when the name is longer than any canonical one. */
pith_layout_role pith_layout_role_of(const char *name, char canonical[PITH_TENSOR_NAME_BYTES]);

#endif
