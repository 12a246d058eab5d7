// What is stored once with a namespace and checked at every open: the layout of its blocks and its
// settings.
//
// Invariants: it never changes after creation; every field that an opener gives equals the stored
// one, or the open fails and names both values.
#pragma once
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/base/options.h"
#include "core/policy/order.h"

namespace weft {

constexpr uint64_t kPartAlignment = 64;
constexpr uint64_t kSmallestSlot = 256;
constexpr uint64_t kLargestClass = uint64_t{64} << 20;
constexpr uint32_t kPartsMax = 1024;
// Bytes of the words of an opening: a writer's name is kept with each of its attempts, the others
// with the namespace, on disk too.
constexpr uint32_t kWriterMost = 200;
constexpr uint32_t kModelMost = 1024;  // and of dtype=
constexpr uint32_t kLayoutMost = 4096;

struct NamespaceConfig {
    std::string model;
    std::string dtype;
    std::string layout;
    uint32_t parts = 1;
    std::vector<uint64_t> part_bytes = {0};  // one a part; {0}: one part of any size
    uint32_t block_tokens = 0;
    uint32_t layers = 0;
    uint64_t quota = 0;  // bytes of slots; 0: the node's memory
    PolicyChoice policy;
    uint32_t ttl_s = 0;  // 0: no expiry
    uint32_t pin_s = 60;
    uint32_t write_s = 30;

    bool any_size() const { return part_bytes[0] == 0; }
    uint64_t bytes_of(uint32_t part, uint64_t block_bytes) const {
        return any_size() ? block_bytes : part_bytes[part];
    }
    /** Where a part begins in its slot. */
    uint64_t offset_of(uint32_t part) const;
    /** Bytes of a whole block, all parts aligned; 0 with any size. */
    uint64_t block_bytes() const;
};

/** What an opener said, before it is known whether the namespace exists. */
struct NamespaceRequest {
    NamespaceConfig config;
    std::vector<std::string> given;  // names of the fields that were said
    uint64_t version = 0;
    bool version_given = false;
    bool create = true;  // where there is none of the name
    std::string writer;
};

/** "tenant/model": two or more non-empty names of letters, digits and ._-+@: , at most 200 bytes.
 */
Status check_name(const std::string& name);
Result<NamespaceRequest> parse_namespace_options(const char* text);
/** WEFT_EINVAL naming the field and both values, where a given field differs from the stored one.
 */
Status check_agreement(const std::string& name, const NamespaceRequest& request,
                       const NamespaceConfig& stored);
nlohmann::json to_json(const NamespaceConfig& config);
Result<NamespaceConfig> config_from_json(const nlohmann::json& json);
/** The option text that creates it again. */
std::string to_options(const NamespaceConfig& config);

/** The slot size that holds `bytes`: four classes a doubling from 256 B to 64 MiB, above it whole 2
 * MiB. */
uint64_t slot_bytes_for(uint64_t bytes);

}  // namespace weft
