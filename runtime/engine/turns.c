#include "runtime/engine/turns.h"

void pith_turns_init(pith_turns *turns, uint32_t n) {
    (void)pthread_mutex_init(&turns->mutex, NULL);
    (void)pthread_cond_init(&turns->changed, NULL);
    turns->asked = 0;
    turns->until = n;
}

void pith_turns_reset(pith_turns *turns) {
    (void)pthread_cond_destroy(&turns->changed);
    (void)pthread_mutex_destroy(&turns->mutex);
}

static void wait_turn(pith_turns *turns) {
    uint64_t ticket = turns->asked++;
    while (ticket >= turns->until) {
        (void)pthread_cond_wait(&turns->changed, &turns->mutex);
    }
}

void pith_turns_take(pith_turns *turns) {
    (void)pthread_mutex_lock(&turns->mutex);
    wait_turn(turns);
    (void)pthread_mutex_unlock(&turns->mutex);
}

void pith_turns_give(pith_turns *turns) {
    (void)pthread_mutex_lock(&turns->mutex);
    turns->until++;
    (void)pthread_cond_broadcast(&turns->changed);
    (void)pthread_mutex_unlock(&turns->mutex);
}

void pith_turns_pass(pith_turns *turns) {
    (void)pthread_mutex_lock(&turns->mutex);
    if (turns->asked > turns->until) {
        turns->until++;
        (void)pthread_cond_broadcast(&turns->changed);
        wait_turn(turns);
    }
    (void)pthread_mutex_unlock(&turns->mutex);
}
