/* Turns: how many threads work on long texts at a time, one after the other in the order of asking.
 * Any thread. */
#ifndef PITH_ENGINE_TURNS_H
#define PITH_ENGINE_TURNS_H

#include <pthread.h>
#include <stdint.h>

typedef struct pith_turns {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint64_t asked; /* tickets given out */
    uint64_t until; /* tickets below this one have their turn, or had it */
} pith_turns;

/* n: threads at a time, at least 1. */
void pith_turns_init(pith_turns *turns, uint32_t n);
void pith_turns_reset(pith_turns *turns);

/* Waits for a turn; gives it back. */
void pith_turns_take(pith_turns *turns);
void pith_turns_give(pith_turns *turns);

/* Gives the turn to the next in line, if there is one, and waits for another. */
void pith_turns_pass(pith_turns *turns);

#endif
