#include "runtime/text/critical_config.h"

#include "runtime/text/critical_classes.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHERE "critical config: "

static pith_class_entry *find(pith_class_list *list, const char *name) {
    for (size_t i = 0; i < list->len; i++) {
        if (strcmp(list->items[i].name, name) == 0) {
            return &list->items[i];
        }
    }
    return NULL;
}

static void add_built_in(pith_class_list *list) {
    for (size_t i = 0; i < pith_critical_n_classes; i++) {
        const pith_critical_class *c = &pith_critical_classes[i];
        pith_class_entry *entry = &list->items[list->len++];
        *entry = (pith_class_entry){
            .pattern = (char *)(uintptr_t)c->pattern,
            .domains = c->domains,
            .enabled = true,
            .published = c->published,
        };
        (void)snprintf(entry->name, sizeof entry->name, "%s", c->name);
    }
}

static pith_status read_domains(pith_class_entry *entry, const json_t *value, pith_err *err) {
    if (!json_is_array(value)) {
        return pith_fail(err, PITH_INVALID, WHERE "class \"%s\": domains is not a list",
                         entry->name);
    }
    entry->domains = 0;
    for (size_t i = 0; i < json_array_size(value); i++) {
        const char *name = json_string_value(json_array_get(value, i));
        pith_domain domain = name == NULL ? PITH_DOMAIN_COUNT : pith_domain_find(name);
        if (domain == PITH_DOMAIN_COUNT || domain == PITH_DOMAIN_AUTO) {
            return pith_fail(err, PITH_INVALID, WHERE "class \"%s\": \"%.64s\" is not a domain",
                             entry->name, name == NULL ? "(not a string)" : name);
        }
        entry->domains |= 1U << domain;
    }
    return PITH_OK;
}

static pith_status read_pattern(pith_class_entry *entry, const json_t *value, pith_err *err) {
    size_t len = json_is_string(value) ? json_string_length(value) : 0;
    if (len == 0 || len > PITH_CRITICAL_PATTERN_BYTES_MAX) {
        return pith_fail(err, PITH_INVALID,
                         WHERE "class \"%s\": pattern is not a string of 1 to %d bytes",
                         entry->name, PITH_CRITICAL_PATTERN_BYTES_MAX);
    }
    char *copy = strdup(json_string_value(value));
    if (copy == NULL) {
        return pith_fail(err, PITH_NO_MEMORY, WHERE "no memory for a pattern");
    }
    if (entry->custom) {
        free(entry->pattern);
    }
    entry->pattern = copy;
    entry->custom = true;
    return PITH_OK;
}

