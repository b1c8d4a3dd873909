/* Running kernels with planted faults: the emulator's own regression tests. Each must be noticed in
 * the builds it names; where two lines are at fault, the race build names both. */
#ifndef PK_TESTS_EMU_NEGATIVE_CUH
#define PK_TESTS_EMU_NEGATIVE_CUH

#include "tests/kernels/emu/harness.cuh"

#include <cstdio>
#include <functional>
#include <sys/wait.h>
#include <unistd.h>

namespace negative {

const uint32_t ALL = 0xffffffffu;

/* FIRST and SECOND stand on the two lines at fault. */
inline int first_line, second_line;
#define FIRST  negative::first_line = __LINE__;
#define SECOND negative::second_line = __LINE__;

/* ---- running one: `body` launches and returns whether nothing was noticed ---- */

struct Case {
    const char *name;
    int modes;  /* builds that must notice */
    bool lines; /* the race build names FIRST and SECOND */
    std::function<bool()> body;
};

inline const Case *current;
inline const char *current_file;

inline bool names(int line) {
    std::string text = std::string(current_file) + ":" + std::to_string(line);
    size_t at = emu::last_error.find(text);
    while (at != std::string::npos) { /* not the start of a longer number */
        char next =
            at + text.size() < emu::last_error.size() ? emu::last_error[at + text.size()] : ' ';
        if (next < '0' || next > '9') {
            return true;
        }
        at = emu::last_error.find(text, at + 1);
    }
    return false;
}

/* A sanitizer ends the process: the child's exit status is the verdict. */
inline bool noticed_in_child(const Case &c) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (freopen("/dev/null", "w", stderr) == nullptr) {
            _exit(1);
        }
        _exit(c.body() ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* In every schedule of the race build, in some of the plain and the sanitizer build. */
inline void noticed() {
    const Case &c = *current;
    int seeds = test::mode() == test::MODE_PLAIN ? 20 : test::mode() == test::MODE_RACE ? 5 : 2;
    int count = 0, both = 0;
    for (int s = 0; s < seeds; s++) {
        test::seed(uint64_t(s));
        bool good = test::mode() == test::MODE_ASAN ? !noticed_in_child(c) : c.body();
        emu::host_sync();
        count += !good;
        both += !good && names(first_line) && names(second_line);
        if (!good && count == 1 && !emu::last_error.empty()) {
            printf("  %s\n", emu::last_error.c_str());
        }
    }
    TEST_CHECK(!c.lines || test::mode() != test::MODE_RACE || both > 0,
               "lines " + std::to_string(first_line) + " and " + std::to_string(second_line) +
                   " not both in: " + emu::last_error);
    TEST_CHECK(count > 0, "not noticed");
    TEST_CHECK(test::mode() != test::MODE_RACE || count == seeds, "not noticed with every seed");
}

struct Buffers {
    test::Buffer<float> x{std::vector<float>(512, 1.5f), "x"}, y{512, "y"}, out{512, "out"};
    test::Buffer<int> ints{std::vector<int>(512, 0), "ints"};
    test::Buffer<unsigned> flag{std::vector<unsigned>(1, 0), "flag"};
    test::Buffer<uint16_t> matrix{1024, "matrix"};
    bool equal(float value) { /* of out[0 .. 32); a NaN is unequal */
        std::vector<float> values = out.download();
        for (int i = 0; i < 32; i++) {
            if (!(values[size_t(i)] == value)) {
                return false;
            }
        }
        return true;
    }
    bool mirrored() {
        std::vector<float> values = out.download();
        for (int i = 0; i < 32; i++) {
            if (!(values[size_t(i)] == float(31 - i))) {
                return false;
            }
        }
        return true;
    }
};

template <class... Params, class... Args>
bool good(void (*kernel)(Params...), unsigned grid, unsigned block, size_t smem, Args... args) {
    return pk::launch(kernel, test::config("kernel", grid, block, smem), args...) == pk::LAUNCH_OK;
}

constexpr int PLAIN = test::MODE_PLAIN, RACE = test::MODE_RACE, ASAN = test::MODE_ASAN;
constexpr int EVERY = PLAIN | RACE | ASAN;

/* The cases that this build must notice, of kernels in `file`. */
inline void run_cases(const std::vector<Case> &cases, const char *file) {
    emu::config.polls_max = 4096; /* several times what the sound kernels here need */
    emu::config.cpu_ms_max = 500;
    for (const Case &c : cases) {
        if (c.modes & test::mode()) {
            current = &c;
            current_file = file;
            test::run(c.name, noticed);
        }
    }
    emu::config = emu::Config();
}

} // namespace negative

#endif
