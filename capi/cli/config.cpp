/**
 * The bodies of config.h. Text is split as the library splits it, so that a value that is quoted
 * for it is one value here too; only comments are this file's own.
 */
#include "config.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>

#include "command.h"
#include "json.h"

namespace weft::cli {
namespace {

std::string trimmed(const std::string& text) {
    const size_t from = text.find_first_not_of(" \t\r");
    if (from == std::string::npos) return "";
    return text.substr(from, text.find_last_not_of(" \t\r") - from + 1);
}

void add_written(Options& options, const std::string& written, const std::string& where) {
    const std::string text = trimmed(written);
    if (text.empty() || text[0] == '#') return;
    const size_t equals = text.find('=');
    if (equals == 0 || equals == std::string::npos)
        throw Failure(kUsage, where + ": expected key=value, found \"" + text + "\"");
    options.emplace_back(trimmed(text.substr(0, equals)), trimmed(text.substr(equals + 1)));
}

}  // namespace

std::string option(const std::string& key, const std::string& value) {
    if (value.find_first_of(",\n\"") == std::string::npos) return key + "=" + value;
    return key + "=" + Json(value).dump();
}

Options split_options(const std::string& text, const std::string& where) {
    Options options;
    std::string written;
    bool quoted = false;
    for (size_t i = 0; i <= text.size(); i++) {
        const char c = i < text.size() ? text[i] : '\n';
        // A comment may have commas and quotes in it: it ends with its line alone.
        const bool comment = trimmed(written).rfind('#', 0) == 0;
        if (c == '\n' || (c == ',' && !quoted && !comment)) {
            add_written(options, written, where);
            written.clear();
            quoted = false;
            continue;
        }
        written += c;
        if (quoted && c == '\\' && i + 1 < text.size()) written += text[++i];
        if (c == '"' && !comment) quoted = !quoted;
    }
    return options;
}

Options read_options(const std::string& path) {
    std::ifstream file(path);
    std::ostringstream text;
    text << file.rdbuf();
    if (!file) throw Failure(kUsage, "--config " + path + ": " + std::strerror(errno));
    return split_options(text.str(), path);
}

void set_option(Options& options, const std::string& key, const std::string& written_value) {
    options.erase(std::remove_if(options.begin(), options.end(),
                                 [&](const auto& option) { return option.first == key; }),
                  options.end());
    options.emplace_back(key, written_value);
}

std::string options_text(const Options& options) {
    std::string text;
    for (const auto& [key, value] : options)
        text.append(key).append("=").append(value).append("\n");
    return text;
}

std::string option_value(const Options& options, const std::string& key) {
    for (const auto& [name, value] : options) {
        if (name != key) continue;
        if (value.empty() || value[0] != '"') return value;
        const Json text = Json::parse(value, nullptr, false);
        return text.is_string() ? text.get<std::string>() : value;
    }
    return "";
}

}  // namespace weft::cli
