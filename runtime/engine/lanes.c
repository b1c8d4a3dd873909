/* Lanes: short texts go straight through, long ones in turns, a slice each. */
#include "runtime/engine/internal.h"

#include <unistd.h>

bool pith_text_is_long(const pith_job *job) {
    return job->request.text_len > PITH_SLICE_BYTES;
}

typedef struct long_work {
    pith_engine *engine;
    pith_job *job;
} long_work;

static pith_status take_turn(void *self) {
    long_work *work = self;
    pith_turns_pass(&work->engine->turns);
    return pith_engine_check_job(work->engine, work->job, pith_clock_now(&work->engine->clock));
}

static void work_in_slices(pith_lane *lane, pith_job *job) {
    pith_token_list list = {0}; /* given back after each: a long text's is large */
    long_work work = {.engine = lane->engine, .job = job};
    pith_slice slice = {.turn = take_turn, .self = &work};
    pith_turns_take(&lane->engine->turns);
    pith_slice_begin(&slice);
    lane->work(lane->engine, job, &list);
    pith_slice_begin(NULL);
    pith_turns_give(&lane->engine->turns);
    pith_token_list_free(&list);
}

static void *lane_main(void *arg) {
    pith_lane *lane = arg;
    pith_token_list *list = &lane->lists[atomic_fetch_add(&lane->n_running, 1)];
    for (;;) {
        pith_job *job = pith_queue_pop(lane->queue, INT64_MAX);
        if (job == NULL) {
            break;
        }
        if (lane->is_long) {
            work_in_slices(lane, job);
        } else {
            lane->work(lane->engine, job, list);
        }
    }
    return NULL;
}

static pith_status lane_open(pith_engine *engine, int index, uint32_t n_threads, pith_err *err) {
    pith_lane *lane = &engine->lanes[index];
    bool ingest = index == PITH_LANE_INGEST || index == PITH_LANE_INGEST_LONG;
    lane->engine = engine;
    lane->work = ingest ? pith_ingest_job : pith_finish_job;
    lane->is_long = index == PITH_LANE_INGEST_LONG || index == PITH_LANE_FINISH_LONG;
    pith_status status = pith_queue_open(&lane->queue, engine->jobs_max, err);
    while (status == PITH_OK && lane->n_threads < n_threads) {
        if (!lane->is_long) {
            status = pith_token_list_open(&lane->lists[lane->n_threads], err);
        }
        if (status != PITH_OK) {
            return status;
        }
        if (pthread_create(&lane->threads[lane->n_threads], NULL, lane_main, lane) != 0) {
            return pith_fail(err, PITH_INTERNAL, "cannot start the engine's threads");
        }
        lane->n_threads++;
    }
    return status;
}

/* Short texts: a quarter of the cores for each kind of work, two threads at least so that one long
 * word does not hold up every other text. Long ones: a quarter of the cores, in turns. */
pith_status pith_lanes_open(pith_engine *engine, pith_err *err) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    uint32_t share = cores > 4 * PITH_LANE_THREADS_MAX ? PITH_LANE_THREADS_MAX
                     : cores > 4                       ? (uint32_t)cores / 4
                                                       : 1;
    uint32_t n_short = share < 2 ? 2 : share;
    pith_turns_init(&engine->turns, share);
    pith_status status = pith_token_list_open(&engine->finish_list, err);
    for (int i = 0; i < PITH_INLINE_LISTS && status == PITH_OK; i++) {
        status = pith_token_list_open(&engine->inline_lists[i], err);
    }
    for (int i = 0; i < PITH_LANES && status == PITH_OK; i++) {
        bool is_long = i == PITH_LANE_INGEST_LONG || i == PITH_LANE_FINISH_LONG;
        status = lane_open(engine, i, is_long ? PITH_LONG_THREADS : n_short, err);
    }
    return status;
}

void pith_lane_close(pith_lane *lane) {
    if (lane->queue != NULL) {
        pith_queue_shut(lane->queue);
    }
    for (uint32_t i = 0; i < lane->n_threads; i++) {
        (void)pthread_join(lane->threads[i], NULL);
    }
    for (int i = 0; i < PITH_LANE_THREADS_MAX; i++) {
        pith_token_list_free(&lane->lists[i]);
    }
    pith_queue_close(lane->queue);
}
