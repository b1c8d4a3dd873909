#include "runtime/engine/plan.h"

#include "runtime/base/clock.h"

#include <string.h>

enum { IN_CLASS, IN_AGE }; /* links of a job */

enum {
    AGED_MAX = 16,    /* aged jobs that one step begins with */
    LOOK_MAX = 1024,  /* jobs looked at for one step: bounds the time of a plan */
    TOKENS_LEAST = 3, /* [CLS], a token, [SEP]: with less room left a step is full */
};

/* Highest first. */
static const pith_priority class_order[PITH_PRIORITY_COUNT] = {
    PITH_PRIORITY_INTERACTIVE, PITH_PRIORITY_NORMAL, PITH_PRIORITY_BATCH};

static void list_push(pith_plan_list *list, pith_plan_job *job, int link) {
    job->before[link] = list->tail;
    job->after[link] = NULL;
    if (list->tail == NULL) {
        list->head = job;
    } else {
        list->tail->after[link] = job;
    }
    list->tail = job;
}

static void list_remove(pith_plan_list *list, pith_plan_job *job, int link) {
    if (job->before[link] == NULL) {
        list->head = job->after[link];
    } else {
        job->before[link]->after[link] = job->after[link];
    }
    if (job->after[link] == NULL) {
        list->tail = job->before[link];
    } else {
        job->after[link]->before[link] = job->before[link];
    }
}

int64_t pith_speed_ns(const pith_speed *speed, uint64_t n_tok) {
    double ns = (double)speed->fixed_ns + speed->token_ns * (double)n_tok;
    return ns < (double)(INT64_MAX / 4) ? (int64_t)ns : INT64_MAX / 4;
}

uint32_t pith_plan_budget(const pith_speed *speed, int64_t ns, uint32_t step_tokens) {
    double room = (double)(ns - speed->fixed_ns);
    if (speed->token_ns <= 0.0 || room >= speed->token_ns * (double)step_tokens) {
        return step_tokens;
    }
    return room > speed->token_ns ? (uint32_t)(room / speed->token_ns) : 1;
}

uint32_t pith_plan_bucket(uint64_t tokens, uint32_t budget) {
    uint32_t bucket = 0;
    for (uint64_t most = budget; tokens > most && bucket < PITH_PLAN_BUCKETS - 1; most *= 4) {
        bucket++;
    }
    return bucket;
}

uint32_t pith_plan_rank(const pith_plan_job *job) {
    uint32_t c = 0;
    while (c + 1 < PITH_PRIORITY_COUNT && class_order[c] != job->priority) {
        c++;
    }
    return c * PITH_PLAN_BUCKETS + job->bucket;
}

void pith_queues_add(pith_queues *queues, pith_plan_job *job, uint32_t budget, int64_t now_ns) {
    job->next = 0;
    job->tokens_left = 0;
    for (uint32_t w = 0; w < job->n_windows; w++) {
        job->tokens_left += job->windows[w].n_ids;
    }
    job->bucket = pith_plan_bucket(job->tokens_left, budget);
    job->turn_ns = now_ns;
    job->queued = true;
    list_push(&queues->classes[job->priority][job->bucket], job, IN_CLASS);
    list_push(&queues->aged, job, IN_AGE);
    queues->work_ps[job->priority][job->bucket] += job->tokens_left * job->token_ps;
    queues->n_jobs++;
}

void pith_queues_remove(pith_queues *queues, pith_plan_job *job) {
    if (!job->queued) {
        return;
    }
    list_remove(&queues->classes[job->priority][job->bucket], job, IN_CLASS);
    list_remove(&queues->aged, job, IN_AGE);
    queues->work_ps[job->priority][job->bucket] -= job->tokens_left * job->token_ps;
    queues->n_jobs--;
    job->queued = false;
}

/* A step while it is planned. */
typedef struct planner {
    const pith_plan_device *device;
    const pith_plan_limits *limits;
    pith_plan *plan;
    int64_t begin_ns;     /* when the device is predicted to start on it */
    int64_t cut_by_ns;    /* the earliest of the chosen jobs */
    uint32_t budget;      /* tokens */
    uint32_t budget_long; /* of long and aged jobs */
    uint32_t n_aged;      /* the first picks */
    uint32_t looked;
    bool aside;
} planner;

static int64_t ends(const planner *p, uint32_t more) {
    const pith_speed *speed = &p->device->speeds[p->plan->model];
    return p->begin_ns + pith_speed_ns(speed, (uint64_t)p->plan->n_tok + more);
}

