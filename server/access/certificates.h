/* Server certificate, key, and the authorities of client certificates, that may change while
 * serving.
 *
 * Owns an OpenSSL context; connections keep the one they began with. A reload replaces it at once
 * or not at all. TLS 1.2 and 1.3. Any thread. */
#ifndef PITH_SERVER_ACCESS_CERTIFICATES_H
#define PITH_SERVER_ACCESS_CERTIFICATES_H

#include "runtime/base/status.h"

#include <stdint.h>

typedef struct pith_certificates pith_certificates;
struct ssl_st;

typedef struct pith_certificate_files {
    const char *chain;     /* PEM: the server's certificate, then its issuers */
    const char *key;       /* PEM, without a password */
    const char *client_ca; /* PEM: clients must show a certificate of these; NULL: no client must */
} pith_certificate_files;

/* `protocols` are offered by ALPN, the best first: "h2", or "http/1.1". PITH_INVALID, PITH_IO: one
 * line that names the file. The names of the files are copied. */
PITH_MUST_USE pith_status pith_certificates_open(pith_certificates **certificates,
                                                 const pith_certificate_files *files,
                                                 const char *protocol, pith_err *err);
void pith_certificates_close(pith_certificates *certificates);

/* Reads the files again. On failure everything stays as it was. */
PITH_MUST_USE pith_status pith_certificates_reload(pith_certificates *certificates, pith_err *err);

/* Takes up files that have another modification time or inode than when they were read last: a
 * secret that was rotated in place, or behind a link. Looks at most every two seconds, and logs
 * what came of it. `certificates` may be NULL; `now_ns`: CLOCK_MONOTONIC. One thread at a time. */
void pith_certificates_look(pith_certificates *certificates, int64_t now_ns);

/* A server's end of a new connection, or NULL: no memory. */
struct ssl_st *pith_certificates_begin(pith_certificates *certificates);

#endif
