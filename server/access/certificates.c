#include "server/access/certificates.h"

#include "runtime/base/log.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILES = 3, PROTOCOL_BYTES = 16 };

#define LOOK_NS INT64_C(2000000000)

struct pith_certificates {
    char *paths[FILES]; /* chain, key, client_ca; NULL: none */
    char protocol[PROTOCOL_BYTES];
    int64_t looked_ns;     /* of the one thread that looks */
    pthread_mutex_t mutex; /* guards everything below */
    SSL_CTX *context;
    struct stat seen[FILES];
};

/* The last reason that OpenSSL gave, in its words. */
static const char *reason(void) {
    unsigned long code = ERR_peek_last_error();
    const char *text = code == 0 ? NULL : ERR_reason_error_string(code);
    return text == NULL ? "cannot be used" : text;
}

/* The one protocol that we speak, or none: a client that offers others is turned away. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *arg) {
    (void)ssl;
    const char *protocol = arg;
    size_t len = strlen(protocol);
    for (unsigned at = 0; at < in_len && in[at] <= in_len - at - 1; at += in[at] + 1U) {
        if (in[at] == len && memcmp(in + at + 1, protocol, len) == 0) {
            *out = in + at + 1;
            *out_len = in[at];
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static pith_status use_files(SSL_CTX *context, const pith_certificates *c, pith_err *err) {
    if (SSL_CTX_use_certificate_chain_file(context, c->paths[0]) != 1) {
        return pith_fail(err, PITH_INVALID, "--tls-cert %s: %s", c->paths[0], reason());
    }
    if (SSL_CTX_use_PrivateKey_file(context, c->paths[1], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1) {
        return pith_fail(err, PITH_INVALID, "--tls-key %s: %s", c->paths[1], reason());
    }
    if (c->paths[2] == NULL) {
        return PITH_OK;
    }
    STACK_OF(X509_NAME) *names = SSL_load_client_CA_file(c->paths[2]);
    if (names == NULL || SSL_CTX_load_verify_file(context, c->paths[2]) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return pith_fail(err, PITH_INVALID, "--tls-client-ca %s: %s", c->paths[2], reason());
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return PITH_OK;
}

static pith_status make_context(pith_certificates *c, SSL_CTX **context, pith_err *err) {
    ERR_clear_error();
    *context = SSL_CTX_new(TLS_server_method());
    if (*context == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for TLS");
    }
    (void)SSL_CTX_set_min_proto_version(*context, TLS1_2_VERSION);
    (void)SSL_CTX_set_options(*context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                            SSL_OP_CIPHER_SERVER_PREFERENCE);
    (void)SSL_CTX_set_mode(*context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                         SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                         SSL_MODE_RELEASE_BUFFERS);
    /* No sessions: a client that has one would not be asked for its certificate again. */
    (void)SSL_CTX_set_session_cache_mode(*context, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(*context, 0);
    (void)SSL_CTX_set_options(*context, SSL_OP_NO_TICKET);
    SSL_CTX_set_alpn_select_cb(*context, choose_protocol, c->protocol);
    pith_status status = use_files(*context, c, err);
    ERR_clear_error();
    if (status != PITH_OK) {
        SSL_CTX_free(*context);
        *context = NULL;
    }
    return status;
}

static void look(const pith_certificates *c, struct stat seen[FILES]) {
    memset(seen, 0, FILES * sizeof *seen);
    for (int i = 0; i < FILES; i++) {
        if (c->paths[i] != NULL && stat(c->paths[i], &seen[i]) != 0) {
            memset(&seen[i], 0, sizeof seen[i]);
        }
    }
}

pith_status pith_certificates_reload(pith_certificates *c, pith_err *err) {
    SSL_CTX *context;
    struct stat seen[FILES];
    look(c, seen); /* before the files are read: a change meanwhile is seen the next time */
    pith_status status = make_context(c, &context, err);
    (void)pthread_mutex_lock(&c->mutex);
    memcpy(c->seen, seen, sizeof seen); /* also of files that are no good: once is enough */
    if (status == PITH_OK) {
        SSL_CTX *old = c->context;
        c->context = context;
        context = old;
    }
    (void)pthread_mutex_unlock(&c->mutex);
    SSL_CTX_free(context);
    return status;
}

static bool have_changed(pith_certificates *c) {
    struct stat now[FILES];
    bool changed = false;
    look(c, now);
    (void)pthread_mutex_lock(&c->mutex);
    for (int i = 0; i < FILES; i++) {
        const struct stat *was = &c->seen[i];
        changed = changed || now[i].st_ino != was->st_ino || now[i].st_size != was->st_size ||
                  now[i].st_mtim.tv_sec != was->st_mtim.tv_sec ||
                  now[i].st_mtim.tv_nsec != was->st_mtim.tv_nsec;
    }
    (void)pthread_mutex_unlock(&c->mutex);
    return changed;
}

void pith_certificates_look(pith_certificates *c, int64_t now_ns) {
    pith_err err;
    if (c == NULL || now_ns - c->looked_ns < LOOK_NS) {
        return;
    }
    c->looked_ns = now_ns;
    if (!have_changed(c)) {
        return;
    }
    if (pith_certificates_reload(c, &err) == PITH_OK) {
        pith_log(PITH_LOG_INFO, "%s: new certificates in force", c->protocol);
    } else { /* half written perhaps: the files' next change is looked at again */
        pith_log(PITH_LOG_ERROR, "%s: the old certificates stay: %s", c->protocol, err.text);
    }
}

SSL *pith_certificates_begin(pith_certificates *c) {
    (void)pthread_mutex_lock(&c->mutex);
    SSL *ssl = SSL_new(c->context); /* holds a reference of the context */
    (void)pthread_mutex_unlock(&c->mutex);
    return ssl;
}

pith_status pith_certificates_open(pith_certificates **certificates,
                                   const pith_certificate_files *files, const char *protocol,
                                   pith_err *err) {
    *certificates = NULL;
    if (files->chain == NULL || files->key == NULL) {
        return pith_fail(err, PITH_INVALID, "--tls-cert and --tls-key are given together");
    }
    pith_certificates *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for certificates");
    }
    (void)pthread_mutex_init(&made->mutex, NULL);
    (void)stpncpy(made->protocol, protocol, PROTOCOL_BYTES - 1);
    made->paths[0] = strdup(files->chain);
    made->paths[1] = strdup(files->key);
    made->paths[2] = files->client_ca == NULL ? NULL : strdup(files->client_ca);
    pith_status status = made->paths[0] == NULL || made->paths[1] == NULL ||
                                 (files->client_ca != NULL && made->paths[2] == NULL)
                             ? pith_fail(err, PITH_NO_MEMORY, "no memory for certificates")
                             : pith_certificates_reload(made, err);
    if (status != PITH_OK) {
        pith_certificates_close(made);
        return status;
    }
    *certificates = made;
    return PITH_OK;
}

void pith_certificates_close(pith_certificates *c) {
    if (c == NULL) {
        return;
    }
    SSL_CTX_free(c->context);
    for (int i = 0; i < FILES; i++) {
        free(c->paths[i]);
    }
    (void)pthread_mutex_destroy(&c->mutex);
    free(c);
}