/* The first job decides which model the step is for. */
static void set_model(planner *p, uint32_t model) {
    const pith_speed *speed = &p->device->speeds[model];
    uint32_t cap = p->limits->step_tokens;
    p->plan->model = model;
    p->budget = pith_plan_budget(speed, p->limits->step_ns, cap);
    p->budget_long = pith_plan_budget(speed, p->limits->step_ns / 2, cap);
    if (p->aside) {
        p->budget = pith_plan_budget(speed, p->device->aside_ns, p->device->aside_tokens);
        p->budget_long = p->budget;
    }
}

/* The first window of the job that this plan has not yet. */
static uint32_t first_left(const planner *p, const pith_plan_job *job) {
    for (uint32_t i = 0; i < p->n_aged; i++) {
        if (p->plan->picks[i].job == job) {
            return p->plan->picks[i].first + p->plan->picks[i].n;
        }
    }
    return job->next;
}

static bool fits(const planner *p, const pith_plan_job *job, uint32_t n_ids, bool half) {
    uint32_t budget = half ? p->budget_long : p->budget;
    const pith_plan *plan = p->plan;
    int64_t end = ends(p, n_ids);
    if (end > job->cut_by_ns || (p->aside && n_ids > budget)) {
        return false;
    }
    return plan->n_seq == 0 || (n_ids <= budget && plan->n_tok <= budget - n_ids &&
                                end <= p->cut_by_ns && job->model == plan->model);
}

/* Adds up to `most` windows of the job, within half a step if `half`; false when nothing more can
 * be added of any job. */
static bool take(planner *p, pith_plan_job *job, uint32_t most, bool half) {
    pith_plan *plan = p->plan;
    uint32_t first = first_left(p, job);
    uint32_t n = 0;
    if (plan->n_seq == 0) {
        set_model(p, job->model);
    }
    while (n < most && first + n < job->n_windows) {
        uint32_t n_ids = job->windows[first + n].n_ids;
        if (!fits(p, job, n_ids, half)) {
            break;
        }
        plan->n_tok += n_ids;
        plan->n_seq++;
        p->cut_by_ns = job->cut_by_ns < p->cut_by_ns ? job->cut_by_ns : p->cut_by_ns;
        n++;
    }
    if (n > 0) {
        plan->picks[plan->n_picks++] = (pith_pick){.job = job, .first = first, .n = n};
    }
    if (n > 0 && pith_plan_rank(job) < plan->rank) {
        plan->rank = pith_plan_rank(job);
    }
    p->looked++;
    bool full = plan->n_seq > 0 && plan->n_tok + TOKENS_LEAST > p->budget;
    return !full && plan->n_picks < PITH_PLAN_PICKS_MAX && p->looked < LOOK_MAX;
}

/* A turn in the future is one from before the clock was set back. */
static bool is_aged(const planner *p, const pith_plan_job *job, int64_t now_ns) {
    int64_t waited = now_ns - job->turn_ns;
    int64_t own = pith_speed_ns(&p->device->speeds[job->model], job->windows[job->next].n_ids);
    return waited < 0 || (waited >= p->limits->age_ns && waited >= PITH_PLAN_AGE_STEPS * own);
}

static void take_aged(planner *p, const pith_queues *queues, int64_t now_ns) {
    pith_plan_job *job = queues->aged.head;
    bool more = true;
    while (more && job != NULL && p->plan->n_picks < AGED_MAX) {
        if (now_ns - job->turn_ns >= 0 && now_ns - job->turn_ns < p->limits->age_ns) {
            break; /* nor is anyone behind it */
        }
        if (is_aged(p, job, now_ns)) {
            more = take(p, job, 1, true);
        } else {
            more = ++p->looked < LOOK_MAX;
        }
        job = job->after[IN_AGE];
    }
    p->n_aged = p->plan->n_picks;
    p->plan->aged = p->n_aged > 0;
}

/* Jobs not begun, before all that are inside. */
static void take_aside(planner *p, const pith_queues *queues) {
    bool more = true;
    for (uint32_t rank = 0; rank < p->device->rank && more; rank++) {
        pith_priority priority = class_order[rank / PITH_PLAN_BUCKETS];
        pith_plan_job *job = queues->classes[priority][rank % PITH_PLAN_BUCKETS].head;
        for (; more && job != NULL; job = job->after[IN_CLASS]) {
            more = job->next == 0 ? take(p, job, UINT32_MAX, true) : ++p->looked < LOOK_MAX;
        }
    }
}

