/**
 * How results look: JSON for programs, aligned words for people, and a progress line for whoever
 * waits at a terminal. Invariant: nothing here is written to stderr unless stderr is a terminal.
 */
#pragma once
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace weft::cli {

/** Keeps the order in which fields were written. */
using Json = nlohmann::ordered_json;

/** The array under `name`, or the answer itself where it is one. */
Json rows_of(const Json& answer, const std::string& name);

/** "1.5 MiB" for bytes. */
std::string bytes_text(uint64_t bytes);

/** Prints an answer to stdout: as JSON, else fields as aligned lines and arrays of objects as
 * tables. */
void print_answer(const Json& answer, bool json);

/** Lines of columns, each as wide as its widest cell; the first row is the heading. */
std::string table_text(const std::vector<std::vector<std::string>>& rows);

/** "reading  41 %  1.2 of 3.0 GiB" on stderr, redrawn at most ten times a second, gone at its end.
 */
class Progress {
  public:
    /** total: in bytes; with `counts` in things. */
    Progress(std::string what, uint64_t total, bool counts = false);
    ~Progress();
    Progress(const Progress&) = delete;
    Progress& operator=(const Progress&) = delete;
    void at(uint64_t done);

  private:
    std::string what_;
    uint64_t total_;
    bool counts_;
    bool shown_;
    int64_t last_ms_ = 0;
};

}  // namespace weft::cli
