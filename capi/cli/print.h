/**
 * How results look: JSON for programs, aligned words for people, and a progress line for whoever
 * waits at a terminal. Invariant: nothing here is written to stderr unless stderr is a terminal.
 */
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace weft::cli {

/** "1.5 MiB" for bytes. */
std::string bytes_text(uint64_t bytes);

/** A flat answer: names and values, in this order; as JSON one line, so that a stream has one
 * object a line. */
using Field = std::pair<const char*, std::variant<std::string, uint64_t, bool>>;
void print_fields(const std::vector<Field>& fields, bool json);

/** Prints JSON text to stdout: as it is, else fields as aligned lines and arrays of objects as
 * tables. */
void print_json(const std::string& text, bool json);

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
