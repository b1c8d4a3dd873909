/* Content routing: what kind of text is this? By rules on the text alone, in linear time. */
#ifndef PITH_TEXT_ROUTE_H
#define PITH_TEXT_ROUTE_H

#include <stddef.h>

typedef enum pith_domain {
    PITH_DOMAIN_AUTO, /* in a request: decide by the text. Never in a reply */
    PITH_DOMAIN_PROSE,
    PITH_DOMAIN_CODE,
    PITH_DOMAIN_LOG,
    PITH_DOMAIN_JSON,
    PITH_DOMAIN_DIFF,
    PITH_DOMAIN_SEARCH,      /* grep, find, ls */
    PITH_DOMAIN_SHELL,       /* a shell session or build output */
    PITH_DOMAIN_ERROR_TRACE, /* a traceback, panic or compiler error */
    PITH_DOMAIN_COUNT
} pith_domain;

/* Looks at no more than the first 64 KiB; never PITH_DOMAIN_AUTO. */
pith_domain pith_route(const char *text, size_t len);

/* Lower-case name as used in config files: "prose", ..., "error_trace"; "auto". */
const char *pith_domain_name(pith_domain domain);

/* The domain of a name, or PITH_DOMAIN_COUNT. */
pith_domain pith_domain_find(const char *name);

#endif
