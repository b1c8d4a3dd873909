#include "server/grpc/listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    HOST_BYTES = 256, /* RFC 1035: a name has at most 255 */
    BACKLOG = 1024
};

typedef struct host_port {
    char host[HOST_BYTES];
    const char *port;
} host_port;

/* Splits at the last colon; an IPv6 address stands in brackets. */
static bool split(const char *text, host_port *out) {
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon[1] == '\0') {
        return false;
    }
    const char *begin = text;
    const char *end = colon;
    if (*begin == '[') {
        if (end == begin || end[-1] != ']') {
            return false;
        }
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin)) != NULL) {
        return false; /* IPv6 without brackets */
    }
    size_t len = (size_t)(end - begin);
    if (len >= HOST_BYTES) {
        return false;
    }
    memcpy(out->host, begin, len);
    out->host[len] = '\0';
    out->port = colon + 1;
    char *rest;
    unsigned long port = strtoul(out->port, &rest, 10);
    return *rest == '\0' && *out->port >= '0' && *out->port <= '9' && port <= UINT16_MAX;
}

static int open_one(const struct addrinfo *info) {
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    int on = 1;
    int off = 0;
    /* Only lets a port in TIME_WAIT be bound again; two listeners are still refused. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (info->ai_family == AF_INET6) {
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    }
    if (bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int code = errno;
        (void)close(fd);
        errno = code;
        return -1;
    }
    return fd;
}

static pith_status describe(int fd, uint16_t *port, char *address, size_t size, pith_err *err) {
    struct sockaddr_storage bound;
    socklen_t len = sizeof bound;
    char host[NI_MAXHOST];
    char service[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&bound, &len) != 0 ||
        getnameinfo((struct sockaddr *)&bound, len, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
        return pith_fail(err, PITH_IO, "cannot read the bound address: %s", strerror(errno));
    }
    bool v6 = bound.ss_family == AF_INET6;
    *port = (uint16_t)strtoul(service, NULL, 10);
    (void)snprintf(address, size, "%s%s%s:%s", v6 ? "[" : "", host, v6 ? "]" : "", service);
    return PITH_OK;
}

pith_status pith_listen(const char *text, int *fd, uint16_t *port, char *address, size_t size,
                        pith_err *err) {
    *fd = -1;
    host_port where;
    if (!split(text, &where)) {
        return pith_fail(err, PITH_INVALID,
                         "listen address \"%s\": expected HOST:PORT, [V6]:PORT or :PORT", text);
    }
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    int rc = getaddrinfo(where.host[0] == '\0' ? NULL : where.host, where.port, &hints, &found);
    if (rc != 0) {
        return pith_fail(err, PITH_INVALID, "listen address \"%s\": %s", text, gai_strerror(rc));
    }
    /* Every address means IPv6 with IPv4 inside it where the machine has it: ask for that first. */
    int family = where.host[0] == '\0' ? AF_INET6 : AF_INET;
    int opened = -1;
    int code = 0;
    for (int round = 0; round < 2 && opened < 0; round++) {
        for (struct addrinfo *at = found; at != NULL && opened < 0; at = at->ai_next) {
            if ((at->ai_family == family) == (round == 0)) {
                opened = open_one(at);
                code = opened < 0 && (code == 0 || errno == EADDRINUSE) ? errno : code;
            }
        }
    }
    freeaddrinfo(found);
    if (opened < 0) {
        return pith_fail(err, PITH_IO, "cannot listen on %s: %s", text, strerror(code));
    }
    pith_status status = describe(opened, port, address, size, err);
    if (status != PITH_OK) {
        (void)close(opened);
        return status;
    }
    *fd = opened;
    return PITH_OK;
}
