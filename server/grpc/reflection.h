/* grpc.reflection, v1 and v1alpha: what services there are, and their descriptors.
 *
 * Both versions are the same bytes under another name: one handler, two paths. Owns the index of
 * the embedded descriptor set; immutable after open, any thread. */
#ifndef PITH_SERVER_GRPC_REFLECTION_H
#define PITH_SERVER_GRPC_REFLECTION_H

#include "runtime/base/status.h"
#include "server/grpc/call.h"

#include <stddef.h>
#include <stdint.h>

typedef struct pith_reflection pith_reflection;

enum { PITH_REFLECTION_SERVICES_MAX = 16 };

/* Serves `set` [len], a FileDescriptorSet. `services` [n] are the fully qualified names to list,
 * borrowed; each must have a descriptor in the set, or it is PITH_INTERNAL. */
PITH_MUST_USE pith_status pith_reflection_open(pith_reflection **reflection, const uint8_t *set,
                                               size_t len, const char *const *services, size_t n,
                                               pith_err *err);
void pith_reflection_close(pith_reflection *reflection);

/* Their service pointer is the pith_reflection. */
extern const pith_method pith_method_reflection_v1;
extern const pith_method pith_method_reflection_v1alpha;

#endif
