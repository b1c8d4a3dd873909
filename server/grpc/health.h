/* grpc.health.v1: Check, List and Watch for the names "", "pith.v1.CompressionService" and
 * "liveness".
 *
 * "" and the service say whether calls should be sent here: not before the engine has warmed up,
 * not while draining, not while the engine stalls or its device is lost. "liveness" says whether
 * the process should be left alone: not while the engine stalls or its device is lost. The engine
 * is asked for its state on every Check, which waits in no queue. Owns the list of watches; any
 * thread unless said. */
#ifndef PITH_SERVER_GRPC_HEALTH_H
#define PITH_SERVER_GRPC_HEALTH_H

#include "runtime/engine/engine.h"
#include "server/grpc/call.h"

#include <stdbool.h>

typedef struct pith_health pith_health;

PITH_MUST_USE pith_status pith_health_open(pith_health **health, pith_err *err);
void pith_health_close(pith_health *health); /* after every call is gone */

/* Warm-up has passed: from here on `engine`, which outlives every call, is asked. Watchers are told
 * at once, here and of the drain; of the engine's state by the next look. */
void pith_health_set_ready(pith_health *health, pith_engine *engine);
void pith_health_set_draining(pith_health *health);
void pith_health_look(pith_health *health);

/* Ends every watch with UNAVAILABLE; later ones end after their first message. */
void pith_health_end_watches(pith_health *health);

/* Their service pointer is the pith_health. */
extern const pith_method pith_method_health_check;
extern const pith_method pith_method_health_list;
extern const pith_method pith_method_health_watch;

#endif
