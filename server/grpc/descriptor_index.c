#include "server/grpc/descriptor_index.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* Field numbers of google/protobuf/descriptor.proto. */
enum {
    SET_FILE = 1,
    FILE_NAME = 1,
    FILE_PACKAGE = 2,
    FILE_DEPENDENCY = 3,
    FILE_MESSAGE = 4,
    FILE_ENUM = 5,
    FILE_SERVICE = 6,
    NAME = 1, /* of a message, field, oneof, enum, enum value, service and method alike */
    MESSAGE_FIELD = 2,
    MESSAGE_NESTED = 3,
    MESSAGE_ENUM = 4,
    MESSAGE_ONEOF = 8,
    ENUM_VALUE = 2,
    SERVICE_METHOD = 2
};

enum { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2, WIRE_FIXED32 = 5 };

enum { NAME_BYTES_MAX = 512 }; /* of a fully qualified name */

typedef struct span {
    const uint8_t *data;
    size_t len;
} span;

typedef struct symbol {
    char *name;
    size_t file;
} symbol;

typedef struct file_entry {
    span bytes;
    span name;
    span package;
    span imports[PITH_DESCRIPTOR_IMPORTS_MAX];
    size_t n_imports;
} file_entry;

struct pith_descriptor_index {
    file_entry files[PITH_DESCRIPTOR_FILES_MAX];
    size_t n_files;
    symbol symbols[PITH_DESCRIPTOR_SYMBOLS_MAX]; /* sorted by name */
    size_t n_symbols;
    pith_status status; /* first failure while building */
};

/* Walks the fields of one message. */
typedef struct reader {
    const uint8_t *at;
    const uint8_t *end;
    uint32_t number; /* of the current field */
    span value;      /* its bytes; NULL unless length-delimited */
    bool malformed;
} reader;

static reader reader_of(span bytes) {
    return (reader){.at = bytes.data, .end = bytes.data + bytes.len};
}

static bool read_varint(reader *r, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            return true;
        }
    }
    return false;
}

static bool skip(reader *r, uint64_t len) {
    if (len > (uint64_t)(r->end - r->at)) {
        return false;
    }
    r->at += len;
    return true;
}

/* The next field; false at the end and when malformed. */
static bool next_field(reader *r) {
    uint64_t tag;
    uint64_t value;
    if (r->at == r->end) {
        return false;
    }
    bool ok = read_varint(r, &tag);
    r->number = ok ? (uint32_t)(tag >> 3) : 0;
    r->value = (span){0};
    switch (ok ? tag & 7 : 7) {
    case WIRE_VARINT:
        ok = read_varint(r, &value);
        break;
    case WIRE_FIXED64:
        ok = skip(r, 8);
        break;
    case WIRE_FIXED32:
        ok = skip(r, 4);
        break;
    case WIRE_BYTES:
        ok = read_varint(r, &value);
        r->value = (span){.data = r->at, .len = value};
        ok = ok && skip(r, value);
        break;
    default:
        ok = false;
        break;
    }
    r->malformed = !ok;
    return ok;
}

static span field_of(span message, uint32_t number) {
    reader r = reader_of(message);
    span found = {0};
    while (next_field(&r)) {
        if (r.number == number && r.value.data != NULL) {
            found = r.value;
        }
    }
    return found;
}

static void give_up(pith_descriptor_index *index, pith_status status) {
    index->status = index->status == PITH_OK ? status : index->status;
}

