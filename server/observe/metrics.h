/* Writers of the Prometheus text format 0.0.4, for every part of the server that has metrics.
 * Names carry their unit; labels are few and bounded. Pure functions on a stream. */
#ifndef PITH_SERVER_OBSERVE_METRICS_H
#define PITH_SERVER_OBSERVE_METRICS_H

#include "runtime/base/histogram.h"

#include <stdint.h>
#include <stdio.h>

/* "# HELP" and "# TYPE" of a metric; its series follow. */
void pith_metric_head(FILE *out, const char *name, const char *type, const char *help);

/* Metrics of one series, with their head. */
void pith_metric_counter(FILE *out, const char *name, const char *help, uint64_t value);
void pith_metric_gauge(FILE *out, const char *name, const char *help, double value);

/* The series of a histogram, without a head. labels: "a=\"b\"" or ""; unit: of a value, 1e-9 for
 * nanoseconds shown as seconds. */
void pith_metric_histogram(FILE *out, const char *name, const char *labels,
                           const pith_histogram_view *view, double unit);

#endif