static pith_status read_class(pith_class_entry *entry, const json_t *object, pith_err *err) {
    if (!json_is_object(object)) {
        return pith_fail(err, PITH_INVALID, WHERE "class \"%s\" is not an object", entry->name);
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        pith_status status = PITH_OK;
        if (strcmp(key, "enabled") == 0 && json_is_boolean(value)) {
            entry->enabled = json_is_true(value);
        } else if (strcmp(key, "domains") == 0) {
            status = read_domains(entry, value, err);
        } else if (strcmp(key, "pattern") == 0) {
            status = read_pattern(entry, value, err);
        } else {
            status = pith_fail(err, PITH_INVALID,
                               WHERE "class \"%s\": bad key or value at \"%.64s\"; expected "
                                     "enabled (true or false), domains or pattern",
                               entry->name, key);
        }
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

static pith_status add_class(pith_class_list *list, const char *name, const json_t *object,
                             pith_class_entry **entry, pith_err *err) {
    if (json_object_get(object, "pattern") == NULL) {
        return pith_fail(err, PITH_INVALID,
                         WHERE "class \"%.64s\" is not built in and has no pattern", name);
    }
    if (list->len == PITH_CRITICAL_CLASSES_MAX) {
        return pith_fail(err, PITH_INVALID, WHERE "over %d classes", PITH_CRITICAL_CLASSES_MAX);
    }
    size_t len = strlen(name);
    if (len == 0 || len > PITH_CRITICAL_NAME_BYTES_MAX) {
        return pith_fail(err, PITH_INVALID, WHERE "class name of %zu bytes, expected 1 to %d", len,
                         PITH_CRITICAL_NAME_BYTES_MAX);
    }
    *entry = &list->items[list->len++];
    **entry = (pith_class_entry){.domains = UINT32_MAX, .enabled = true};
    (void)snprintf((*entry)->name, sizeof(*entry)->name, "%s", name);
    return PITH_OK;
}

static pith_status read_classes(pith_class_list *list, const json_t *classes, pith_err *err) {
    if (!json_is_object(classes)) {
        return pith_fail(err, PITH_INVALID, WHERE "\"classes\" is not an object");
    }
    const char *name;
    json_t *object;
    json_object_foreach((json_t *)(uintptr_t)classes, name, object) {
        pith_class_entry *entry = find(list, name);
        pith_status status = entry != NULL ? PITH_OK : add_class(list, name, object, &entry, err);
        if (status == PITH_OK) {
            status = read_class(entry, object, err);
        }
        if (status != PITH_OK) {
            return status;
        }
    }
    return PITH_OK;
}

static pith_status read_only(pith_class_list *list, const json_t *only, pith_err *err) {
    if (!json_is_array(only)) {
        return pith_fail(err, PITH_INVALID, WHERE "\"only\" is not a list");
    }
    bool named[PITH_CRITICAL_CLASSES_MAX] = {false};
    for (size_t i = 0; i < json_array_size(only); i++) {
        const char *name = json_string_value(json_array_get(only, i));
        const pith_class_entry *entry = name == NULL ? NULL : find(list, name);
        if (entry == NULL) {
            return pith_fail(err, PITH_INVALID, WHERE "only: \"%.64s\" is not a class",
                             name == NULL ? "(not a string)" : name);
        }
        named[entry - list->items] = true;
    }
    for (size_t i = 0; i < list->len; i++) {
        list->items[i].enabled = list->items[i].enabled && named[i];
    }
    return PITH_OK;
}

static pith_status read_root(pith_class_list *list, const json_t *root, pith_err *err) {
    if (!json_is_object(root)) {
        return pith_fail(err, PITH_INVALID, WHERE "the text is not a JSON object");
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)root, key, value) {
        if (strcmp(key, "classes") != 0 && strcmp(key, "only") != 0) {
            return pith_fail(err, PITH_INVALID,
                             WHERE "unknown key \"%.64s\", expected classes or only", key);
        }
    }
    const json_t *classes = json_object_get(root, "classes");
    const json_t *only = json_object_get(root, "only");
    pith_status status = classes == NULL ? PITH_OK : read_classes(list, classes, err);
    return status != PITH_OK || only == NULL ? status : read_only(list, only, err);
}

pith_status pith_class_list_read(pith_class_list *list, const char *config_json, pith_err *err) {
    list->len = 0;
    add_built_in(list);
    if (config_json == NULL || config_json[0] == '\0') {
        return PITH_OK;
    }
    size_t len = strlen(config_json);
    if (len > PITH_CRITICAL_CONFIG_BYTES_MAX) {
        return pith_fail(err, PITH_INVALID, WHERE "%zu bytes, the limit is %d", len,
                         PITH_CRITICAL_CONFIG_BYTES_MAX);
    }
    json_error_t error;
    json_t *root = json_loadb(config_json, len, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        return pith_fail(err, PITH_INVALID, WHERE "not JSON at line %d column %d: %.120s",
                         error.line, error.column, error.text);
    }
    pith_status status = read_root(list, root, err);
    json_decref(root);
    return status;
}

void pith_class_list_free(pith_class_list *list) {
    for (size_t i = 0; i < list->len; i++) {
        if (list->items[i].custom) {
            free(list->items[i].pattern);
        }
    }
    list->len = 0;
}
