/* A scripted stand-in for the engine: implements runtime/engine/engine.h without a model.
 *
 * It keeps the words that have a digit or four bytes, joined by one space. A text steers it by its
 * first words: "@delay=MS" answers that much later; "@status=NAME" answers with that pith_status;
 * "@refuse=NAME" refuses at submit; "@field=NAME" and "@retry=MS" go with a status. The directives
 * are part of the text. pith_engine_opts.jobs_max bounds the jobs in flight. */
#ifndef PITH_TESTS_SERVER_FAKE_ENGINE_H
#define PITH_TESTS_SERVER_FAKE_ENGINE_H

#include "runtime/engine/engine.h"

/* A frozen engine answers nothing and its heartbeat stands still. */
void fake_engine_freeze(pith_engine *engine, bool frozen);

#endif
