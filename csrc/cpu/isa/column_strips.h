// Sums of rows, column by column, in registers: a strip of neighbouring columns at a time.
#pragma once

#include "numerics/summation.h"
#include "vector.h"

namespace nondet::cpu::NONDET_ISA {
namespace {

// A vector of elements, kBytes together. (Types that depend on kBytes lose it as local types.)
template <class Element, int kBytes>
struct Packed {
  typedef Element Aligned __attribute__((vector_size(kBytes)));
  typedef Element Unaligned
      __attribute__((vector_size(kBytes), aligned(sizeof(Element)), may_alias));
};

// Reads a vector of neighbouring elements as accumulators, of kBytes together.
template <class F, int kBytes = kVectorBytes>
struct Widened {
  using T = Accumulator<F>;
  using Vector = typename Packed<T, kBytes>::Aligned;
  using Unaligned = typename Packed<T, kBytes>::Unaligned;
  static constexpr int kWidth = kBytes / static_cast<int>(sizeof(T));

  static Vector read(const typename F::Bits* x) {
    if constexpr (F::kWidth >= 32) {
      return *reinterpret_cast<const Unaligned*>(x);
    } else {
      using Shorts = typename Packed<uint16_t, kBytes / 2>::Unaligned;
      using Words = typename Packed<uint32_t, kBytes>::Aligned;
      const Words b = __builtin_convertvector(*reinterpret_cast<const Shorts*>(x), Words);
      if constexpr (F::kMantissa == 7) {
        return bit_cast<Vector>(b << 16);
      } else {  // as accumulator_of does
        const Words size = (b & 0x7fffu) << 13, sign = (b & 0x8000u) << 16;
        const Words finite = bit_cast<Words>(bit_cast<Vector>(size) * 0x1p112f);
        const Words special = size | 0x7f800000u;
        const typename Packed<int32_t, kBytes>::Aligned mask = size >= (0x7c00u << 13);
        const Words is_special = bit_cast<Words>(mask);
        return bit_cast<Vector>(((special & is_special) | (finite & ~is_special)) | sign);
      }
    }
  }
};

// kVectors vectors of neighbouring columns.
template <class F, int kVectors, int kBytes = kVectorBytes>
struct Strip {
  using T = Accumulator<F>;
  using Values = Widened<F, kBytes>;
  static constexpr int kColumns = kVectors * Values::kWidth;
  typename Values::Vector v[kVectors];

  static Strip read(const typename F::Bits* x) {
    Strip s;
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) s.v[i] = Values::read(x + i * Values::kWidth);
    return s;
  }
  static Strip load(const T* x) {
    Strip s;
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i)
      s.v[i] = *reinterpret_cast<const typename Values::Unaligned*>(x + i * Values::kWidth);
    return s;
  }
  void add(const Strip& other) {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) v[i] += other.v[i];
  }
  void store(T* to) const {
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i)
      *reinterpret_cast<typename Values::Unaligned*>(to + i * Values::kWidth) = v[i];
  }
};

// One column.
template <class F>
struct Strip<F, 0> {
  using T = Accumulator<F>;
  static constexpr int kColumns = 1;
  T value;

  static Strip read(const typename F::Bits* x) { return {accumulator_of<F>(*x)}; }
  static Strip load(const T* x) { return {*x}; }
  void add(const Strip& other) { value += other.value; }
  void store(T* to) const { *to = value; }
};

// Calls body(strip type, first column) for the columns from c on that fill a vector of kBytes or of
// half, a quarter, ... of it; leaves the rest.
template <class F, int kBytes, class Body>
inline void with_shorter_vectors(int64_t columns, int64_t& c, const Body& body) {
  if constexpr (kBytes > static_cast<int>(sizeof(Accumulator<F>))) {
    using Short = Strip<F, 1, kBytes>;
    if (columns - c >= Short::kColumns) {
      body(Short{}, c);
      c += Short::kColumns;
    }
    with_shorter_vectors<F, kBytes / 2>(columns, c, body);
  }
}

// Calls body(strip type, first column) for all columns: wide strips, then vectors, then shorter
// ones.
template <class F, class Body>
inline void for_each_strip(int64_t columns, const Body& body) {
  constexpr int kVectors = kVectorRegisters / 8;
  int64_t c = 0;
  using Wide = Strip<F, kVectors>;
  using Narrow = Strip<F, 1>;
  for (; columns - c >= Wide::kColumns; c += Wide::kColumns) body(Wide{}, c);
  for (; columns - c >= Narrow::kColumns; c += Narrow::kColumns) body(Narrow{}, c);
  with_shorter_vectors<F, kVectorBytes / 2>(columns, c, body);
  if (c < columns) body(Strip<F, 0>{}, c);
}

// Rows that are read at once: each is a stream of its own to the processor, which can follow a few.
constexpr int64_t kGroupRows = 8;

// Adds rows one by one: sums[c] = row 0 + row 1 + ...; row r lies at x + offsets[r * step].
template <class F>
void chain_rows(const typename F::Bits* x, const int64_t* offsets, int64_t rows, int64_t step,
                int64_t columns, Accumulator<F>* sums) {
  for (int64_t begin = 0; begin < rows; begin += kGroupRows) {
    const int64_t end = rows - begin < kGroupRows ? rows : begin + kGroupRows;
    const int64_t ahead = rows - end < kGroupRows ? rows : end + kGroupRows;
    for_each_strip<F>(columns, [&](auto strip, int64_t c) {
      using Columns = decltype(strip);
      Columns sum = begin == 0 ? Columns::read(x + offsets[0] + c) : Columns::load(sums + c);
      for (int64_t r = begin == 0 ? 1 : begin; r < end; ++r)
        sum.add(Columns::read(x + offsets[r * step] + c));
      if constexpr (Columns::kColumns > 1)
        for (int64_t r = end; r < ahead; ++r) {
          const auto* next = reinterpret_cast<const char*>(x + offsets[r * step] + c);
          constexpr int kBytes = Columns::kColumns * static_cast<int>(sizeof *x);
#pragma GCC unroll 4
          for (int i = 0; i < kBytes; i += 64) __builtin_prefetch(next + i);
        }
      sum.store(sums + c);
    });
  }
}

// Returns the sum of the lanes l, l + step, l + 2 step, ... of at most kLanes rows, combined by
// halving.
template <class Columns, int step, class Bits>
inline __attribute__((always_inline)) Columns combined(const Bits* x, const int64_t* offsets,
                                                       int64_t rows, int l) {
  if constexpr (step == kLanes) {
    return Columns::read(x + offsets[l]);
  } else {
    Columns sum = combined<Columns, 2 * step>(x, offsets, rows, l);
    if (l + step < rows) sum.add(combined<Columns, 2 * step>(x, offsets, rows, l + step));
    return sum;
  }
}

// Sums at most kLanes rows, one in each lane. `sums` may be one of the rows.
template <class F>
void combine_rows(const typename F::Bits* x, const int64_t* offsets, int64_t rows, int64_t columns,
                  Accumulator<F>* sums) {
  for_each_strip<F>(columns, [&](auto strip, int64_t c) {
    combined<decltype(strip), 1>(x + c, offsets, rows, 0).store(sums + c);
  });
}

}  // namespace
}  // namespace nondet::cpu::NONDET_ISA
