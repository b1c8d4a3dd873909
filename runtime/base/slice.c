#include "runtime/base/slice.h"

_Thread_local pith_slice *pith_slice_current;

void pith_slice_begin(pith_slice *slice) {
    pith_slice_current = slice;
    if (slice != NULL) {
        slice->spent = 0;
        slice->status = PITH_OK;
    }
}

pith_status pith_slice_turn(void) {
    pith_slice *slice = pith_slice_current;
    if (slice->status == PITH_OK) {
        slice->spent = 0;
        slice->status = slice->turn(slice->self);
    }
    return slice->status;
}
