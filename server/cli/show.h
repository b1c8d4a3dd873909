/* What `pith compress` shows of a reply. */
#ifndef PITH_SERVER_CLI_SHOW_H
#define PITH_SERVER_CLI_SHOW_H

#include "pith/v1/compression.pb-c.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* The input with its dropped words dimmed (colour), or set in [- -] without. */
void pith_show_explained(FILE *out, const char *text, size_t len,
                         const Pith__V1__CompressResponse *response, bool colour);

/* One line: words and tokens before and after, critical spans kept, latency, what to know. */
void pith_show_figures(FILE *out, const Pith__V1__CompressResponse *response);

/* A bar for long inputs: done of total windows. */
void pith_show_progress(FILE *out, uint32_t done, uint32_t total);

#endif