/* Appends scope.name and returns the new symbol's name, "" on failure. */
static const char *add_symbol(pith_descriptor_index *index, const char *scope, span message,
                              size_t file) {
    span name = field_of(message, NAME);
    size_t scope_len = strlen(scope);
    size_t len = scope_len + (scope_len > 0 ? 1 : 0) + name.len;
    if (index->n_symbols == PITH_DESCRIPTOR_SYMBOLS_MAX || name.len == 0 || len > NAME_BYTES_MAX) {
        give_up(index, PITH_CORRUPT);
        return "";
    }
    char *full = malloc(len + 1);
    if (full == NULL) {
        give_up(index, PITH_NO_MEMORY);
        return "";
    }
    memcpy(full, scope, scope_len);
    full[scope_len] = '.';
    memcpy(full + len - name.len, name.data, name.len);
    full[len] = '\0';
    index->symbols[index->n_symbols++] = (symbol){.name = full, .file = file};
    return full;
}

/* Every field `number` of `message` as a name in `scope`. */
static void add_children(pith_descriptor_index *index, const char *scope, span message,
                         uint32_t number, size_t file) {
    reader r = reader_of(message);
    while (next_field(&r)) {
        if (r.number == number && r.value.data != NULL) {
            (void)add_symbol(index, scope, r.value, file);
        }
    }
    if (r.malformed) {
        give_up(index, PITH_CORRUPT);
    }
}

static void add_enum(pith_descriptor_index *index, const char *scope, span type, size_t file) {
    (void)add_symbol(index, scope, type, file);
    add_children(index, scope, type, ENUM_VALUE, file);
}

/* A message and what is nested in it, with a stack of its own. */
static void add_message(pith_descriptor_index *index, const char *package, span type, size_t file) {
    struct {
        reader r;
        const char *name;
    } stack[PITH_DESCRIPTOR_NESTING_MAX];
    size_t depth = 1;
    stack[0].r = reader_of(type);
    stack[0].name = add_symbol(index, package, type, file);
    while (depth > 0 && index->status == PITH_OK) {
        reader *r = &stack[depth - 1].r;
        const char *scope = stack[depth - 1].name;
        if (!next_field(r)) {
            if (r->malformed) {
                give_up(index, PITH_CORRUPT);
            }
            depth--;
            continue;
        }
        if (r->value.data == NULL) {
            continue;
        }
        if (r->number == MESSAGE_FIELD || r->number == MESSAGE_ONEOF) {
            (void)add_symbol(index, scope, r->value, file);
        } else if (r->number == MESSAGE_ENUM) {
            add_enum(index, scope, r->value, file);
        } else if (r->number == MESSAGE_NESTED) {
            if (depth == PITH_DESCRIPTOR_NESTING_MAX) {
                give_up(index, PITH_CORRUPT);
                return;
            }
            span nested = r->value;
            stack[depth].r = reader_of(nested);
            stack[depth].name = add_symbol(index, scope, nested, file);
            depth++;
        }
    }
}

static void add_file_symbols(pith_descriptor_index *index, size_t file) {
    const file_entry *entry = &index->files[file];
    char package[NAME_BYTES_MAX + 1];
    if (entry->package.len > NAME_BYTES_MAX) {
        give_up(index, PITH_CORRUPT);
        return;
    }
    memcpy(package, entry->package.len == 0 ? (const uint8_t *)"" : entry->package.data,
           entry->package.len);
    package[entry->package.len] = '\0';
    reader r = reader_of(entry->bytes);
    while (next_field(&r) && index->status == PITH_OK) {
        if (r.number == FILE_MESSAGE && r.value.data != NULL) {
            add_message(index, package, r.value, file);
        } else if (r.number == FILE_ENUM && r.value.data != NULL) {
            add_enum(index, package, r.value, file);
        } else if (r.number == FILE_SERVICE && r.value.data != NULL) {
            const char *service = add_symbol(index, package, r.value, file);
            add_children(index, service, r.value, SERVICE_METHOD, file);
        }
    }
}

