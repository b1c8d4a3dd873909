#include "server/common/yaml_file.h"

#include "runtime/base/file.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

enum { KEYS_MAX = 128, KEY_BYTES = 64 };

typedef struct reader {
    yaml_parser_t parser;
    const char *path;
    pith_yaml_entry_fn entry;
    void *user;
    char keys[KEYS_MAX][KEY_BYTES]; /* seen so far */
    unsigned n_keys;
    bool in_mapping;
    bool in_list;
    bool have_key; /* keys[n_keys - 1] waits for its value */
} reader;

static pith_status refuse(const reader *r, const yaml_event_t *event, const char *what,
                          pith_err *err) {
    return pith_fail(err, PITH_INVALID, "%s: line %zu: %s", r->path, event->start_mark.line + 1,
                     what);
}

static pith_status take_key(reader *r, const yaml_event_t *event, pith_err *err) {
    const char *text = (const char *)event->data.scalar.value;
    if (event->data.scalar.length >= KEY_BYTES || strlen(text) != event->data.scalar.length) {
        return refuse(r, event, "key too long", err);
    }
    for (unsigned i = 0; i < r->n_keys; i++) {
        if (strcmp(r->keys[i], text) == 0) {
            return refuse(r, event, "key given twice", err);
        }
    }
    if (r->n_keys == KEYS_MAX) {
        return refuse(r, event, "too many keys", err);
    }
    (void)snprintf(r->keys[r->n_keys++], KEY_BYTES, "%s", text);
    r->have_key = true;
    return PITH_OK;
}

static pith_status take_scalar(reader *r, const yaml_event_t *event, pith_err *err) {
    if (!r->in_mapping) {
        return refuse(r, event, "expected \"key: value\"", err);
    }
    if (!r->have_key) {
        return take_key(r, event, err);
    }
    r->have_key = r->in_list;
    return r->entry(r->user, r->path, r->keys[r->n_keys - 1],
                    (const char *)event->data.scalar.value, err);
}

static pith_status take_event(reader *r, const yaml_event_t *event, pith_err *err) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return take_scalar(r, event, err);
    case YAML_MAPPING_START_EVENT:
        if (r->in_mapping) {
            return refuse(r, event, "nested mappings are not known here", err);
        }
        r->in_mapping = true;
        return PITH_OK;
    case YAML_SEQUENCE_START_EVENT:
        if (!r->have_key || r->in_list) {
            return refuse(r, event, "a list belongs under a key", err);
        }
        r->in_list = true;
        return PITH_OK;
    case YAML_SEQUENCE_END_EVENT:
        r->in_list = false;
        r->have_key = false;
        return PITH_OK;
    case YAML_ALIAS_EVENT:
        return refuse(r, event, "aliases are not known here", err);
    default:
        return PITH_OK;
    }
}

static pith_status read_events(reader *r, pith_err *err) {
    for (;;) {
        yaml_event_t event;
        if (yaml_parser_parse(&r->parser, &event) == 0) {
            return pith_fail(err, PITH_INVALID, "%s: line %zu: %s", r->path,
                             r->parser.problem_mark.line + 1,
                             r->parser.problem != NULL ? r->parser.problem : "not YAML");
        }
        pith_status status = take_event(r, &event, err);
        bool last = event.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
        if (status != PITH_OK || last) {
            return status;
        }
    }
}

pith_status pith_yaml_file_read(const char *path, pith_yaml_entry_fn entry, void *user,
                                pith_err *err) {
    pith_file file;
    pith_status status = pith_file_read(&file, path, PITH_YAML_FILE_BYTES_MAX, err);
    if (status != PITH_OK) {
        return status;
    }
    reader r = {.path = path, .entry = entry, .user = user};
    if (yaml_parser_initialize(&r.parser) == 0) {
        pith_file_close(&file);
        return pith_fail(err, PITH_NO_MEMORY, "%s: no memory for the parser", path);
    }
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)file.data, file.len);
    status = read_events(&r, err);
    yaml_parser_delete(&r.parser);
    pith_file_close(&file);
    return status;
}
