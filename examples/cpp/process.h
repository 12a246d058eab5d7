/**
 * What the examples need beside Weft: this program once more as a second process, and a check that
 * ends the example where something is not as it says. A store does not cross fork, so the second
 * process is started with exec, as engines' workers are; what it prints, the first one reads.
 */
#pragma once
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

extern char** environ;

inline void expect(bool holds, const std::string& what) {
    if (!holds) throw std::runtime_error("not as expected: " + what);
}

/** "unix:PATH", the path new to this process. */
inline std::string new_address() {
    const char* folder = std::getenv("TMPDIR");
    return std::string("unix:") + (folder == nullptr ? "/tmp" : folder) + "/weft-example-" +
           std::to_string(getpid()) + ".sock";
}

/** This program again, with these arguments. */
class Process {
  public:
    explicit Process(std::vector<std::string> arguments) {
        int ends[2];
        expect(pipe(ends) == 0, "a pipe");
        std::vector<char*> argv{const_cast<char*>("example")};
        for (std::string& argument : arguments) argv.push_back(argument.data());
        argv.push_back(nullptr);
        posix_spawn_file_actions_t files;
        posix_spawn_file_actions_init(&files);
        posix_spawn_file_actions_adddup2(&files, ends[1], STDOUT_FILENO);
        posix_spawn_file_actions_addclose(&files, ends[0]);
        posix_spawn_file_actions_addclose(&files, ends[1]);
        const int failed =
            posix_spawn(&pid_, "/proc/self/exe", &files, nullptr, argv.data(), environ);
        posix_spawn_file_actions_destroy(&files);
        close(ends[1]);
        output_ = fdopen(ends[0], "r");
        expect(failed == 0, "a second process");
    }
    Process(const Process&) = delete;
    Process& operator=(const Process&) = delete;
    ~Process() {
        if (output_ != nullptr) std::fclose(output_);
        if (pid_ > 0) waitpid(pid_, nullptr, 0);
    }

    /** The next line it prints, which is printed here too; "" when there are no more. */
    std::string line() {
        char text[256];
        if (std::fgets(text, sizeof text, output_) == nullptr) return "";
        std::printf("  %d: %s", pid_, text);
        return text;
    }
    /** Prints the rest, and throws if it did not end well. */
    void finish() {
        while (!line().empty()) {
        }
        int status = -1;
        waitpid(std::exchange(pid_, 0), &status, 0);
        expect(status == 0, "the second process ends with status 0");
    }

  private:
    pid_t pid_ = 0;
    std::FILE* output_ = nullptr;
};
