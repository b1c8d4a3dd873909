#include "server/grpc/wire.h"

#include "runtime/base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Wire types, protobuf encoding specification. */
enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum {
    /* Of one field, in an arena with 64-byte steps: protobuf-c's scan record twice (its slabs
     * double), an array slot, and the message struct or the unknown-field record. */
    ELEMENT_COST_BYTES = 320,
    PACKED_COST_FACTOR = 8, /* a one-byte varint becomes at most an 8-byte integer */
    ARENA_SLACK_BYTES = 2 * PITH_ARENA_CHUNK_BYTES
};

/* One message under way. */
typedef struct frame {
    const ProtobufCMessageDescriptor *type; /* NULL: never; unknown fields are not entered */
    const uint8_t *end;
    const char *name; /* of the field that holds it; NULL for the outermost */
    uint64_t seen;    /* bit per field index below 64: singular sub-messages met so far */
} frame;

typedef struct walk {
    const uint8_t *at;
    const pith_wire_opts *opts;
    frame stack[PITH_WIRE_DEPTH_MAX];
    size_t depth;
    size_t n_elements;
    size_t cost;
    pith_fault *fault;
} walk;

static bool read_varint(const uint8_t **at, const uint8_t *end, uint64_t *value) {
    uint64_t bits = 0;
    for (unsigned shift = 0; shift < 70 && *at < end; shift += 7) {
        uint8_t byte = *(*at)++;
        if (shift == 63 && byte > 1) {
            return false; /* over 64 bits */
        }
        bits |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = bits;
            return true;
        }
    }
    return false;
}

/* "request.text" for field `name` of the innermost message. */
static void field_path(const walk *w, const char *name, char path[PITH_FAULT_FIELD_BYTES]) {
    size_t used = 0;
    path[0] = '\0';
    for (size_t i = 1; i <= w->depth && used < PITH_FAULT_FIELD_BYTES; i++) {
        const char *part = i == w->depth ? name : w->stack[i].name;
        int n =
            snprintf(path + used, PITH_FAULT_FIELD_BYTES - used, "%s%s", i > 1 ? "." : "", part);
        used += n < 0 ? 0 : (size_t)n;
    }
}

static pith_status malformed(walk *w, const char *what) {
    return pith_fault_set(w->fault, PITH_INVALID, NULL, "malformed message: %s", what);
}

static pith_status check_text(walk *w, const ProtobufCFieldDescriptor *field, size_t len) {
    char path[PITH_FAULT_FIELD_BYTES];
    if (w->opts->text_bytes_max != 0 && len > w->opts->text_bytes_max) {
        field_path(w, field->name, path);
        return pith_fault_set(w->fault, PITH_INVALID, path, "%zu bytes, at most %zu are allowed",
                              len, w->opts->text_bytes_max);
    }
    size_t valid = pith_utf8_valid((const char *)w->at, len);
    if (valid < len) {
        field_path(w, field->name, path);
        return pith_fault_set(w->fault, PITH_INVALID, path, "invalid UTF-8 at byte %zu", valid);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING && len > 0) {
        const uint8_t *nul = memchr(w->at, 0, len);
        if (nul != NULL) {
            field_path(w, field->name, path);
            return pith_fault_set(w->fault, PITH_INVALID, path, "NUL at byte %td", nul - w->at);
        }
    }
    return PITH_OK;
}

static pith_status enter(walk *w, const ProtobufCFieldDescriptor *field, size_t len) {
    frame *top = &w->stack[w->depth - 1];
    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        size_t index = (size_t)(field - top->type->fields);
        uint64_t bit = index < 64 ? (uint64_t)1 << index : 0;
        if ((top->seen & bit) != 0) {
            char path[PITH_FAULT_FIELD_BYTES];
            field_path(w, field->name, path);
            return pith_fault_set(w->fault, PITH_INVALID, path, "given twice");
        }
        top->seen |= bit;
    }
    if (w->depth == PITH_WIRE_DEPTH_MAX) {
        return pith_fault_set(w->fault, PITH_INVALID, NULL, "nested deeper than %d messages",
                              PITH_WIRE_DEPTH_MAX);
    }
    w->stack[w->depth++] = (frame){
        .type = field->descriptor,
        .end = w->at + len,
        .name = field->name,
    };
    return PITH_OK;
}

/* A length-delimited field: text, sub-message, packed numbers or something unknown. */
static pith_status check_bytes(walk *w, const ProtobufCFieldDescriptor *field, const uint8_t *end) {
    uint64_t len;
    if (!read_varint(&w->at, end, &len) || len > (uint64_t)(end - w->at)) {
        return malformed(w, "a length reaches past the end");
    }
    pith_status status = PITH_OK;
    if (field != NULL && field->type == PROTOBUF_C_TYPE_MESSAGE) {
        w->cost += ((const ProtobufCMessageDescriptor *)field->descriptor)->sizeof_message;
        return enter(w, field, len);
    }
    bool text =
        field != NULL && (field->type == PROTOBUF_C_TYPE_STRING ||
                          (field->type == PROTOBUF_C_TYPE_BYTES && w->opts->bytes_are_text));
    if (text) {
        status = check_text(w, field, len);
    }
    bool packed = field != NULL && field->type != PROTOBUF_C_TYPE_STRING &&
                  field->type != PROTOBUF_C_TYPE_BYTES;
    w->cost += packed ? len * PACKED_COST_FACTOR : len;
    w->at += len;
    return status;
}

