/** The bodies of print.h. An object inside an object is one line; a field whose name ends in
 * `bytes` is said in binary units, its exact number beside it. */
#include "print.h"

#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>

#include "json.h"

namespace weft::cli {
namespace {

constexpr size_t kColumnsMax = 8;

bool ends_with(const std::string& text, const std::string& end) {
    return text.size() >= end.size() &&
           text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool in_bytes(const std::string& name) {
    return ends_with(name, "bytes") || name == "memory" || name == "memory_used" || name == "quota";
}

std::string value_text(const std::string& name, const Json& value) {
    if (value.is_null()) return "-";
    if (value.is_string()) return value.get<std::string>();
    if (value.is_boolean()) return value.get<bool>() ? "yes" : "no";
    if (value.is_number_unsigned() && in_bytes(name)) {
        const auto bytes = value.get<uint64_t>();
        return bytes < 1024 ? std::to_string(bytes) : bytes_text(bytes) + " (" + value.dump() + ")";
    }
    if (value.is_array()) {
        std::string text;
        for (const Json& each : value) text += (text.empty() ? "" : ", ") + value_text(name, each);
        return text.empty() ? "none" : text;
    }
    if (value.is_object()) {
        std::string text;
        for (const auto& [key, each] : value.items())
            if (each != "") text += (text.empty() ? "" : ", ") + key + "=" + value_text("", each);
        return text;
    }
    return value.dump();
}

bool is_rows(const Json& value) {
    return value.is_array() && !value.empty() &&
           std::all_of(value.begin(), value.end(), [](const Json& row) { return row.is_object(); });
}

std::string cells_text(const Json& array) {
    std::vector<std::string> names;
    for (const char* first : {"name", "key"})  // what a row is about
        if (array[0].contains(first)) names.emplace_back(first);
    for (const Json& row : array)
        for (const auto& [name, value] : row.items())
            if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    std::vector<std::vector<std::string>> rows{names};
    for (const Json& row : array) {
        std::vector<std::string> cells;
        for (const std::string& name : names)
            cells.push_back(row.contains(name) ? value_text(name, row[name]) : "-");
        rows.push_back(std::move(cells));
    }
    return table_text(rows);
}

std::string indented(const std::string& lines, const std::string& indent) {
    std::string text;
    for (size_t from = 0; from < lines.size();) {
        const size_t end = lines.find('\n', from);
        text += indent + lines.substr(from, end - from) + "\n";
        from = end == std::string::npos ? lines.size() : end + 1;
    }
    return text;
}

std::string answer_text(const Json& answer);

/** A table, or where that would be too wide to read, one row after the other under its name. */
std::string rows_text(const Json& array) {
    if (std::all_of(array.begin(), array.end(),
                    [](const Json& row) { return row.size() <= kColumnsMax; }))
        return cells_text(array);
    std::string text;
    for (Json row : array) {
        if (row.contains("name")) {
            text += row["name"].get<std::string>() + "\n";
            row.erase("name");
        }
        text += indented(answer_text(row), "  ");
    }
    return text;
}

std::string answer_text(const Json& answer) {
    if (is_rows(answer)) return rows_text(answer);
    if (!answer.is_object()) return value_text("", answer) + "\n";
    size_t width = 0;
    for (const auto& [name, value] : answer.items())
        if (!is_rows(value)) width = std::max(width, name.size());
    std::string text;
    for (const auto& [name, value] : answer.items()) {
        if (is_rows(value))
            text += name + "\n" + indented(rows_text(value), "  ");
        else
            text +=
                name + std::string(width - name.size() + 2, ' ') + value_text(name, value) + "\n";
    }
    return text;
}

void print_text(const std::string& text) {
    std::fwrite(text.data(), 1, text.size(), stdout);
    std::fflush(stdout);
}

int64_t now_ms() {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1000000;
}

}  // namespace

Json rows_of(const Json& answer, const std::string& name) {
    if (answer.is_array()) return answer;
    return answer.is_object() && answer.contains(name) ? answer[name] : Json::array();
}

std::string bytes_text(uint64_t bytes) {
    static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    auto amount = static_cast<double>(bytes);
    size_t unit = 0;
    for (; amount >= 1024 && unit < 6; unit++) amount /= 1024;
    char text[32];
    std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", amount, kUnits[unit]);
    return text;
}

std::string table_text(const std::vector<std::vector<std::string>>& rows) {
    std::vector<size_t> widths;
    for (const auto& row : rows) {
        widths.resize(std::max(widths.size(), row.size()));
        for (size_t i = 0; i < row.size(); i++) widths[i] = std::max(widths[i], row[i].size());
    }
    std::string text;
    for (const auto& row : rows) {
        for (size_t i = 0; i < row.size(); i++) {
            text += row[i];
            if (i + 1 < row.size()) text += std::string(widths[i] - row[i].size() + 2, ' ');
        }
        text += '\n';
    }
    return text;
}

void print_answer(const Json& answer, bool json) {
    print_text(json ? answer.dump(2) + "\n" : answer_text(answer));
}

void print_json(const std::string& text, bool json) { print_answer(Json::parse(text), json); }

void print_fields(const std::vector<Field>& fields, bool json) {
    Json answer = Json::object();
    for (const auto& [name, value] : fields)
        std::visit([&answer, key = name](const auto& held) { answer[key] = held; }, value);
    if (json)
        print_text(answer.dump() + "\n");
    else
        print_answer(answer, false);
}

Progress::Progress(std::string what, uint64_t total, bool counts)
    : what_(std::move(what)), total_(total), counts_(counts), shown_(isatty(STDERR_FILENO) == 1) {}

void Progress::at(uint64_t done) {
    if (!shown_ || total_ == 0) return;
    const int64_t now = now_ms();
    if (now - last_ms_ < 100) return;
    last_ms_ = now;
    const std::string amount = counts_ ? std::to_string(done) + " of " + std::to_string(total_)
                                       : bytes_text(done) + " of " + bytes_text(total_);
    std::fprintf(stderr, "\r%s  %3.0f %%  %s\033[K", what_.c_str(),
                 100.0 * static_cast<double>(done) / static_cast<double>(total_), amount.c_str());
}

Progress::~Progress() {
    if (shown_ && last_ms_ != 0) std::fputs("\r\033[K", stderr);
}

}  // namespace weft::cli
