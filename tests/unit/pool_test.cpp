// A pool's description, and the copies between its pages and stored parts, each byte told by where
// it must lie.
#include "core/node/pool.h"

#include <doctest/doctest.h>

#include <cstring>
#include <random>

#include "capi/weft.h"

using namespace weft;

namespace {

constexpr uint64_t kPages = 5, kLayers = 3, kTensors = 2, kHeads = 4, kTokens = 8, kBytes = 24;

/** Memory in which head, token and tensor lie in one of the orders that engines have. */
struct Memory {
    uint64_t page_stride, head_stride, token_stride, tensor_apart;
    std::vector<std::vector<std::byte>> layers{
        kLayers, std::vector<std::byte>(kPages* kTensors* kHeads* kTokens* kBytes)};

    std::byte* at(uint64_t layer, uint64_t tensor, uint64_t page, uint64_t head, uint64_t token) {
        return layers[layer].data() + tensor * tensor_apart + page * page_stride +
               head * head_stride + token * token_stride;
    }
    std::unique_ptr<fabric::Pages> describe() {
        std::string text = "pages=5,tensors=2,heads=4,tokens=8,bytes=24,page_stride=" +
                           std::to_string(page_stride) +
                           ",head_stride=" + std::to_string(head_stride) +
                           ",token_stride=" + std::to_string(token_stride);
        std::vector<uint64_t> bases;
        for (uint64_t layer = 0; layer < kLayers; layer++) {
            for (uint64_t tensor = 0; tensor < kTensors; tensor++)
                bases.push_back(reinterpret_cast<uint64_t>(at(layer, tensor, 0, 0, 0)));
        }
        auto pages = describe_pool(text.c_str(), bases.data(), uint32_t(bases.size()));
        REQUIRE(pages);
        return std::move(*pages);
    }
    /** A page's part as the header says it, byte by byte. */
    std::vector<std::byte> expected(uint64_t page) {
        std::vector<std::byte> part;
        for (uint64_t layer = 0; layer < kLayers; layer++) {
            for (uint64_t head = 0; head < kHeads; head++) {
                for (uint64_t tensor = 0; tensor < kTensors; tensor++) {
                    for (uint64_t token = 0; token < kTokens; token++) {
                        std::byte* from = at(layer, tensor, page, head, token);
                        part.insert(part.end(), from, from + kBytes);
                    }
                }
            }
        }
        return part;
    }
};

constexpr uint64_t kHead = kTokens * kBytes, kToken = kHeads * kBytes;
constexpr uint64_t kPage = kHeads * kTokens * kBytes;

std::vector<Memory> memories() {
    return {
        {kPage, kHead, kBytes, kPages * kPage},           // page, head, token; tensors apart
        {kPage, kBytes, kToken, kPages * kPage},          // page, token, head; tensors apart
        {2 * kPage, kHead, kBytes, kPage},                // keys and values of a page together
        {2 * kPage, 2 * kBytes, 2 * kToken, kBytes},      // keys and values of a head together
        {kHead, kPages * kHead, kBytes, kPages * kPage},  // head, page, token
    };
}

std::string refused(const char* layout, std::vector<uint64_t> bases = {4096, 8192}) {
    auto pages = describe_pool(layout, bases.data(), uint32_t(bases.size()));
    REQUIRE(!pages);
    CHECK(pages.failure().code == WEFT_EINVAL);
    return pages.failure().message;
}

}  // namespace

TEST_CASE("a page is gathered into the one order of parts, whatever the engine's is") {
    std::mt19937_64 random(3);
    for (size_t which = 0; which < 5; which++) {
        Memory memory = memories()[which];
        for (auto& layer : memory.layers) {
            for (std::byte& byte : layer) byte = std::byte(random());
        }
        auto pages = memory.describe();
        REQUIRE(pages->part_bytes() == kLayers * kTensors * kPage);
        CHECK(pages->start_of(1) == kTensors * kPage);
        for (uint64_t page = 0; page < kPages; page++) {
            std::vector<std::byte> part = memory.expected(page);
            for (int round = 0; round < 50; round++) {
                uint64_t start = round == 0 ? 0 : random() % part.size();
                uint64_t size = round == 0 ? part.size() : random() % (part.size() - start) + 1;
                std::vector<std::byte> got(size);
                pages->gather(got.data(), page, start, size);
                CHECK(memcmp(got.data(), part.data() + start, size) == 0);
            }
        }
    }
}

