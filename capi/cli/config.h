/**
 * Option text from a file and from the command line, made one. The file has the library's own
 * option text, with lines that begin with # left out; an option of the command line takes the place
 * of the file's of the same key. What the keys mean, only the library knows.
 */
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace weft::cli {

/** Keys and values as they are written, a JSON string still quoted. */
using Options = std::vector<std::pair<std::string, std::string>>;

/** One option as the library reads it, its value quoted where it must be. */
std::string option(const std::string& key, const std::string& value);
/** Splits option text; throws a Failure (kUsage) that names `where` and the text that is no
 * key=value. */
Options split_options(const std::string& text, const std::string& where);
/** Reads a file of option text; throws a Failure (kUsage) if it cannot be read. */
Options read_options(const std::string& path);
/** Sets an option in the place of those with its key. */
void set_option(Options& options, const std::string& key, const std::string& written_value);
/** The text that weft_open takes. */
std::string options_text(const Options& options);
/** The value of a key, unquoted; empty where there is none. */
std::string option_value(const Options& options, const std::string& key);

}  // namespace weft::cli
