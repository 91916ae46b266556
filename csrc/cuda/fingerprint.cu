#include "fingerprint.cuh"
#include "launch.cuh"
#include "numerics/fingerprint.h"

namespace nondet::cuda {

constexpr int kWarp = 32;
constexpr int kWarps = kBlock / kWarp;
// The table of keys takes a block about as long as a tile, so a block should have several tiles.
constexpr int kTilesPerBlock = 4 * kWarps;

// Returns the quad at x, of which `bytes` exist, in loads of the type Unit, to which x is aligned.
template <class Unit>
__device__ Quad quad_at(const char* x, int64_t bytes) {
  Quad quad = {};
  if (bytes >= kQuadBytes && sizeof(Unit) == kQuadBytes) {
    quad = *reinterpret_cast<const Quad*>(x);
  } else if (bytes >= kQuadBytes && sizeof(Unit) == sizeof(uint32_t)) {
#pragma unroll
    for (int w = 0; w < 4; ++w) quad.w[w] = reinterpret_cast<const uint32_t*>(x)[w];
  } else {
#pragma unroll
    for (int b = 0; b < kQuadBytes; ++b)
      if (b < bytes) quad.w[b / 4] |= uint32_t{static_cast<uint8_t>(x[b])} << (8 * (b % 4));
  }
  return quad;
}

__device__ uint64_t warp_sum(uint64_t value) {
#pragma unroll
  for (int mask = kWarp / 2; mask > 0; mask /= 2)
    value += __shfl_xor_sync(0xffffffffu, value, mask);
  return value;
}

// One warp hashes a tile; lane l takes the quads l, l + 32, ...
template <class Unit>
__global__ void fingerprint_kernel(const char* __restrict__ x, int64_t bytes,
                                   unsigned long long* out) {
  NONDET_SHARED(Quad, keys, kKeyQuads);
  for (int q = threadIdx.x; q < kKeyQuads; q += kBlock) keys[q] = fingerprint_keys(q);
  __syncthreads();
  const int lane = threadIdx.x % kWarp;
  uint64_t sum = 0;
  for_each_index<kWarp>(fingerprint_tiles(bytes), [&](int64_t tile) {
    const int64_t left = bytes - tile * kTileBytes;
    const int quads = fingerprint_quads(left);
    TileHashes<uint64_t> hashes{};
#pragma unroll
    for (int q = lane; q < kTileQuads; q += kWarp)
      if (q < quads)
        nh_add(hashes, quad_at<Unit>(x + tile * kTileBytes + q * kQuadBytes, left - q * kQuadBytes),
               keys[q], keys[q + kKeyShift]);
    sum +=
        tile_digest(static_cast<uint64_t>(tile), {warp_sum(hashes.first), warp_sum(hashes.second)});
  });
  if (lane == 0) atomicAdd(out, static_cast<unsigned long long>(sum));
}

__global__ void finish_fingerprint_kernel(uint64_t head, unsigned long long* out) {
  *out = absorb(head, *out);
}

void fingerprint(const std::vector<uint64_t>& head, const void* x, int64_t bytes,
                 unsigned long long* out, cudaStream_t stream) {
  const auto address = reinterpret_cast<uintptr_t>(x);
  const auto kernel = address % sizeof(Quad) == 0       ? fingerprint_kernel<Quad>
                      : address % sizeof(uint32_t) == 0 ? fingerprint_kernel<uint32_t>
                                                        : fingerprint_kernel<char>;
  if (bytes > 0)
    launch("fingerprint", kernel, blocks_for(fingerprint_tiles(bytes), kTilesPerBlock), kBlock, 0,
           stream, static_cast<const char*>(x), bytes, out);
  launch("fingerprint", finish_fingerprint_kernel, 1, 1, 0, stream,
         fingerprint_head(head.data(), static_cast<int64_t>(head.size())), out);
}

}  // namespace nondet::cuda