static void add_file(pith_descriptor_index *index, span bytes) {
    if (index->n_files == PITH_DESCRIPTOR_FILES_MAX) {
        give_up(index, PITH_CORRUPT);
        return;
    }
    file_entry *entry = &index->files[index->n_files++];
    entry->bytes = bytes;
    reader r = reader_of(bytes);
    while (next_field(&r)) {
        if (r.number == FILE_NAME) {
            entry->name = r.value;
        } else if (r.number == FILE_PACKAGE) {
            entry->package = r.value;
        } else if (r.number == FILE_DEPENDENCY) {
            if (entry->n_imports == PITH_DESCRIPTOR_IMPORTS_MAX) {
                give_up(index, PITH_CORRUPT);
                return;
            }
            entry->imports[entry->n_imports++] = r.value;
        }
    }
    if (r.malformed || entry->name.len == 0) {
        give_up(index, PITH_CORRUPT);
    }
}

static int compare_symbols(const void *a, const void *b) {
    return strcmp(((const symbol *)a)->name, ((const symbol *)b)->name);
}

pith_status pith_descriptor_index_open(pith_descriptor_index **index, const uint8_t *set,
                                       size_t len, pith_err *err) {
    *index = NULL;
    pith_descriptor_index *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, "no memory for the descriptor index");
    }
    reader r = reader_of((span){.data = set, .len = len});
    while (made->status == PITH_OK && next_field(&r)) {
        if (r.number == SET_FILE && r.value.data != NULL) {
            add_file(made, r.value);
        }
    }
    if (r.malformed || made->n_files == 0) {
        give_up(made, PITH_CORRUPT);
    }
    for (size_t i = 0; i < made->n_files && made->status == PITH_OK; i++) {
        add_file_symbols(made, i);
    }
    if (made->status != PITH_OK) {
        pith_status status = made->status;
        pith_descriptor_index_close(made);
        return pith_fail(err, status, "the descriptor set of %zu bytes cannot be indexed", len);
    }
    qsort(made->symbols, made->n_symbols, sizeof made->symbols[0], compare_symbols);
    *index = made;
    return PITH_OK;
}

void pith_descriptor_index_close(pith_descriptor_index *index) {
    if (index == NULL) {
        return;
    }
    for (size_t i = 0; i < index->n_symbols; i++) {
        free(index->symbols[i].name);
    }
    free(index);
}

static size_t find_span(const pith_descriptor_index *index, span name) {
    for (size_t i = 0; i < index->n_files; i++) {
        const span *known = &index->files[i].name;
        if (known->len == name.len && memcmp(known->data, name.data, name.len) == 0) {
            return i;
        }
    }
    return PITH_DESCRIPTOR_NONE;
}

size_t pith_descriptor_find_file(const pith_descriptor_index *index, const char *name) {
    return find_span(index, (span){.data = (const uint8_t *)name, .len = strlen(name)});
}

size_t pith_descriptor_find_symbol(const pith_descriptor_index *index, const char *name) {
    const symbol key = {.name = (char *)(uintptr_t)name};
    const symbol *found =
        bsearch(&key, index->symbols, index->n_symbols, sizeof index->symbols[0], compare_symbols);
    return found == NULL ? PITH_DESCRIPTOR_NONE : found->file;
}

size_t pith_descriptor_closure(const pith_descriptor_index *index, size_t file,
                               pith_descriptor_file *files) {
    bool seen[PITH_DESCRIPTOR_FILES_MAX] = {false};
    size_t order[PITH_DESCRIPTOR_FILES_MAX];
    size_t n = 0;
    if (file >= index->n_files) {
        return 0;
    }
    order[n++] = file;
    seen[file] = true;
    for (size_t i = 0; i < n; i++) {
        const file_entry *entry = &index->files[order[i]];
        files[i] = (pith_descriptor_file){.data = entry->bytes.data, .len = entry->bytes.len};
        for (size_t k = 0; k < entry->n_imports; k++) {
            size_t import = find_span(index, entry->imports[k]);
            if (import != PITH_DESCRIPTOR_NONE && !seen[import]) {
                seen[import] = true;
                order[n++] = import;
            }
        }
    }
    return n;
}
