/* Load over HTTP that costs little itself: POST /compress, closed loop, one thread.
 *
 *   http_client HOST:PORT [--in-flight N] [--bytes N] [--seconds S] [--warm-s S]
 *
 *               [--replies FILE]     of engine_driver: what each reply must be
 *
 * N connections, kept alive, a request at a time on each. Prints "name value" lines. Every reply to
 * a text must have the bytes of the first one. */
#include "bench/serve/texts.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 256, TIMES_MAX = 1 << 20, HEAD_BYTES = 256 };

typedef struct config {
    struct sockaddr_in addr;
    const char *replies;
    double in_flight, bytes, seconds, warm_s;
} config;

typedef struct connection {
    int fd;
    size_t text;   /* index */
    size_t sent;   /* of the request */
    char *in;      /* [in_max] */
    size_t in_len; /* of the reply so far */
    int64_t begin_ns;
} connection;

typedef struct client {
    config config;
    bench_text texts[BENCH_TEXTS];
    char *requests[BENCH_TEXTS];
    size_t request_lens[BENCH_TEXTS];
    size_t in_max;
    connection connections[CONNECTIONS_MAX];
    int64_t *times;
    size_t n_times, n_begun;
    uint64_t ok, not_ok, different, bytes_in;
    int64_t count_from_ns, count_to_ns;
} client;

/* The texts have no character but line feeds that JSON escapes. */
static bool make_request(client *c, size_t i) {
    const bench_text *text = &c->texts[i];
    char *request = malloc(HEAD_BYTES + 2 * text->len + 64);
    size_t room = 2 * text->len + 64;
    char *body = malloc(room);
    if (request == NULL || body == NULL) {
        free(request);
        free(body);
        return false;
    }
    size_t n = (size_t)snprintf(body, room, "{\"content\": \"");
    for (size_t k = 0; k < text->len; k++) {
        if (text->bytes[k] == '\n') {
            body[n++] = '\\';
            body[n++] = 'n';
        } else {
            body[n++] = text->bytes[k];
        }
    }
    n += (size_t)snprintf(body + n, room - n, "\", \"target_ratio\": 0.5}");
    size_t head = (size_t)snprintf(request, HEAD_BYTES,
                                   "POST /compress HTTP/1.1\r\nHost: bench\r\n"
                                   "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
                                   n);
    memcpy(request + head, body, n);
    free(body);
    c->requests[i] = request;
    c->request_lens[i] = head + n;
    return true;
}

