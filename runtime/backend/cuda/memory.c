/* Memory, copies, failures and the ends of steps. */
#include "runtime/backend/cuda/context.h"

#include <string.h>

static pith_status status_of(int code) {
    if (code == PITH_CU_NO_MEMORY) {
        return PITH_EXHAUSTED;
    }
    return pith_cu_is_sticky(code) ? PITH_UNAVAILABLE : PITH_INTERNAL;
}

/* The failure of a call as text; the device's death is noted for all calls to come. */
static void describe(pith_ops_ctx *ctx, int code, const char *what, pith_err *err) {
    if (!pith_cu_is_sticky(code)) {
        (void)pith_fail(err, status_of(code), "%s: %.60s: %s (error %d)", ctx->device_name, what,
                        pith_cu_text(code), code);
        return;
    }
    (void)pthread_mutex_lock(&ctx->lock);
    if (ctx->dead.status == PITH_OK) {
        (void)pith_fail(&ctx->dead, PITH_UNAVAILABLE, "%s is lost: %s (error %d)", ctx->device_name,
                        pith_cu_text(code), code);
    }
    *err = ctx->dead;
    (void)pthread_mutex_unlock(&ctx->lock);
}

void cuda_note(pith_ops_ctx *ctx, int code, const char *what) {
    pith_err *failed = ctx->in_step ? &ctx->slots[ctx->slot].failed : &ctx->failed;
    if (failed->status == PITH_OK) {
        describe(ctx, code, what, failed);
    }
}

/* The failure that a call reports, once, unless the device is lost. */
static pith_status report(pith_ops_ctx *ctx, pith_err *failed, pith_err *err) {
    pith_err found = *failed;
    *failed = (pith_err){0};
    (void)pthread_mutex_lock(&ctx->lock);
    if (ctx->dead.status != PITH_OK) {
        found = ctx->dead;
    }
    (void)pthread_mutex_unlock(&ctx->lock);
    if (found.status != PITH_OK && err != NULL) {
        *err = found;
    }
    return found.status;
}

static pith_status out_of_memory(pith_ops_ctx *ctx, size_t bytes, pith_err *err) {
    size_t free_bytes = 0;
    size_t total = 0;
    CUDA_DO(ctx, pith_cu_memory(&free_bytes, &total));
    return pith_fail(err, PITH_NO_MEMORY, "%s: %zu bytes needed, %zu of %zu free", ctx->device_name,
                     bytes, free_bytes, total);
}

pith_status cuda_alloc(pith_ops_ctx *ctx, size_t bytes, void **mem, pith_err *err) {
    *mem = NULL;
    int code = pith_cu_use(ctx->ordinal);
    if (code == PITH_CU_OK) {
        code = pith_cu_malloc(ctx->compute, bytes > 0 ? bytes : 1, mem);
    }
    if (code == PITH_CU_NO_MEMORY) {
        return out_of_memory(ctx, bytes, err);
    }
    if (code != PITH_CU_OK) {
        cuda_note(ctx, code, "allocation");
        return report(ctx, &ctx->failed, err);
    }
    return PITH_OK;
}

void cuda_free(pith_ops_ctx *ctx, void *mem) {
    if (mem != NULL) {
        CUDA_DO(ctx, pith_cu_use(ctx->ordinal));
        CUDA_DO(ctx, pith_cu_free(ctx->compute, mem));
    }
}

void cuda_copy_in(pith_ops_ctx *ctx, void *mem, const void *host, size_t bytes) {
    CUDA_DO(ctx, pith_cu_use(ctx->ordinal));
    CUDA_DO(ctx, pith_cu_copy_in(ctx->compute, mem, host, bytes));
}

/* Through the slot's page-locked memory where it has room, and to the host when the step is waited
 * for; else straight to the host, which must stay as it is until then. */
void cuda_copy_out(pith_ops_ctx *ctx, void *host, const void *mem, size_t bytes) {
    cuda_slot *slot = &ctx->slots[ctx->slot];
    CUDA_DO(ctx, pith_cu_use(ctx->ordinal));
    if (slot->host_out == NULL || slot->n_deliveries == CUDA_DELIVERIES ||
        bytes > ctx->out_bytes - slot->out_used) {
        CUDA_DO(ctx, pith_cu_copy_out(ctx->compute, host, mem, bytes));
        return;
    }
    CUDA_DO(ctx, pith_cu_copy_out(ctx->compute, slot->host_out + slot->out_used, mem, bytes));
    slot->deliveries[slot->n_deliveries++] = (cuda_delivery){host, slot->out_used, bytes};
    slot->out_used += bytes;
}

static void deliver(cuda_slot *slot, bool good) {
    for (uint32_t i = 0; good && i < slot->n_deliveries; i++) {
        const cuda_delivery *d = &slot->deliveries[i];
        memcpy(d->host, slot->host_out + d->offset, d->bytes);
    }
    slot->n_deliveries = 0;
    slot->out_used = 0;
}

uint64_t cuda_mark(pith_ops_ctx *ctx) {
    cuda_slot *slot = &ctx->slots[ctx->slot];
    CUDA_DO(ctx, pith_cu_copy_out(ctx->compute, slot->host_out + ctx->out_bytes, ctx->saturated,
                                  sizeof *ctx->saturated));
    CUDA_DO(ctx, pith_cu_event_record(slot->done, ctx->compute));
    ctx->in_step = false;
    return ctx->tickets;
}

/* Touches the ticket's slot and, under the lock, `dead`: another thread may be enqueuing. */
pith_status cuda_wait(pith_ops_ctx *ctx, uint64_t ticket, pith_err *err) {
    cuda_slot *slot = &ctx->slots[ticket % CUDA_SLOTS];
    int code = pith_cu_use(ctx->ordinal);
    if (code == PITH_CU_OK) {
        code = pith_cu_event_sync(slot->done);
    }
    if (code != PITH_CU_OK && slot->failed.status == PITH_OK) {
        describe(ctx, code, "step", &slot->failed);
    }
    pith_status status = report(ctx, &slot->failed, err);
    if (status == PITH_OK) {
        uint32_t saturated;
        memcpy(&saturated, slot->host_out + ctx->out_bytes, sizeof saturated);
        (void)atomic_fetch_add(&ctx->n_saturated, saturated - ctx->saturated_seen);
        ctx->saturated_seen = saturated;
    }
    deliver(slot, status == PITH_OK);
    return status;
}

pith_status cuda_sync(pith_ops_ctx *ctx, pith_err *err) {
    ctx->in_step = false;
    CUDA_DO(ctx, pith_cu_use(ctx->ordinal));
    CUDA_DO(ctx, pith_cu_stream_sync(ctx->upload));
    CUDA_DO(ctx, pith_cu_stream_sync(ctx->compute));
    pith_status status = PITH_OK;
    for (uint32_t i = 0; i < CUDA_SLOTS; i++) {
        cuda_slot *slot = &ctx->slots[(ctx->slot + 1 + i) % CUDA_SLOTS]; /* oldest first */
        pith_status one = report(ctx, &slot->failed, status == PITH_OK ? err : NULL);
        status = status == PITH_OK ? one : status;
        deliver(slot, one == PITH_OK);
    }
    pith_status rest = report(ctx, &ctx->failed, status == PITH_OK ? err : NULL);
    return status == PITH_OK ? rest : status;
}
