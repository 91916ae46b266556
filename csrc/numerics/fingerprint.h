// A 64-bit digest of bytes and their positions. Each tile of bytes is hashed by NH (Black, Halevi,
// Krawczyk, Krovetz and Rogaway, "UMAC: Fast and Secure Message Authentication", CRYPTO 1999) under
// two sets of keys; a finaliser mixes the two hashes with the index of the tile; the results are
// added modulo 2^64. Integer addition commutes, so any split over threads and blocks gives the same
// digest.
#pragma once

#include "philox.h"

namespace nondet {

// The bytes are read as little-endian 32-bit words, in quads of four words (two pairs).
inline constexpr int64_t kQuadBytes = 16;
inline constexpr int kTileQuads = 256;
inline constexpr int64_t kTileBytes = kTileQuads * kQuadBytes;
// The second set of keys is the first one, shifted by this many quads (a Toeplitz key).
inline constexpr int kKeyShift = 2;
inline constexpr int kKeyQuads = kTileQuads + kKeyShift;

NONDET_FN int64_t fingerprint_tiles(int64_t bytes) { return (bytes + kTileBytes - 1) / kTileBytes; }
// Returns the number of quads in a tile of which `bytes` are left; the last quad is padded with
// zeros.
NONDET_FN int fingerprint_quads(int64_t bytes) {
  return static_cast<int>(bytes < kTileBytes ? (bytes + kQuadBytes - 1) / kQuadBytes : kTileQuads);
}

struct alignas(kQuadBytes) Quad {
  uint32_t w[4];
};

NONDET_FN Quad operator+(const Quad& a, const Quad& b) {
  return {{a.w[0] + b.w[0], a.w[1] + b.w[1], a.w[2] + b.w[2], a.w[3] + b.w[3]}};
}

// Returns the keys of a quad: Philox with the key (0, "fprt") at the counter (quad, 0, 0, 0).
NONDET_FN Quad fingerprint_keys(int quad) {
  const PhiloxWords words = philox({{static_cast<uint32_t>(quad), 0, 0, 0}}, {0, 0x66707274u});
  return {{words.w[0], words.w[1], words.w[2], words.w[3]}};
}

// Returns the sum of the products of both pairs, 32 bits times 32.
NONDET_FN uint64_t pair_products(const Quad& q) {
  return uint64_t{q.w[0]} * q.w[1] + uint64_t{q.w[2]} * q.w[3];
}

// The two NH hashes of a tile, one for each set of keys.
template <class Sums>
struct TileHashes {
  Sums first, second;
};

// Adds `words` to both hashes. Words is a Quad, or a vector of several with its own
// pair_products().
template <class Sums, class Words>
NONDET_FN void nh_add(TileHashes<Sums>& hashes, const Words& words, const Words& keys,
                      const Words& shifted_keys) {
  hashes.first += pair_products(words + keys);
  hashes.second += pair_products(words + shifted_keys);
}

// Mixes `value` into `state`; a bijection in each of the two. The finaliser is variant 13 of
// Stafford, "Better Bit Mixing" (2011); with the odd constant, 2^64 over the golden ratio, it is
// SplitMix64 of Steele, Lea and Flood (OOPSLA 2014).
NONDET_FN uint64_t absorb(uint64_t state, uint64_t value) {
  uint64_t z = (state ^ value) + 0x9E3779B97F4A7C15u;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}

// Returns the state that the words leave behind: the code of the dtype, the number of dimensions
// and the sizes. The digest is this state with the sum of the tiles mixed in.
NONDET_FN uint64_t fingerprint_head(const uint64_t* words, int64_t n) {
  uint64_t state = 0;
  for (int64_t i = 0; i < n; ++i) state = absorb(state, words[i]);
  return state;
}

NONDET_FN uint64_t tile_digest(uint64_t tile, const TileHashes<uint64_t>& hashes) {
  return absorb(absorb(absorb(0, tile), hashes.first), hashes.second);
}

}  // namespace nondet