TEST_CASE("a page is gathered and hashed as the part that it becomes") {
    std::mt19937_64 random(5);
    // Runs shorter than a chunk, runs of several chunks, and a last chunk that is not full.
    for (uint64_t bytes : {uint64_t{40'000}, 3 * fabric::kChunkBytes, uint64_t{100'001}}) {
        std::vector<std::byte> memory(4 * bytes);
        for (std::byte& byte : memory) byte = std::byte(random());
        uint64_t bases[] = {reinterpret_cast<uint64_t>(memory.data()),
                            reinterpret_cast<uint64_t>(memory.data() + 2 * bytes)};
        auto pages = describe_pool(("pages=2,bytes=" + std::to_string(bytes)).c_str(), bases, 2);
        REQUIRE(pages);
        std::vector<std::byte> part(2 * bytes), expected(2 * bytes);
        (*pages)->gather(expected.data(), 1, 0, 2 * bytes);
        CHECK((*pages)->gather_and_hash(part.data(), 1, 0, 2 * bytes) ==
              fabric::hash(expected.data(), 2 * bytes, 0));
        CHECK(part == expected);
        uint64_t start = fabric::kChunkBytes;
        if (2 * bytes > start) {
            CHECK((*pages)->gather_and_hash(part.data(), 1, start, 2 * bytes - start) ==
                  fabric::hash(expected.data() + start, 2 * bytes - start, 1));
        }
    }
}

TEST_CASE("scatter writes a page's own bytes and no other") {
    std::mt19937_64 random(4);
    for (size_t which = 0; which < 5; which++) {
        Memory memory = memories()[which];
        auto pages = memory.describe();
        std::vector<std::vector<std::byte>> parts;
        for (uint64_t page = 0; page < kPages; page++) {
            std::vector<std::byte> part(pages->part_bytes());
            for (std::byte& byte : part) byte = std::byte(random());
            // In two pieces that end anywhere.
            uint64_t middle = random() % part.size();
            pages->scatter(part.data(), page, 0, middle);
            pages->scatter(part.data() + middle, page, middle, part.size() - middle);
            parts.push_back(std::move(part));
        }
        for (uint64_t page = 0; page < kPages; page++) CHECK(memory.expected(page) == parts[page]);
    }
}

TEST_CASE("a pool of bytes that nobody looks into, with layers of their own sizes") {
    std::vector<std::byte> small(4 * 16), large(4 * 48);
    for (size_t i = 0; i < small.size(); i++) small[i] = std::byte(i);
    for (size_t i = 0; i < large.size(); i++) large[i] = std::byte(200 - i);
    uint64_t bases[] = {reinterpret_cast<uint64_t>(small.data()),
                        reinterpret_cast<uint64_t>(large.data())};
    auto pages = describe_pool("pages=4,bytes=16/48", bases, 2);
    REQUIRE(pages);
    CHECK((*pages)->part_bytes() == 64);
    std::byte part[64];
    (*pages)->gather(part, 3, 0, 64);
    CHECK(memcmp(part, small.data() + 48, 16) == 0);
    CHECK(memcmp(part + 16, large.data() + 144, 48) == 0);
}

TEST_CASE("a pool that cannot be is refused with the number that is wrong") {
    CHECK(refused("bytes=16").find("pages") != std::string::npos);
    CHECK(refused("pages=4").find("bytes=0") != std::string::npos);
    CHECK(refused("pages=4,bytes=16,tensors=3").find("tensors=3") != std::string::npos);
    CHECK(refused("pages=4,bytes=16,tensors=2", {4096}).find("1 bases") != std::string::npos);
    CHECK(refused("pages=4,bytes=16/16/16").find("3 values for 2 layers") != std::string::npos);
    CHECK(refused("pages=4,bytes=16,page_stride=8").find("page_stride=8") != std::string::npos);
    CHECK(refused("pages=4,bytes=16,tokens=2,token_stride=8").find("token_stride=8") !=
          std::string::npos);
    CHECK(refused("pages=4,bytes=16,tokens=4,heads=2,head_stride=16").find("in each other") !=
          std::string::npos);
    CHECK(refused("pages=4,bytes=16", {4096, 0}).find("begins at 0") != std::string::npos);
    CHECK(refused("pages=4,bytes=16", {UINT64_MAX - 60, 1}).find("so large") != std::string::npos);
    CHECK(refused("pages=4,bytes=4GiB").find("4 GiB") != std::string::npos);
    CHECK(refused("pages=4,bytes=16,colour=red").find("colour=red") != std::string::npos);
    CHECK(refused("pages=4,bytes=16,heads=1099511627776,tokens=1099511627776").find("4 GiB") !=
          std::string::npos);
}
