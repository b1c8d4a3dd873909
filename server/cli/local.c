#include "server/cli/local.h"

#include "runtime/engine/engine.h"
#include "server/cli/show.h"
#include "server/common/engine_options.h"
#include "server/grpc/convert.h"
#include "server/grpc/request.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    PROGRESS_TEXT_BYTES = 256 * 1024, /* shorter texts are done before a bar would be read */
    PROGRESS_MS = 100,
    REQUEST_ARENA_BYTES = 4 * 1024 * 1024
};

/* The reply, packed in the callback: its parts do not outlive that. */
typedef struct outcome {
    pthread_mutex_t mutex;
    pthread_cond_t done;
    bool answered;
    pith_status status;
    pith_err err;
    uint8_t *packed;
    size_t packed_len;
} outcome;

static pith_status pack(outcome *o, const pith_reply *reply) {
    pith_arena arena;
    pith_arena_init(&arena, pith_response_arena_bytes(reply));
    pith_response *response = malloc(sizeof *response);
    pith_status status = response == NULL
                             ? pith_fail(&o->err, PITH_NO_MEMORY, "no memory for the reply")
                             : pith_response_from_reply(response, reply, "", 0, &arena, &o->err);
    if (status == PITH_OK) {
        o->packed_len = pith__v1__compress_response__get_packed_size(&response->message);
        o->packed = malloc(o->packed_len + 1);
        if (o->packed == NULL) {
            status = pith_fail(&o->err, PITH_NO_MEMORY, "no memory for the reply");
        } else {
            (void)pith__v1__compress_response__pack(&response->message, o->packed);
        }
    }
    free(response);
    pith_arena_reset(&arena);
    return status;
}

static void take_reply(void *user, const pith_reply *reply) {
    outcome *o = user;
    pith_status status = reply->status == PITH_OK
                             ? pack(o, reply)
                             : pith_fail(&o->err, reply->status, "%s", reply->error);
    (void)pthread_mutex_lock(&o->mutex);
    o->status = status;
    o->answered = true;
    (void)pthread_cond_signal(&o->done);
    (void)pthread_mutex_unlock(&o->mutex);
}

static void wait_reply(outcome *o, const pith_job *job, bool bar) {
    (void)pthread_mutex_lock(&o->mutex);
    while (!o->answered) {
        struct timespec until;
        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_nsec += PROGRESS_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        (void)pthread_cond_timedwait(&o->done, &o->mutex, &until);
        if (bar) {
            uint32_t done;
            uint32_t total;
            pith_job_progress(job, &done, &total);
            pith_show_progress(stderr, done, total);
        }
    }
    (void)pthread_mutex_unlock(&o->mutex);
}

static pith_status run(pith_engine *engine, const pith_options *options,
                       const Pith__V1__CompressRequest *message, outcome *o) {
    pith_arena arena;
    pith_arena_init(&arena, REQUEST_ARENA_BYTES);
    pith_compress_request request = {0};
    pith_submit_opts submit = {0};
    pith_fault fault = {0};
    pith_status status =
        pith_request_read(message, "", options->max_text_bytes, &arena, &request, &submit, &fault);
    if (status != PITH_OK) {
        (void)pith_fail(&o->err, status, "%s: %.400s", fault.field, fault.err.text);
    } else {
        submit.deadline_ns = PITH_DEADLINE_NONE;
        submit.reply = take_reply;
        submit.user = o;
        pith_job *job;
        status = pith_engine_submit(engine, &request, &submit, &job, NULL, &o->err);
        if (status == PITH_OK) {
            wait_reply(o, job, isatty(STDERR_FILENO) && request.text_len > PROGRESS_TEXT_BYTES);
            pith_job_release(job);
            status = o->status;
        }
    }
    pith_arena_reset(&arena);
    return status;
}

pith_status pith_local_compress(const pith_options *options,
                                const Pith__V1__CompressRequest *request,
                                Pith__V1__CompressResponse **response, pith_err *err) {
    *response = NULL;
    pith_engine *engine;
    pith_status status = pith_engine_open_with(&engine, options, err);
    if (status != PITH_OK) {
        return status;
    }
    outcome o = {.mutex = PTHREAD_MUTEX_INITIALIZER, .done = PTHREAD_COND_INITIALIZER};
    status = run(engine, options, request, &o);
    pith_engine_close(engine);
    if (status == PITH_OK) {
        *response = pith__v1__compress_response__unpack(NULL, o.packed_len, o.packed);
        if (*response == NULL) {
            status = pith_fail(&o.err, PITH_NO_MEMORY, "no memory for the reply");
        }
    }
    if (status != PITH_OK) {
        *err = o.err;
    }
    free(o.packed);
    return status;
}
