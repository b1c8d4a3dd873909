/* Stands in for libnccl.so.2 on emulated devices: broadcasts by way of the host, in the order of
 * the devices' streams, and only what a group ends. What a test may ask of it: "version" (another
 * major version), "connect" (no communicators), "broadcast" (refused), "group" (fails at its end).
 */
#include "runtime/backend/cuda/emulated.h"
#include "runtime/backend/cuda/nccl.h"

#include <stdlib.h>
#include <string.h>

enum { COMMS = 8, PENDING = 16, UNHANDLED = 1, INVALID = 4 };

typedef struct comm {
    int device;
} comm;

typedef struct piece {
    const void *from;
    void *to;
    size_t bytes;
    void *stream;
    int device;
} piece;

/* One broadcast: the root's stream fills it, the others read it. */
typedef struct parcel {
    uint8_t *bytes;
    size_t size;
} parcel;

typedef struct hop {
    parcel *parcel;
    const void *from;
    void *to;
} hop;

static const char *fault = "";
static unsigned n_open, n_broadcasts;
static bool in_group;
static piece pieces[PENDING];
static unsigned n_pieces;

void fake_nccl_set(const char *name);
unsigned fake_nccl_broadcasts(void);
unsigned fake_nccl_open(void);
int ncclGetVersion(int *version);
int ncclCommInitAll(void **comms, int n, const int *devices);
int ncclCommDestroy(void *made);
int ncclGroupStart(void);
int ncclGroupEnd(void);
int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, void *made,
                  void *stream);
const char *ncclGetErrorString(int code);

void fake_nccl_set(const char *name) {
    fault = name;
    n_broadcasts = 0;
}

unsigned fake_nccl_broadcasts(void) {
    return n_broadcasts;
}

unsigned fake_nccl_open(void) {
    return n_open;
}

int ncclGetVersion(int *version) {
    *version = strcmp(fault, "version") == 0 ? 30100 : 23203;
    return NCCL_OK;
}

int ncclCommInitAll(void **comms, int n, const int *devices) {
    if (n > COMMS || devices == NULL || strcmp(fault, "connect") == 0) {
        return UNHANDLED;
    }
    for (int i = 0; i < n; i++) {
        comm *made = calloc(1, sizeof *made);
        made->device = devices[i];
        comms[i] = made;
        n_open++;
    }
    return NCCL_OK;
}

int ncclCommDestroy(void *made) {
    free(made);
    n_open--;
    return NCCL_OK;
}

int ncclGroupStart(void) {
    in_group = true;
    n_pieces = 0;
    return NCCL_OK;
}

int ncclBroadcast(const void *from, void *to, size_t count, int type, int root, void *made,
                  void *stream) {
    if (!in_group || type != NCCL_BYTES || root != 0 || n_pieces == PENDING ||
        strcmp(fault, "broadcast") == 0) {
        return INVALID;
    }
    pieces[n_pieces++] = (piece){from, to, count, stream, ((comm *)made)->device};
    return NCCL_OK;
}

static int load(void *arg) {
    const hop *h = arg;
    memcpy(h->parcel->bytes, h->from, h->parcel->size);
    return 0;
}

static int unload(void *arg) {
    const hop *h = arg;
    memcpy(h->to, h->parcel->bytes, h->parcel->size);
    return 0;
}

static int enqueue(const piece *p, parcel *shared, int (*run)(void *)) {
    hop *h = malloc(sizeof *h);
    *h = (hop){shared, p->from, p->to};
    (void)pith_cu_use(p->device);
    return pith_emulated_enqueue(p->stream, run, h);
}

int ncclGroupEnd(void) {
    in_group = false;
    if (n_pieces < 2 || strcmp(fault, "group") == 0) {
        return INVALID;
    }
    parcel shared = {malloc(pieces[0].bytes), pieces[0].bytes};
    pith_cu_event *filled = NULL;
    int code = enqueue(&pieces[0], &shared, load);
    code = code != 0 ? code : pith_cu_event_open(&filled);
    code = code != 0 ? code : pith_cu_event_record(filled, pieces[0].stream);
    for (unsigned i = 1; code == 0 && i < n_pieces; i++) {
        (void)pith_cu_use(pieces[i].device);
        code = pith_cu_stream_wait(pieces[i].stream, filled);
        code = code != 0 ? code : enqueue(&pieces[i], &shared, unload);
    }
    for (unsigned i = n_pieces; i-- > 0;) { /* before the parcel goes */
        int synced = pith_cu_stream_sync(pieces[i].stream);
        code = code != 0 ? code : synced;
    }
    pith_cu_event_close(filled);
    free(shared.bytes);
    n_broadcasts++;
    return code == 0 ? NCCL_OK : UNHANDLED;
}

const char *ncclGetErrorString(int code) {
    return code == UNHANDLED ? "unhandled cuda error" : "invalid argument";
}
