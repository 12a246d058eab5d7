/**
 * Files as the bytes of one part: read whole, written whole. Invariant: a file that could not be
 * written whole is not left under its name.
 */
#pragma once
#include <cstddef>
#include <string>
#include <vector>

namespace weft::cli {

/** The largest part that an op can name, in bytes. */
inline constexpr uint64_t kPartBytesMax = UINT32_MAX;

/** All bytes of a file, "-" being stdin, with progress; beyond kPartBytesMax a Failure. */
std::vector<std::byte> read_file(const std::string& path);
/** Writes a file beside its name and renames it, "-" being stdout, with progress. */
void write_file(const std::string& path, const std::byte* bytes, size_t size);

}  // namespace weft::cli
