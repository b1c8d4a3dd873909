/* Slices: long work on a text offers, every 64 KiB or so, to let others run and to stop.
 *
 * The thread that starts the work says what happens between two slices; loops below it spend the
 * bytes they went through. A thread that said nothing is never stopped. State is per thread: it
 * owns nothing and the begun slice must outlive its end. */
#ifndef PITH_BASE_SLICE_H
#define PITH_BASE_SLICE_H

#include "runtime/base/status.h"

#include <stddef.h>

enum { PITH_SLICE_BYTES = 64 * 1024 };

typedef struct pith_slice {
    /* Called between two slices on the working thread; may wait. Not PITH_OK: stop the work. */
    pith_status (*turn)(void *self);
    void *self;
    size_t spent;
    pith_status status; /* the first that was not PITH_OK: stays */
} pith_slice;

extern _Thread_local pith_slice *pith_slice_current;

/* Starts slicing this thread's work; NULL ends it. */
void pith_slice_begin(pith_slice *slice);

/* A slice is over: takes the turn. */
pith_status pith_slice_turn(void);

/* Counts work on `bytes`; not PITH_OK when the work is to stop, with no more said about it. */
static inline pith_status pith_slice_spend(size_t bytes) {
    pith_slice *slice = pith_slice_current;
    if (slice == NULL) {
        return PITH_OK;
    }
    slice->spent += bytes;
    return slice->spent < PITH_SLICE_BYTES && slice->status == PITH_OK ? PITH_OK
                                                                       : pith_slice_turn();
}

#endif
