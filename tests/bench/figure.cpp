// The arithmetic of figure.h and the lines that report.py reads.
#include "figure.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>

namespace bench {
namespace {

std::string number(double value) {
    char text[40];
    std::snprintf(text, sizeof text, "%.6g", value);
    return text;
}

/** Figures' words are ours: nothing in them needs escapes. */
std::string quoted(const std::string& text) { return "\"" + text + "\""; }

std::string target_text(const Target& target) {
    if (target.of == Target::Of::nothing) return "null";
    const std::string side = target.at_most ? "<= " : ">= ";
    return quoted((target.of == Target::Of::ratio ? "ratio " : "value ") + side +
                  number(target.limit));
}

}  // namespace

uint64_t now_ns() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

double Samples::quantile(double part) const {
    require(!values_.empty(), "a figure without samples");
    const auto place = static_cast<size_t>(part * static_cast<double>(values_.size() - 1) + 0.5);
    const auto at = values_.begin() + static_cast<std::ptrdiff_t>(place);
    std::nth_element(values_.begin(), at, values_.end());
    return *at;
}

Pair in_turns(size_t rounds, const std::function<double()>& reference,
              const std::function<double()>& ours) {
    Pair pair;
    reference();
    ours();
    for (size_t i = 0; i < rounds; ++i) {
        pair.reference.add(reference());
        pair.ours.add(ours());
    }
    return pair;
}

void Figure::print() const {
    const double ratio = reference ? value / *reference : 0;
    const double held = target.of == Target::Of::ratio ? ratio : value;
    std::string met = "null";
    if (target.of != Target::Of::nothing) {
        met = (target.at_most ? held <= target.limit : held >= target.limit) ? "true" : "false";
    }
    std::printf(
        "{\"name\": %s, \"value\": %s, \"unit\": %s, \"reference\": %s, \"ratio\": %s, \"target\": "
        "%s, "
        "\"met\": %s, \"low\": %s, \"high\": %s, \"against\": %s}\n",
        quoted(name).c_str(), number(value).c_str(), quoted(unit).c_str(),
        reference ? number(*reference).c_str() : "null", reference ? number(ratio).c_str() : "null",
        target_text(target).c_str(), met.c_str(), number(low).c_str(), number(high).c_str(),
        quoted(against).c_str());
    std::fflush(stdout);
}

Figure Figure::as_rate(size_t bytes) const {
    Figure out = *this;
    const auto amount = static_cast<double>(bytes);
    out.unit = "GB/s";
    out.value = amount / value;
    if (reference) out.reference = amount / *reference;
    out.low = amount / high;
    out.high = amount / low;
    return out;
}

Figure Figure::as_microseconds() const {
    Figure out = *this;
    out.unit = "us";
    for (double* time : {&out.value, &out.low, &out.high}) *time /= 1000;
    if (out.reference) *out.reference /= 1000;
    return out;
}

Figure figure_of(const std::string& name, const std::string& unit, const Pair& pair,
                 const Target& target, const std::string& against) {
    return {name,   unit,    pair.ours.median(),      pair.reference.median(),
            target, against, pair.ours.quantile(0.1), pair.ours.quantile(0.9)};
}

void require(bool ok, const std::string& words) {
    if (ok) return;
    std::fprintf(stderr, "bench: %s\n", words.c_str());
    std::exit(1);
}

}  // namespace bench
