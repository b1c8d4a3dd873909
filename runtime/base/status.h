/* Status of every fallible function, and the optional text that explains it.
 *
 * Owns nothing; a pith_err is plain memory of the caller, used by one thread at a time.
 * The text is one line, names the thing, what was found and what was expected. */
#ifndef PITH_BASE_STATUS_H
#define PITH_BASE_STATUS_H

#define PITH_MUST_USE           __attribute__((warn_unused_result))
#define PITH_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))

typedef enum pith_status {
    PITH_OK = 0,
    PITH_INVALID,     /* the caller's input breaks the contract of the API */
    PITH_NOT_FOUND,   /* a named thing does not exist */
    PITH_EXHAUSTED,   /* a queue, arena or quota is full; retry later */
    PITH_NO_MEMORY,   /* the allocator refused */
    PITH_IO,          /* open, read, write, bind failed; the text carries errno */
    PITH_CORRUPT,     /* a file's bytes contradict themselves or their manifest */
    PITH_UNSUPPORTED, /* well formed, but not something this build can do */
    PITH_CANCELLED,   /* the client went away */
    PITH_DEADLINE,    /* the deadline passed before the work was done */
    PITH_UNAVAILABLE, /* draining, or the device is lost */
    PITH_INTERNAL,    /* a mistake of ours that was caught */
    PITH_NO_KEY,      /* the caller has shown no key that we know */
    PITH_STATUS_COUNT
} pith_status;

enum { PITH_ERR_TEXT_BYTES = 512 }; /* one line: a path, a tensor name, found and expected */

typedef struct pith_err {
    pith_status status;
    char text[PITH_ERR_TEXT_BYTES];
} pith_err;

/* Records `status` and a formatted text in `err` (may be NULL) and returns `status`. */
pith_status pith_fail(pith_err *err, pith_status status, const char *fmt, ...) PITH_PRINTF(3, 4);

/* Upper-case name of a status, never NULL: "OK", "INVALID", ... */
const char *pith_status_name(pith_status status);

#endif
