/* Plants faults in the emulated devices of a pithd from outside: when the file that the environment
 * variable PITH_EMULATED_FAULT names appears, its three numbers (which call, after how many more of
 * them, which code: runtime/backend/cuda/emulated.h) are read, and the file is removed. */
#include "runtime/backend/cuda/emulated.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LOOK_US = 5000 };

static void *watch(void *arg) {
    const char *path = arg;
    for (;;) {
        int call;
        int code;
        unsigned calls;
        FILE *file = fopen(path, "r");
        if (file != NULL) {
            if (fscanf(file, "%d %u %d", &call, &calls, &code) == 3) {
                pith_emulated_fail((pith_emulated_call)call, calls, code);
            }
            (void)fclose(file);
            (void)unlink(path);
        }
        (void)usleep(LOOK_US);
    }
    return NULL;
}

/* Before main, and without signals, which are main's. */
__attribute__((constructor)) static void begin(void) {
    char *path = getenv("PITH_EMULATED_FAULT");
    pthread_t thread;
    sigset_t all;
    sigset_t before;
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    if (path != NULL && pthread_create(&thread, NULL, watch, path) == 0) {
        (void)pthread_detach(thread);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
}
