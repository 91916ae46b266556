#include "fingerprint.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>

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

// Copies the elements [first, first + n) side by side.
template <int itemsize>
void gather(const void* x, const Layout& layout, int64_t first, int64_t n, char* out) {
  const int last = layout.dims - 1;
  int64_t at[kMaxDims], offset = 0;
  for (int d = last; d >= 0; --d) {
    at[d] = first % layout.size[d];
    first /= layout.size[d];
    offset += at[d] * layout.stride[d];
  }
  const int64_t step = layout.stride[last] * itemsize;
  while (true) {
    const int64_t run = std::min(n, layout.size[last] - at[last]);
    const char* from = static_cast<const char*>(x) + offset * itemsize;
    if (step == itemsize)
      std::memcpy(out, from, static_cast<size_t>(run * itemsize));
    else
      for (int64_t i = 0; i < run; ++i) std::memcpy(out + i * itemsize, from + i * step, itemsize);
    out += run * itemsize;
    if ((n -= run) == 0) return;
    offset -= at[last] * layout.stride[last];
    at[last] = 0;
    for (int d = last - 1; d >= 0; --d) {
      offset += layout.stride[d];
      if (++at[d] < layout.size[d]) break;
      offset -= at[d] * layout.stride[d];
      at[d] = 0;
    }
  }
}

using Gather = void (*)(const void*, const Layout&, int64_t, int64_t, char*);

Gather gather_of(int itemsize) {
  return itemsize == 1   ? gather<1>
         : itemsize == 2 ? gather<2>
         : itemsize == 4 ? gather<4>
         : itemsize == 8 ? gather<8>
                         : gather<16>;
}

// Returns the sum of the digests of the tiles [begin, end).
uint64_t digests(const Hashed& tensor, int64_t begin, int64_t end) {
  const auto hash = fingerprint_loops().digests;
  const int64_t first = begin * kTileBytes, last = std::min(end * kTileBytes, tensor.bytes);
  if (tensor.layout == nullptr)
    return hash(static_cast<const char*>(tensor.x) + first, last - first,
                static_cast<uint64_t>(begin), keys());
  const Gather copy = gather_of(tensor.itemsize);
  alignas(64) char tile[kTileBytes];
  uint64_t sum = 0;
  for (int64_t at = first; at < last; at += kTileBytes) {
    const int64_t bytes = std::min(kTileBytes, last - at);
    copy(tensor.x, *tensor.layout, at / tensor.itemsize, bytes / tensor.itemsize, tile);
    sum += hash(tile, bytes, static_cast<uint64_t>(at / kTileBytes), keys());
  }
  return sum;
}

}  // namespace

uint64_t fingerprint(const Hashed& tensor) {
  return absorb(tensor.head, digests(tensor, 0, fingerprint_tiles(tensor.bytes)));
}

void fingerprints(const std::vector<Hashed>& tensors, uint64_t* out, int threads) {
  // All tiles are numbered through, so that threads share them whatever the sizes of the tensors.
  const size_t n = tensors.size();
  std::vector<int64_t> starts(n + 1);
  int64_t weight = kTileBytes / kQuadBytes;
  for (size_t i = 0; i < n; ++i) {
    starts[i + 1] = starts[i] + fingerprint_tiles(tensors[i].bytes);
    if (tensors[i].layout != nullptr) weight = kTileBytes;
  }
  std::vector<std::atomic<uint64_t>> sums(n);
  const auto part = [&](int64_t begin, int64_t end) {
    const auto next = std::upper_bound(starts.begin(), starts.end(), begin);
    for (size_t i = static_cast<size_t>(next - starts.begin()) - 1; begin < end; ++i) {
      const int64_t last = std::min(end, starts[i + 1]);
      if (begin == last) continue;  // a tensor without elements
      sums[i].fetch_add(digests(tensors[i], begin - starts[i], last - starts[i]),
                        std::memory_order_relaxed);
      begin = last;
    }
  };
  parallel_chunks(starts[n], threads, kGrainTiles, part, weight);
  for (size_t i = 0; i < n; ++i) out[i] = absorb(tensors[i].head, sums[i].load());
}

}  // namespace nondet::cpu
