/**
 * The bodies of command.h. Invariant: every way in which the library can fail ends in one of the
 * documented exit statuses, decided here and nowhere else.
 */
#include "command.h"

#include "config.h"
#include "json.h"

namespace weft::cli {

Store Settings::open() const {
    std::string options = option("connect", connect);
    if (!token_file.empty()) options += "," + option("token_file", token_file);
    return Store(options);
}

bool exists(const Store& store, const std::string& name) {
    for (const Json& row : rows_of(Json::parse(store.query("namespaces")), "namespaces"))
        if (row.is_string() ? row == name : row.value("name", "") == name) return true;
    return false;
}

Namespace open_existing(const Store& store, const std::string& name, const std::string& options) {
    try {
        return Namespace(store, name, options.empty() ? "create=no" : options + ",create=no");
    } catch (const Error& problem) {
        if (problem.code() != WEFT_EMISS) throw;
        throw Failure(kMiss, "there is no namespace " + name + "; weft ls says which there are");
    }
}

Exit status_of(int32_t code) {
    switch (code < 0 ? -code : code) {
        case 0:
            return kOk;
        case WEFT_EINVAL:  // the library judges options and their values
            return kUsage;
        case WEFT_EMISS:
            return kMiss;
        case WEFT_EPEER:
            return kUnreachable;
        case WEFT_EDENIED:
            return kDenied;
        default:
            return kFailed;
    }
}

void require(const Store& store, const weft_event& event, const std::string& what) {
    if (event.status >= 0) return;
    if (event.status == -WEFT_EMISS)
        throw Failure(kMiss, what + ": not there: " + miss_reason(event.detail));
    std::string story = store.story(event);
    const Json answer = Json::parse(story, nullptr, false);
    if (answer.is_object() && answer.contains("message")) story = answer["message"];
    throw Failure(status_of(event.status), what + ": " + story);
}

}  // namespace weft::cli