static void take_by_class(planner *p, const pith_queues *queues) {
    bool more = p->plan->n_seq == 0 || p->plan->n_tok + TOKENS_LEAST <= p->budget;
    for (uint32_t c = 0; c < PITH_PRIORITY_COUNT; c++) {
        for (uint32_t b = 0; b < PITH_PLAN_BUCKETS; b++) {
            pith_plan_job *job = queues->classes[class_order[c]][b].head;
            while (more && job != NULL) {
                more = take(p, job, UINT32_MAX, b > 0);
                job = job->after[IN_CLASS];
            }
        }
    }
}

/* The device that is free first, of those that take a step now. */
static const pith_plan_device *choose_device(const pith_plan_device *devices, uint32_t n_devices,
                                             int64_t now_ns) {
    const pith_plan_device *best = NULL;
    for (uint32_t i = 0; i < n_devices; i++) {
        const pith_plan_device *d = &devices[i];
        bool takes = d->running == 0 || (d->running < d->running_max && d->ahead_ns > 0 &&
                                         d->free_ns - now_ns <= d->ahead_ns);
        if (!d->lost && takes && (best == NULL || d->free_ns < best->free_ns)) {
            best = d;
        }
    }
    return best;
}

/* Of devices that take no further step, the first that may put one in front of the one inside. */
static const pith_plan_device *choose_aside(const pith_plan_device *devices, uint32_t n_devices) {
    for (uint32_t i = 0; i < n_devices; i++) {
        const pith_plan_device *d = &devices[i];
        if (!d->lost && d->running == 1 && d->aside_tokens > 0 && d->aside_ns > 0) {
            return d;
        }
    }
    return NULL;
}

bool pith_plan_step(const pith_queues *queues, const pith_plan_device *devices, uint32_t n_devices,
                    const pith_plan_limits *limits, int64_t now_ns, pith_plan *plan) {
    plan->n_picks = plan->n_seq = plan->n_tok = plan->model = 0;
    plan->aged = false;
    plan->rank = UINT32_MAX;
    const pith_plan_device *device = choose_device(devices, n_devices, now_ns);
    plan->aside = device == NULL;
    device = plan->aside ? choose_aside(devices, n_devices) : device;
    if (device == NULL || queues->n_jobs == 0) {
        return false;
    }
    planner p = {
        .device = device,
        .limits = limits,
        .plan = plan,
        .begin_ns = device->running > 0 && device->free_ns > now_ns && !plan->aside
                        ? device->free_ns
                        : now_ns,
        .aside = plan->aside,
        .cut_by_ns = PITH_DEADLINE_NONE,
    };
    plan->device = (uint32_t)(device - devices);
    if (plan->aside) {
        take_aside(&p, queues);
    } else {
        if (!queues->aged_last) {
            take_aged(&p, queues, now_ns);
        }
        take_by_class(&p, queues);
    }
    plan->ends_ns = ends(&p, 0);
    return plan->n_seq > 0;
}

void pith_queues_take(pith_queues *queues, const pith_plan *plan, int64_t now_ns) {
    queues->aged_last = plan->aside ? queues->aged_last : plan->aged;
    for (uint32_t i = 0; i < plan->n_picks; i++) {
        const pith_pick *pick = &plan->picks[i];
        pith_plan_job *job = pick->job;
        uint64_t tokens = 0;
        for (uint32_t w = 0; w < pick->n; w++) {
            tokens += job->windows[pick->first + w].n_ids;
        }
        job->next += pick->n;
        job->tokens_left -= tokens;
        queues->work_ps[job->priority][job->bucket] -= tokens * job->token_ps;
        job->turn_ns = now_ns;
        if (job->next == job->n_windows) {
            pith_queues_remove(queues, job);
        } else {
            list_remove(&queues->aged, job, IN_AGE);
            list_push(&queues->aged, job, IN_AGE);
        }
    }
}

pith_plan_job *pith_queues_oldest(const pith_queues *queues) {
    return queues->aged.head;
}

pith_plan_job *pith_queues_younger(const pith_plan_job *job) {
    return job->after[IN_AGE];
}

uint64_t pith_plan_before(uint64_t work_ps[PITH_PRIORITY_COUNT][PITH_PLAN_BUCKETS],
                          pith_priority priority, uint32_t bucket) {
    uint64_t sum = 0;
    for (uint32_t c = 0; c < PITH_PRIORITY_COUNT; c++) {
        bool own = class_order[c] == priority;
        for (uint32_t b = 0; b < PITH_PLAN_BUCKETS && (!own || b <= bucket); b++) {
            sum += work_ps[class_order[c]][b];
        }
        if (own) {
            break;
        }
    }
    return sum;
}
