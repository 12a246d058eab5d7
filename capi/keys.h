// Keys: how a prompt's full blocks are named, byte for byte as the serving engines name them, so
// that an engine, a gateway and this library agree on a block's identity without asking each other.
// The bodies of weft_keys and weft_key_of.
//
// Invariants: a key is the big-endian integers of its digest's last 16 bytes; the keys of a prefix
// do not depend on what follows it; nothing is allocated per block. Functions of their arguments
// alone: any thread may call them at any time.
#pragma once

#include <cstdint>
#include <string>

#include "capi/weft.h"

namespace weft {

/**
 * The keys of the full blocks of `tokens`, at most `capacity`, into items[i].key_hi and key_lo.
 *
 * options: text; NULL is scheme=vllm-sha256-cbor. The keys it knows:
 *
 * - scheme=vllm-sha256-cbor: vLLM's --prefix-caching-hash-algo sha256_cbor, extra keys tagged as
 *   vLLM 0.32 tags them. scheme=sglang: SGLang HiCache's page hashes; takes
 *   none of the keys below but start.
 * - seed=0: vLLM's PYTHONHASHSEED, a decimal text; not said, or vllm-none-hash: as engines that run
 *   without one.
 * - lora=NAME:PATH: the adapter, both as the engine was given them; vLLM hashes both.
 * - salt=TEXT: the request's cache_salt; enters the block at start 0 only.
 * - start=N: where tokens[0] is in the prompt, a multiple of block_tokens.
 * - mm=WHERE+LENGTH:ID: a multimodal input: its first token's place in the prompt, its tokens, its
 *   identifier; in order of WHERE, one for each.
 *
 * chain: NULL, or 32 bytes: the digest to go on from, zeros at first; replaced by the last block's
 * digest, if there is one. Returns how many keys were set, or -WEFT_EINVAL with the option or
 * argument and its value in message_out.
 */
int32_t make_keys(const char* options, uint8_t* chain, const uint32_t* tokens, uint32_t token_count,
                  uint32_t block_tokens, weft_item* items, uint32_t capacity,
                  std::string& message_out);

/** The key of any bytes: of their SHA-256. bytes may be NULL where size is 0. Returns 0 or
 * -WEFT_EINVAL. */
int32_t key_of(const uint8_t* bytes, uint64_t size, weft_item* item);

}  // namespace weft
