// Figures: what is timed, how samples become a figure, and the line that a program prints for it.
//
// Invariants: a figure and its reference are measured in turns (reference, ours, reference, ours,
// ...) in one run and compared as medians; the first turn of each warms and is thrown away; a
// figure whose ops failed is never printed.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace bench {

/** CLOCK_MONOTONIC in ns. */
uint64_t now_ns();

/** Samples of one thing. A value. */
class Samples {
  public:
    void add(double value) { values_.push_back(value); }
    /** The value below which `part` of the samples lie; 0.5 is the median. */
    double quantile(double part) const;
    double median() const { return quantile(0.5); }
    size_t count() const { return values_.size(); }

  private:
    mutable std::vector<double> values_;
};

struct Pair {
    Samples ours;
    Samples reference;
};

/** Runs both in turns, `rounds` times after one turn that warms; each returns its own sample. */
Pair in_turns(size_t rounds, const std::function<double()>& reference,
              const std::function<double()>& ours);

/** The limit that a figure is held to. */
struct Target {
    enum class Of { nothing, ratio, value } of = Of::nothing;
    bool at_most = true;
    double limit = 0;

    static Target none() { return {}; }
    static Target ratio_at_most(double limit) { return {Of::ratio, true, limit}; }
    static Target ratio_at_least(double limit) { return {Of::ratio, false, limit}; }
    static Target value_at_most(double limit) { return {Of::value, true, limit}; }
};

/**
 * One row: `value` and `reference` in `unit`, their ratio, and whether the target is met. Printed
 * on standard output as a JSON object, with the spread (the 10th and 90th percentile of ours) and
 * what the reference is, for report.py.
 */
struct Figure {
    std::string name;
    std::string unit;
    double value = 0;
    std::optional<double> reference;
    Target target;
    std::string against;  // what the reference is, or a remark
    double low = 0;
    double high = 0;

    void print() const;
    /** The same figure, of ns in which `bytes` were moved, as GB/s (10^9 bytes a second). */
    Figure as_rate(size_t bytes) const;
    /** The same figure, of ns, in us. */
    Figure as_microseconds() const;
};

/** The figure of a pair: medians, times `scale`. */
Figure figure_of(const std::string& name, const std::string& unit, const Pair& pair,
                 const Target& target, const std::string& against);

/** Ends the program with status 1 and these words where `ok` is false: a wrong byte or a failed op
 * is no figure. */
void require(bool ok, const std::string& words);

}  // namespace bench
