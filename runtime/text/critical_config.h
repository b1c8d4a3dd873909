/* The classes in force: the built-in table as changed by config text. Private to critical*.c. */
#ifndef PITH_TEXT_CRITICAL_CONFIG_H
#define PITH_TEXT_CRITICAL_CONFIG_H

#include "runtime/text/critical.h"

typedef struct pith_class_entry {
    char name[PITH_CRITICAL_NAME_BYTES_MAX + 1];
    char *pattern; /* owned when custom, else the table's */
    uint32_t domains;
    bool enabled;
    bool published;
    bool custom;
} pith_class_entry;

typedef struct pith_class_list {
    pith_class_entry items[PITH_CRITICAL_CLASSES_MAX];
    size_t len;
} pith_class_list;

/* Fills `list`; pith_class_list_free also after an error. */
PITH_MUST_USE pith_status pith_class_list_read(pith_class_list *list, const char *config_json,
                                               pith_err *err);
void pith_class_list_free(pith_class_list *list);

#endif
