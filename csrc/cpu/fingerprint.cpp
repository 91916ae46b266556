#include "fingerprint.h"

#include <array>
#include <atomic>

#include "isa/loops.h"
#include "numerics/fingerprint.h"
#include "parallel.h"

namespace nondet::cpu {
namespace {

constexpr int64_t kGrainTiles = 64;  // 256 KiB are worth a thread

const Quad* keys() {
  static const auto table = [] {
    std::array<Quad, kKeyQuads> made;
    for (int q = 0; q < kKeyQuads; ++q) made[static_cast<size_t>(q)] = fingerprint_keys(q);
    return made;
  }();
  return table.data();
}

}  // namespace

uint64_t fingerprint(const std::vector<uint64_t>& head, const void* x, int64_t bytes, int threads) {
  const auto digests = fingerprint_loops().digests;
  const Quad* const table = keys();
  std::atomic<uint64_t> sum{0};
  const auto part = [&](int64_t begin, int64_t end) {
    const int64_t first = begin * kTileBytes;
    const int64_t last = std::min(end * kTileBytes, bytes);
    sum.fetch_add(digests(static_cast<const char*>(x) + first, last - first,
                          static_cast<uint64_t>(begin), table),
                  std::memory_order_relaxed);
  };
  parallel_chunks(fingerprint_tiles(bytes), threads, kGrainTiles, part, kTileBytes / 16);
  uint64_t state = 0;
  for (const uint64_t word : head) state = absorb(state, word);
  return absorb(state, sum.load());
}

}  // namespace nondet::cpu
