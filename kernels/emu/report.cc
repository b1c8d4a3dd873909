/* Errors: a text that names the thread and the lines, and the way out of a fiber. */
#include "kernels/emu/state.hpp"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

namespace emu {

std::string last_error;

void note_error(const std::string &text) {
    if (last_error.empty()) {
        last_error = text;
    }
}

static std::string running_thread() {
    char text[200];
    const uint3 &b = own_cta().index, &t = self->index;
    snprintf(text, sizeof text, "%s block (%u,%u,%u) thread (%u,%u,%u): ", shape.name, b.x, b.y,
             b.z, t.x, t.y, t.z);
    return text;
}

void fail(const char *format, ...) {
    char text[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (self == nullptr) { /* a test called a device function on the host */
        fprintf(stderr, "emulator, outside a kernel: %s\n", text);
        abort();
    }
    note_error(running_thread() + text);
    aborting = true;
    fiber_switch(self, nullptr);
    abort(); /* an aborted fiber is never resumed */
}

static std::string base_name(const std::string &path) {
    return path.substr(path.rfind('/') + 1);
}

std::string text_of(Site site) {
    return base_name(site.file) + ":" + std::to_string(site.line);
}

/* What addr2line prints for one address of one object: the line of the innermost inline function
 * first, then those it stands in. */
static std::string addr2line(const char *object, uintptr_t offset) {
    char address[32];
    snprintf(address, sizeof address, "0x%zx", size_t(offset));
    const char *const words[] = {"addr2line", "-i", "-e", object, address, nullptr};
    int ends[2];
    if (pipe(ends) != 0) {
        return "";
    }
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, ends[0]);
    pid_t child;
    int failed =
        posix_spawnp(&child, words[0], &actions, nullptr, const_cast<char **>(words), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    std::string output;
    char chunk[512];
    for (ssize_t got; !failed && (got = read(ends[0], chunk, sizeof chunk)) > 0;) {
        output.append(chunk, size_t(got));
    }
    close(ends[0]);
    if (!failed) {
        waitpid(child, nullptr, 0);
    }
    return output;
}

std::string line_of(const void *pc) {
    Dl_info info;
    if (pc == nullptr || dladdr(pc, &info) == 0) {
        return "?";
    }
    uintptr_t offset = uintptr_t(pc) - 1 - uintptr_t(info.dli_fbase);
    std::string lines = addr2line(info.dli_fname, offset), text;
    for (size_t at = 0, end; (end = lines.find('\n', at)) != std::string::npos; at = end + 1) {
        std::string line = lines.substr(at, lines.find_first_of(" \n", at) - at);
        text += (text.empty() ? "" : " < ") + base_name(line); /* without "(discriminator 1)" */
    }
    return text.empty() ? "?" : text;
}

} // namespace emu
