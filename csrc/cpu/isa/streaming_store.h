// Streaming stores: output larger than the caches is written through a small buffer with
// non-temporal stores. Ordinary stores would first read the memory that they overwrite: half as
// much traffic again.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace nondet::cpu::NONDET_ISA {
namespace {

#if defined(__AVX512F__)
using StreamWord = __m512i;
inline void stream_word(void* to, const void* from) {
  _mm512_stream_si512(static_cast<__m512i*>(to), _mm512_load_si512(from));
}
#elif defined(__AVX__)
using StreamWord = __m256i;
inline void stream_word(void* to, const void* from) {
  _mm256_stream_si256(static_cast<__m256i*>(to),
                      _mm256_load_si256(static_cast<const __m256i*>(from)));
}
#elif defined(__x86_64__)
using StreamWord = __m128i;
inline void stream_word(void* to, const void* from) {
  _mm_stream_si128(static_cast<__m128i*>(to), _mm_load_si128(static_cast<const __m128i*>(from)));
}
#endif

// Writes n elements to `out`, with streaming stores if `streaming`. fill(to, begin, count) computes
// the elements [begin, begin + count) into to[0 .. count).
template <class T, class Fill>
inline void produce(T* out, int64_t n, bool streaming, const Fill& fill) {
#if defined(__x86_64__)
  if (streaming) {
    constexpr int64_t kChunk = 8192 / static_cast<int64_t>(sizeof(T));
    alignas(64) T buffer[kChunk];
    const auto misaligned = reinterpret_cast<uintptr_t>(out) % 64;
    int64_t done = misaligned ? static_cast<int64_t>((64 - misaligned) / sizeof(T)) : 0;
    if (done > n) done = n;
    fill(out, int64_t{0}, done);
    for (; n - done >= kChunk; done += kChunk) {
      fill(buffer, done, kChunk);
      for (int64_t i = 0; i < kChunk; i += static_cast<int64_t>(sizeof(StreamWord) / sizeof(T)))
        stream_word(out + done + i, buffer + i);
    }
    fill(out + done, done, n - done);
    _mm_sfence();
    return;
  }
#endif
  (void)streaming;
  fill(out, int64_t{0}, n);
}

}  // namespace
}  // namespace nondet::cpu::NONDET_ISA
