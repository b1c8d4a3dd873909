/* Shared by the files of server/http. */
#ifndef PITH_SERVER_HTTP_HTTP_INTERNAL_H
#define PITH_SERVER_HTTP_HTTP_INTERNAL_H

#include "server/access/relay.h"
#include "server/http/http.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdatomic.h>

enum {
    PITH_HTTP_ADDRESS_BYTES = 80,
    PITH_HTTP_ID_BYTES_MAX = 128 /* of x-request-id; a longer one is not echoed */
};

typedef struct pith_http_exchange pith_http_exchange;

/* What a connection is doing, for the thread that watches its time. */
typedef enum pith_http_phase {
    PITH_HTTP_RECEIVING, /* until a request is whole; between requests too */
    PITH_HTTP_WAITING,   /* suspended: the engine has the text */
    PITH_HTTP_SENDING    /* until the peer has taken the answer */
} pith_http_phase;

/* An open connection. The server's mutex guards it. */
typedef struct pith_http_conn {
    pith_http_server *server;
    int fd; /* the daemon's; valid while the connection is listed */
    pith_http_phase phase;
    int64_t since_ns;
    bool cut;
    pith_http_exchange *exchange; /* WAITING: the one whose job is open */
    struct pith_http_conn *prev;
    struct pith_http_conn *next;
} pith_http_conn;

/* A finished answer, owned until it is queued. */
typedef struct pith_http_answer {
    unsigned code;
    const char *type;
    char *body; /* malloc'd [len] */
    size_t len;
    int64_t retry_after_ns; /* 0: none */
    const char *allow;      /* methods of a 405, or NULL */
    bool wants_key;         /* a 401 */
} pith_http_answer;

/* One request. References: the daemon until the request is completed, the engine until its reply,
 * a cancel under way. The poll thread owns everything but `job`, which the mutex guards, and
 * `answer`, which the engine's thread writes before it resumes the connection. */
struct pith_http_exchange {
    atomic_int refs;
    pith_http_server *server;
    struct MHD_Connection *connection;
    pith_http_conn *conn;
    char *body; /* [len], room for cap */
    size_t len;
    size_t cap;
    bool too_large;
    bool no_memory;
    bool ignores_body;
    bool whole;     /* the request has been read */
    bool suspended; /* the daemon calls again when `answer` holds */
    pith_http_answer answer;
    pith_job *job;
    int key;          /* of the table of keys, or PITH_KEY_NONE */
    uint64_t charged; /* tokens taken from its bucket */
    size_t text_len;
    int64_t begin_ns;
    char traceparent[PITH_TRACEPARENT_BYTES];
    char id[PITH_HTTP_ID_BYTES_MAX + 1];
};

struct pith_http_server {
    pith_http_opts opts;
    struct MHD_Daemon *daemon;
    int listen_fd; /* -1 once the daemon or nobody has it */
    uint16_t port;
    char address[PITH_HTTP_ADDRESS_BYTES];
    pith_relay *relay; /* NULL without certificates */
    pthread_t accepter;
    bool accepting;
    pthread_mutex_t relay_mutex; /* guards relay_over: no connection after the daemon's end */
    bool relay_over;
    _Atomic(pith_engine *) engine; /* NULL while it loads */
    atomic_bool lame_duck;
    atomic_bool draining;
    pthread_t watcher;
    bool watching;

    pthread_mutex_t mutex; /* guards everything below */
    pthread_cond_t changed;
    pith_http_conn *conns;
    size_t n_conns;
    size_t body_bytes; /* held by all bodies under way */
    size_t waiting;
    uint64_t cut;
    uint64_t gone;
    bool stop;
    bool hurry;
};

/* exchange.c */
pith_http_exchange *pith_http_exchange_new(pith_http_server *server,
                                           struct MHD_Connection *connection);
void pith_http_exchange_ref(pith_http_exchange *ex);
void pith_http_exchange_unref(pith_http_exchange *ex);
/* Takes body bytes; what goes over a bound is noted and dropped. */
void pith_http_exchange_append(pith_http_exchange *ex, const char *data, size_t len);
void pith_http_exchange_drop_body(pith_http_exchange *ex);
size_t pith_http_body_bytes_max(const pith_http_server *server);
void pith_http_set_phase(pith_http_exchange *ex, pith_http_phase phase);
/* Hands the answer to the daemon. */
enum MHD_Result pith_http_send(pith_http_exchange *ex);

/* answer.c: both take the old answer's place. */
void pith_http_answer_json(pith_http_answer *answer, unsigned code,
                           void *json /* json_t, stolen */);
/* `reason`: NULL for the status's own. */
void pith_http_answer_error(pith_http_answer *answer, pith_status status, const char *reason,
                            const char *field, const char *text, int64_t retry_after_ns);
void pith_http_answer_text(pith_http_answer *answer, unsigned code, const char *text);

/* Refuses a call that shows no key; true when it may go on. */
bool pith_http_admit(pith_http_exchange *ex);

/* compress.c: the body is whole. Answers at once, or suspends the connection. */
void pith_http_compress(pith_http_exchange *ex);

/* pages.c: false when there is no such page. */
bool pith_http_page(pith_http_exchange *ex, const char *method, const char *url);

/* tls.c: after the daemon has started, without a socket of its own; stop: when draining is set. */
PITH_MUST_USE pith_status pith_http_tls_start(pith_http_server *server, pith_err *err);
void pith_http_tls_stop_accepting(pith_http_server *server);
void pith_http_tls_end(pith_http_server *server); /* before the daemon stops */

/* watch.c */
PITH_MUST_USE pith_status pith_http_watch_start(pith_http_server *server, pith_err *err);
void pith_http_watch_stop(pith_http_server *server);
/* Cancels every job that is open; returns how many. */
size_t pith_http_cancel_all(pith_http_server *server);

#endif
