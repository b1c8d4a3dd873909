/* Replays files through a fuzz target built without libFuzzer: every argument is a file, or a
 * folder whose files are all replayed. Exits 1 when there was nothing to replay. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILE_BYTES_MAX = 16 * 1024 * 1024, PATH_BYTES = 4096 };

static int replay_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        (void)fprintf(stderr, "%s: cannot open\n", path);
        return 0;
    }
    uint8_t *data = malloc(FILE_BYTES_MAX);
    size_t len = data == NULL ? 0 : fread(data, 1, FILE_BYTES_MAX, file);
    (void)fclose(file);
    /* An exact-size copy, so that a read past the end is seen by the sanitizer. */
    uint8_t *exact = malloc(len == 0 ? 1 : len);
    for (size_t i = 0; i < len && exact != NULL; i++) {
        exact[i] = data[i];
    }
    free(data);
    if (exact != NULL) {
        (void)LLVMFuzzerTestOneInput(exact, len);
    }
    free(exact);
    return 1;
}

static int replay_folder(const char *path, DIR *folder) {
    int count = 0;
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        char name[PATH_BYTES];
        if (entry->d_name[0] == '.') {
            continue;
        }
        int len = snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (len > 0 && len < PATH_BYTES) {
            count += replay_file(name);
        }
    }
    return count;
}

int main(int argc, char **argv) {
    int count = 0;
    for (int i = 1; i < argc; i++) {
        DIR *folder = opendir(argv[i]);
        if (folder == NULL) {
            count += replay_file(argv[i]);
        } else {
            count += replay_folder(argv[i], folder);
            (void)closedir(folder);
        }
    }
    (void)printf("replayed %d inputs\n", count);
    return count > 0 ? 0 : 1;
}
