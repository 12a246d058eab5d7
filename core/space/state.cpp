// What outlives a node (state=): namespaces with their layouts and floors. A floor is read back as
// it was written or the file is refused: a lower one would let old blocks in again.
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "capi/weft.h"
#include "core/cache.h"

namespace weft {

using nlohmann::json;

namespace {

/** No number but a whole one is a floor: the library would round, or wrap, any other. */
uint64_t floor_in(const json& kept) {
    if (!kept.is_number_unsigned())
        throw std::invalid_argument("a floor is a whole number, not " + kept.dump());
    return kept.get<uint64_t>();
}

/** The library walks over a list, or over null, as it does over a table. */
const json& table_in(const json& kept) {
    if (!kept.is_object()) throw std::invalid_argument("no table: " + kept.dump());
    return kept;
}

}  // namespace

Status Cache::restore(const std::string& text) {
    if (text.empty()) return Nothing{};
    json state = json::parse(text, nullptr, false);
    try {
        if (state.at("format") != 1) throw std::out_of_range("format");
        for (const auto& [name, kept] : table_in(state.at("namespaces")).items()) {
            Status named = check_name(name);
            Result<NamespaceConfig> config = config_from_json(table_in(kept.at("config")));
            if (!named || !config) {
                return Failure{WEFT_ECORRUPT,
                               "state: namespace " + name + ": " +
                                   (named ? config.failure() : named.failure()).message};
            }
            Result<Space*> space = create(name, *config, floor_in(kept.at("floor")));
            if (!space) return space.failure();
        }
        if (state.contains("dropped_floors")) {
            for (const auto& [name, kept] : table_in(state["dropped_floors"]).items())
                dropped_floors_[name] = floor_in(kept);
        }
    } catch (const std::exception& wrong) {
        return Failure{WEFT_ECORRUPT, std::string("state: the file is not one of Weft's, or of a "
                                                  "newer Weft: ") +
                                          wrong.what()};
    }
    return Nothing{};
}

Status Cache::persist() {
    if (keeper_ == nullptr) return Nothing{};
    json all = json::object();
    for (const auto& [name, space] : spaces_) {
        all[name] = {{"floor", space->space->floor()}, {"config", to_json(space->space->config())}};
    }
    Status kept = keeper_->save(
        json{{"format", 1}, {"namespaces", all}, {"dropped_floors", dropped_floors_}}.dump(1));
    if (!kept) return kept;
    for (const auto& [name, space] : spaces_) space->floor_kept = space->space->floor();
    return kept;
}

}  // namespace weft
