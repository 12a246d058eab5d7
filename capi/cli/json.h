/**
 * JSON inside the command. Apart from print.h because the library behind it costs seconds to
 * compile: only files that build or take apart answers include this one.
 */
#pragma once
#include <nlohmann/json.hpp>
#include <string>

namespace weft::cli {

/** Keeps the order in which fields were written. */
using Json = nlohmann::ordered_json;

/** The array under `name`, or the answer itself where it is one. */
Json rows_of(const Json& answer, const std::string& name);

/** As print_json, of an answer made here. */
void print_answer(const Json& answer, bool json);

}  // namespace weft::cli
