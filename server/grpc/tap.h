/* Sees the bytes that the gRPC core reads from the connections of the plain port, before it does.
 *
 * The core reads sockets with recvmsg(2) and nothing else (1.51, src/core/lib/iomgr/tcp_posix.cc).
 * This file defines recvmsg for the whole program: descriptors that are not tapped go to the system
 * call as they are; the bytes of a tapped one pass its frame guard first, and once they are a flood
 * the connection is reset and the read fails with ECONNRESET, upon which the core drops it. That is
 * exact, costs no copy and no thread, and cannot be outrun, where sampling a queue or counting
 * calls behind the core can. The test of the flood (tests/e2e/hostile_test.py) fails should a core
 * read otherwise.
 *
 * A descriptor's guard is only touched by the thread that reads it, one at a time; what
 * is made for a descriptor's number stays for the life of the process and is used again. */
#ifndef PITH_SERVER_GRPC_TAP_H
#define PITH_SERVER_GRPC_TAP_H

#include "server/grpc/frame_guard.h"

#include <stdint.h>

enum { PITH_TAP_FDS_MAX = 1 << 16 };

typedef struct pith_tap pith_tap;

/* What the taps of one accept loop have seen. */
typedef struct pith_tap_stats {
    uint64_t streams; /* opened by peers, also those that never became a call */
    uint64_t floods;  /* connections that were failed */
} pith_tap_stats;

pith_tap *pith_tap_open(void);      /* NULL: no memory */
void pith_tap_close(pith_tap *tap); /* when nobody reads the descriptors any more */

/* Begins with a new connection, before anyone reads it. False: no memory, or `fd` out of range. */
bool pith_tap_begin(pith_tap *tap, int fd, int64_t now_ns);
/* Lets the descriptor's reads pass. This and the two below do nothing, and return 0, when the
 * number has been begun by another tap since. */
void pith_tap_end(pith_tap *tap, int fd);

/* Bytes read from the descriptor since it was begun. Any thread. */
uint64_t pith_tap_bytes(const pith_tap *tap, int fd);
/* Fails the descriptor's next read, whatever it brings. Any thread. */
void pith_tap_fail(pith_tap *tap, int fd);

/* Resets a connection and throws away what lies in its queues. After a shutdown(2) alone the core
 * would read on for as long as the peer keeps the receive queue filled; and with a write under way
 * it closes nothing before that is done, which is never when the peer does not read. */
void pith_tap_reset(int fd);

void pith_tap_read_stats(const pith_tap *tap, pith_tap_stats *stats);

#endif
