#include "numerics/fingerprint.h"

#include <cstring>

#include "loops.h"
#include "vector.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nondet::cpu::NONDET_ISA {
namespace {

constexpr int kLineQuads = 4;  // a line of the cache
constexpr int kVectorQuads = kVectorBytes / static_cast<int>(kQuadBytes);

typedef uint32_t Lanes __attribute__((vector_size(kVectorBytes)));
typedef uint32_t UnalignedLanes __attribute__((vector_size(kVectorBytes), aligned(1), may_alias));
typedef uint64_t Sums __attribute__((vector_size(kVectorBytes)));

struct Words {
  Lanes lanes;
};

inline Words operator+(const Words& a, const Words& b) { return {a.lanes + b.lanes}; }

// Returns one product for each pair of words, in the place of the pair.
inline Sums pair_products(const Words& words) {
  const Sums pairs = bit_cast<Sums>(words.lanes);
  const Sums odd = pairs >> 32;
#if defined(__AVX512F__)
  // With a full mask, because the plain intrinsic makes g++ 12 warn about its own header.
  return bit_cast<Sums>(
      _mm512_maskz_mul_epu32(0xff, bit_cast<__m512i>(pairs), bit_cast<__m512i>(odd)));
#elif defined(__AVX2__)
  return bit_cast<Sums>(_mm256_mul_epu32(bit_cast<__m256i>(pairs), bit_cast<__m256i>(odd)));
#elif defined(__x86_64__)
  return bit_cast<Sums>(_mm_mul_epu32(bit_cast<__m128i>(pairs), bit_cast<__m128i>(odd)));
#else
  return (pairs & 0xffffffffu) * odd;
#endif
}

inline Words words_at(const void* p) { return {*static_cast<const UnalignedLanes*>(p)}; }

inline uint64_t total(const Sums& sums) {
  uint64_t sum = 0;
  for (int i = 0; i < kVectorBytes / 8; ++i) sum += sums[i];
  return sum;
}

// How far ahead memory is fetched. A tile is as long as a page, and processors do not fetch ahead
// into the next page by themselves.
constexpr int64_t kAheadBytes = 2 * kTileBytes;

// Returns the hashes of one tile, and fetches the bytes that lie `ahead` of it. Inlined, because
// `quads` is the constant kTileQuads for all tiles but the last, which gives a loop of known
// length.
inline __attribute__((always_inline)) TileHashes<uint64_t> hashes_of(const char* x, int quads,
                                                                     const Quad* keys,
                                                                     int64_t ahead) {
  TileHashes<Sums> vectors{};
  int q = 0;
#pragma GCC unroll 4
  for (; q + kLineQuads <= quads; q += kLineQuads) {
    __builtin_prefetch(x + q * kQuadBytes + ahead);
    for (int v = q; v < q + kLineQuads; v += kVectorQuads)
      nh_add(vectors, words_at(x + v * kQuadBytes), words_at(keys + v),
             words_at(keys + v + kKeyShift));
  }
  TileHashes<uint64_t> hashes{total(vectors.first), total(vectors.second)};
  for (; q < quads; ++q) {
    Quad rest;
    std::memcpy(&rest, x + q * kQuadBytes, sizeof rest);
    nh_add(hashes, rest, keys[q], keys[q + kKeyShift]);
  }
  return hashes;
}

uint64_t digests(const void* x, int64_t bytes, uint64_t first_tile, const Quad* keys) {
  const char* from = static_cast<const char*>(x);
  uint64_t sum = 0, tile = first_tile;
  for (; bytes >= kTileBytes; bytes -= kTileBytes, from += kTileBytes)
    sum += tile_digest(tile++, hashes_of(from, kTileQuads, keys,
                                         bytes >= kAheadBytes + kTileBytes ? kAheadBytes : 0));
  if (bytes > 0) {
    alignas(64) char rest[kTileBytes];
    const int quads = fingerprint_quads(bytes);
    std::memset(rest + (quads - 1) * kQuadBytes, 0, kQuadBytes);
    std::memcpy(rest, from, static_cast<size_t>(bytes));
    sum += tile_digest(tile, hashes_of(rest, quads, keys, 0));
  }
  return sum;
}

}  // namespace

extern const FingerprintLoops kFingerprintLoops;
const FingerprintLoops kFingerprintLoops = {digests};

}  // namespace nondet::cpu::NONDET_ISA
