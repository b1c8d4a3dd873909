/* Protobuf wire format: a check of foreign bytes before protobuf-c reads them, and decoding into an
 * arena.
 *
 * protobuf-c has no limit on nesting, no UTF-8 check, merges a sub-message given twice wrongly and
 * spends up to 64 bytes per byte of input. The check walks the bytes with the generated
 * descriptors, without recursion, in linear time, and says how much memory decoding may take. Any
 * thread. */
#ifndef PITH_SERVER_GRPC_WIRE_H
#define PITH_SERVER_GRPC_WIRE_H

#include "runtime/base/arena.h"
#include "server/grpc/fault.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Our deepest request is StreamCompressRequest.request.keep: 3. Google's readers stop at 100.
     */
    PITH_WIRE_DEPTH_MAX = 16,
    /* Fields of a message, those of sub-messages included: 65,536 keep ranges of three each, and
     * as many again for everything else. */
    PITH_WIRE_ELEMENTS_MAX = 1 << 18,
    /* For health and reflection, whose requests hold a name or two. */
    PITH_WIRE_SMALL_BYTES_MAX = 4096
};

typedef struct pith_wire_opts {
    bool bytes_are_text;   /* pith.v1: `bytes` fields of the private copy are text, NUL allowed */
    size_t text_bytes_max; /* a longer text field is refused before it is looked at; 0: no limit */
    size_t message_bytes_max; /* a longer message is refused whole; 0: no limit */
} pith_wire_opts;

/* Checks data[0, len) as a message of `type`. PITH_INVALID: malformed bytes, a group, a tag out of
 * range, a singular sub-message given twice, nested too deeply, invalid UTF-8 or NUL in a `string`
 * (field and byte offset), over a bound of `opts`. PITH_EXHAUSTED: over PITH_WIRE_ELEMENTS_MAX.
 * *arena_bytes gets a bound on what decoding takes from an arena. */
PITH_MUST_USE pith_status pith_wire_check(const ProtobufCMessageDescriptor *type,
                                          const uint8_t *data, size_t len,
                                          const pith_wire_opts *opts, size_t *arena_bytes,
                                          pith_fault *fault);

/* Checks, then decodes into `arena`, which it initialises and the caller resets in every case. */
PITH_MUST_USE pith_status pith_wire_decode(const ProtobufCMessageDescriptor *type,
                                           const uint8_t *data, size_t len,
                                           const pith_wire_opts *opts, pith_arena *arena,
                                           ProtobufCMessage **message, pith_fault *fault);

/* One field of a message, as it lies on the wire. */
typedef struct pith_wire_field {
    uint32_t number;
    const uint8_t *data; /* of a length-delimited field [len]; NULL: of another kind */
    size_t len;
} pith_wire_field;

typedef enum pith_wire_step { PITH_WIRE_FIELD, PITH_WIRE_END, PITH_WIRE_MALFORMED } pith_wire_step;

/* The next field of *at..end, which is moved behind it. Groups are malformed. */
pith_wire_step pith_wire_next(const uint8_t **at, const uint8_t *end, pith_wire_field *field);

/* Finds the last length-delimited field `number` of the message data[0, len). False when there is
 * none or the bytes before it are malformed: for the id of a request that failed its check. */
bool pith_wire_find(const uint8_t *data, size_t len, uint32_t number, const uint8_t **found,
                    size_t *found_len);

#endif
