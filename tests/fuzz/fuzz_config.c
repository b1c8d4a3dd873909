/* Config files of pithd: a YAML file becomes options, or a refusal in one line. What is accepted
 * can be described, and describing it says every option. */
#include "server/common/options.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int memory_file(const uint8_t *data, size_t size, char path[64]) {
    int fd = memfd_create("config", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) {
        abort();
    }
    (void)snprintf(path, 64, "/proc/self/fd/%d", fd);
    return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char path[64];
    int fd = memory_file(data, size, path);
    char program[] = "pithd";
    char flag[] = "--config";
    char *argv[] = {program, flag, path, NULL};
    pith_options options;
    pith_err err = {0};
    pith_status status = pith_options_read(&options, PITH_CMD_SERVE, 3, argv, &err);
    char line[4096];
    bool sound;
    if (status == PITH_OK) {
        pith_options_describe(&options, PITH_CMD_SERVE, line, sizeof line);
        sound = options.listen != NULL && options.n_models <= PITH_MODEL_OPTIONS_MAX &&
                strlen(line) < sizeof line;
    } else {
        sound = err.text[0] != '\0' && strlen(err.text) < sizeof err.text;
    }
    if (!sound) {
        abort();
    }
    pith_options_free(&options);
    (void)close(fd);
    return 0;
}