static bool dial(client *c, connection *at) {
    at->fd = socket(AF_INET, SOCK_STREAM, 0);
    int one = 1;
    at->in = malloc(c->in_max + 1);
    return at->fd >= 0 && at->in != NULL &&
           connect(at->fd, (struct sockaddr *)&c->config.addr, sizeof c->config.addr) == 0 &&
           setsockopt(at->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0 &&
           fcntl(at->fd, F_SETFL, O_NONBLOCK) == 0;
}

static void begin(client *c, connection *at) {
    at->text = c->n_begun++ % BENCH_TEXTS;
    at->sent = 0;
    at->in_len = 0;
    at->begin_ns = bench_now_ns();
}

static void send_more(client *c, connection *at) {
    size_t left = c->request_lens[at->text] - at->sent;
    ssize_t n = send(at->fd, c->requests[at->text] + at->sent, left, MSG_NOSIGNAL);
    at->sent += n > 0 ? (size_t)n : 0;
}

/* Unescapes the value of "compressed" in place. */
static const char *compressed_of(char *body, size_t body_len, size_t *len) {
    static const char key[] = "\"compressed\"";
    char *at = memmem(body, body_len, key, sizeof key - 1);
    char *end = body + body_len;
    at = at != NULL ? memchr(at + sizeof key - 1, '"', (size_t)(end - at) - sizeof key + 1) : NULL;
    if (at == NULL) {
        return NULL;
    }
    char *text = ++at;
    char *out = at;
    while (at < end && *at != '"') {
        if (*at == '\\' && at + 1 < end) {
            at++;
            *out++ = *at == 'n' ? '\n' : *at;
            at++;
        } else {
            *out++ = *at++;
        }
    }
    *len = (size_t)(out - text);
    return text;
}

static void take(client *c, connection *at, char *body, size_t len, bool ok) {
    int64_t now = bench_now_ns();
    if (ok) {
        size_t text_len = 0;
        const char *text = compressed_of(body, len, &text_len);
        c->different += text == NULL || !bench_text_same(&c->texts[at->text], text, text_len);
    }
    if (now >= c->count_from_ns && now < c->count_to_ns) {
        c->ok += ok;
        c->not_ok += !ok;
        c->bytes_in += ok ? c->texts[at->text].len : 0;
        if (ok && c->n_times < TIMES_MAX) {
            c->times[c->n_times++] = now - at->begin_ns;
        }
    }
}

/* False when the server hung up or answers what this client cannot read. */
static bool read_more(client *c, connection *at) {
    ssize_t n = recv(at->fd, at->in + at->in_len, c->in_max - at->in_len, 0);
    if (n <= 0) {
        return false;
    }
    at->in_len += (size_t)n;
    at->in[at->in_len] = '\0';
    const char *end = strstr(at->in, "\r\n\r\n");
    if (end == NULL) {
        return at->in_len < c->in_max;
    }
    const char *length = strcasestr(at->in, "\r\nContent-Length: ");
    if (length == NULL || length > end) {
        return false;
    }
    size_t len = strtoul(length + 18, NULL, 10);
    size_t head = (size_t)(end + 4 - at->in);
    if (len > c->in_max - head) {
        return false;
    }
    if (at->in_len >= head + len) {
        take(c, at, at->in + head, len, strncmp(at->in, "HTTP/1.1 200", 12) == 0);
        begin(c, at);
    }
    return true;
}

static bool run(client *c) {
    struct pollfd fds[CONNECTIONS_MAX];
    nfds_t n = (nfds_t)c->config.in_flight;
    c->count_from_ns = bench_now_ns() + (int64_t)(c->config.warm_s * 1e9);
    c->count_to_ns = c->count_from_ns + (int64_t)(c->config.seconds * 1e9);
    for (nfds_t i = 0; i < n; i++) {
        if (!dial(c, &c->connections[i])) {
            return false;
        }
        begin(c, &c->connections[i]);
    }
    while (bench_now_ns() < c->count_to_ns) {
        for (nfds_t i = 0; i < n; i++) {
            const connection *at = &c->connections[i];
            bool sending = at->sent < c->request_lens[at->text];
            fds[i] = (struct pollfd){.fd = at->fd, .events = (short)(sending ? POLLOUT : POLLIN)};
        }
        if (poll(fds, n, 100) < 0) {
            return false;
        }
        for (nfds_t i = 0; i < n; i++) {
            if (fds[i].revents == 0) {
                continue;
            }
            if ((fds[i].events & POLLOUT) != 0) {
                send_more(c, &c->connections[i]);
            } else if (!read_more(c, &c->connections[i])) {
                return false;
            }
        }
    }
    return true;
}

static bool parse(config *c, int argc, char **argv) {
    *c = (config){.in_flight = 16, .bytes = 65536, .seconds = 5, .warm_s = 0.5};
    char host[64];
    const char *colon = argc > 1 ? strrchr(argv[1], ':') : NULL;
    if (colon == NULL || argc % 2 != 0 || (size_t)(colon - argv[1]) >= sizeof host) {
        return false;
    }
    memcpy(host, argv[1], (size_t)(colon - argv[1]));
    host[colon - argv[1]] = '\0';
    c->addr.sin_family = AF_INET;
    c->addr.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
    if (inet_pton(AF_INET, host, &c->addr.sin_addr) != 1) {
        return false;
    }
    for (int i = 2; i < argc; i += 2) {
        if (strcmp(argv[i], "--replies") == 0) {
            c->replies = argv[i + 1];
            continue;
        }
        double *value = strcmp(argv[i], "--in-flight") == 0 ? &c->in_flight
                        : strcmp(argv[i], "--bytes") == 0   ? &c->bytes
                        : strcmp(argv[i], "--seconds") == 0 ? &c->seconds
                        : strcmp(argv[i], "--warm-s") == 0  ? &c->warm_s
                                                            : NULL;
        if (value == NULL) {
            return false;
        }
        *value = strtod(argv[i + 1], NULL);
    }
    return c->in_flight >= 1 && c->in_flight <= CONNECTIONS_MAX && c->bytes >= 1 && c->seconds > 0;
}

int main(int argc, char **argv) {
    static client c;
    if (!parse(&c.config, argc, argv)) {
        (void)fprintf(stderr, "usage: %s HOST:PORT [--in-flight N] [--bytes N] ...\n", argv[0]);
        return 2;
    }
    c.in_max = 4 * (size_t)c.config.bytes + 65536;
    c.times = malloc(TIMES_MAX * sizeof *c.times);
    bool ok = c.times != NULL;
    for (size_t i = 0; ok && i < BENCH_TEXTS; i++) {
        ok = bench_text_make(&c.texts[i], (size_t)c.config.bytes, i + 1, NULL, 0) &&
             make_request(&c, i);
    }
    if (ok && c.config.replies != NULL) {
        ok = bench_texts_load(c.texts, BENCH_TEXTS, c.config.replies);
    }
    if (!ok || !run(&c)) {
        (void)fprintf(stderr, "no memory, or the server hung up\n");
        return 1;
    }
    (void)printf("ok %llu\nnot_ok %llu\ncalls_per_s %.1f\nMB_per_s %.3f\n",
                 (unsigned long long)c.ok, (unsigned long long)c.not_ok,
                 (double)c.ok / c.config.seconds, (double)c.bytes_in / c.config.seconds / 1e6);
    (void)printf("p50_us %.1f\np99_us %.1f\nreplies_hash %016llx\ndifferent %llu\n",
                 (double)bench_percentile(c.times, c.n_times, 0.5) / 1e3,
                 (double)bench_percentile(c.times, c.n_times, 0.99) / 1e3,
                 (unsigned long long)bench_texts_hash(c.texts, BENCH_TEXTS),
                 (unsigned long long)c.different);
    return c.different > 0;
}