static pith_status check_field(walk *w) {
    const frame *top = &w->stack[w->depth - 1];
    uint64_t tag;
    uint64_t value;
    if (!read_varint(&w->at, top->end, &tag) || tag > UINT32_MAX || tag >> 3 == 0) {
        return malformed(w, "a tag is out of range");
    }
    if (++w->n_elements > PITH_WIRE_ELEMENTS_MAX) {
        return pith_fault_set(w->fault, PITH_EXHAUSTED, NULL, "message has more than %d fields",
                              PITH_WIRE_ELEMENTS_MAX);
    }
    w->cost += ELEMENT_COST_BYTES;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field(top->type, (unsigned)(tag >> 3));
    size_t left = (size_t)(top->end - w->at);
    switch (tag & 7) {
    case WIRE_VARINT:
        return read_varint(&w->at, top->end, &value) ? PITH_OK : malformed(w, "a number is cut");
    case WIRE_FIXED64:
    case WIRE_FIXED32: {
        size_t size = (tag & 7) == WIRE_FIXED64 ? 8 : 4;
        if (left < size) {
            return malformed(w, "a number is cut");
        }
        w->at += size;
        return PITH_OK;
    }
    case WIRE_BYTES:
        return check_bytes(w, field, top->end);
    default:
        return malformed(w, "groups are not supported");
    }
}

pith_status pith_wire_check(const ProtobufCMessageDescriptor *type, const uint8_t *data, size_t len,
                            const pith_wire_opts *opts, size_t *arena_bytes, pith_fault *fault) {
    static const uint8_t nothing[1];
    const uint8_t *begin = len == 0 ? nothing : data;
    walk w = {.at = begin, .opts = opts, .fault = fault, .cost = ARENA_SLACK_BYTES, .depth = 1};
    w.cost += type->sizeof_message;
    w.stack[0] = (frame){.type = type, .end = begin + len};
    *arena_bytes = 0;
    if (opts->message_bytes_max != 0 && len > opts->message_bytes_max) {
        return pith_fault_set(fault, PITH_INVALID, NULL, "message of %zu bytes, at most %zu", len,
                              opts->message_bytes_max);
    }
    while (w.depth > 0) {
        if (w.at == w.stack[w.depth - 1].end) {
            w.depth--;
            continue;
        }
        pith_status status = check_field(&w);
        if (status != PITH_OK) {
            return status;
        }
    }
    *arena_bytes = w.cost;
    return PITH_OK;
}

/* protobuf-c cannot say why it gave up: this does. */
typedef struct decode_memory {
    pith_arena *arena;
    bool refused;
} decode_memory;

static void *arena_alloc(void *data, size_t size) {
    decode_memory *memory = data;
    void *out = pith_arena_alloc(memory->arena, 1, size);
    memory->refused |= out == NULL;
    return out;
}

static void arena_free(void *data, void *pointer) {
    (void)data;
    (void)pointer;
}

pith_status pith_wire_decode(const ProtobufCMessageDescriptor *type, const uint8_t *data,
                             size_t len, const pith_wire_opts *opts, pith_arena *arena,
                             ProtobufCMessage **message, pith_fault *fault) {
    *message = NULL;
    pith_arena_init(arena, 0);
    size_t arena_bytes;
    pith_status status = pith_wire_check(type, data, len, opts, &arena_bytes, fault);
    if (status != PITH_OK) {
        return status;
    }
    pith_arena_init(arena, arena_bytes);
    decode_memory memory = {.arena = arena};
    ProtobufCAllocator allocator = {
        .alloc = arena_alloc, .free = arena_free, .allocator_data = &memory};
    static const uint8_t nothing[1];
    *message = protobuf_c_message_unpack(type, &allocator, len, len == 0 ? nothing : data);
    if (*message == NULL && memory.refused) {
        return pith_fault_set(fault, PITH_NO_MEMORY, NULL, "no memory to read the message");
    }
    if (*message == NULL) {
        return pith_fault_set(fault, PITH_INVALID, NULL,
                              "malformed message: a field has another type");
    }
    return PITH_OK;
}

pith_wire_step pith_wire_next(const uint8_t **at, const uint8_t *end, pith_wire_field *field) {
    if (*at == end) {
        return PITH_WIRE_END;
    }
    uint64_t tag;
    uint64_t value;
    if (!read_varint(at, end, &tag) || tag >> 3 == 0 || tag >> 3 > INT32_MAX) {
        return PITH_WIRE_MALFORMED;
    }
    *field = (pith_wire_field){.number = (uint32_t)(tag >> 3)};
    uint64_t skip = 0;
    switch (tag & 7) {
    case WIRE_VARINT:
        return read_varint(at, end, &value) ? PITH_WIRE_FIELD : PITH_WIRE_MALFORMED;
    case WIRE_FIXED64:
        skip = 8;
        break;
    case WIRE_FIXED32:
        skip = 4;
        break;
    case WIRE_BYTES:
        if (!read_varint(at, end, &skip)) {
            return PITH_WIRE_MALFORMED;
        }
        field->data = *at;
        field->len = skip;
        break;
    default:
        return PITH_WIRE_MALFORMED;
    }
    if (skip > (uint64_t)(end - *at)) {
        return PITH_WIRE_MALFORMED;
    }
    *at += skip;
    return PITH_WIRE_FIELD;
}

bool pith_wire_find(const uint8_t *data, size_t len, uint32_t number, const uint8_t **found,
                    size_t *found_len) {
    const uint8_t *end = data + len;
    pith_wire_field field;
    bool hit = false;
    for (size_t n = 0; n < PITH_WIRE_ELEMENTS_MAX; n++) {
        if (pith_wire_next(&data, end, &field) != PITH_WIRE_FIELD) {
            return hit;
        }
        if (field.data != NULL && field.number == number) {
            *found = field.data;
            *found_len = field.len;
            hit = true;
        }
    }
    return hit;
}
