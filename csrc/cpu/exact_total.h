// The running total of an exact sum: a few doubles, or a superaccumulator once they become many;
// and its final rounding.
#pragma once

#include <cmath>
#include <optional>

#include "isa/loops.h"
#include "numerics/exact.h"
#include "numerics/summation.h"

namespace nondet::cpu {

// Rounds value + rest to odd, where `value` is not zero and is value + rest rounded to nearest. Of
// the two doubles around the exact value this is the one whose last bit is odd. Rounding it again,
// to at most 51 bits, gives the correctly rounded exact value.
inline double rounded_to_odd(double value, double rest) {
  uint64_t b = bits_of(value);
  if (rest == 0 || (b & 1)) return value;
  b += (rest < 0) == (value < 0) ? 1 : -1;
  return double_of(b);
}

template <class F>
typename F::Bits rounded_once(double value) {
  if constexpr (F::kWidth == 64)
    return bits_of(value);
  else if constexpr (F::kWidth == 32)
    return bits_of(static_cast<float>(value));
  else
    return round_to<F>(value);
}

// Returns (sum + rest) / divisor, correctly rounded to F, or nothing if these operations cannot
// tell. `rest` is at most half a unit in the last place of `sum`.
template <class F>
std::optional<typename F::Bits> quotient(double sum, double rest, double divisor) {
  constexpr bool kWide = F::kWidth == 64;
  const double first = sum / divisor;
  if (kWide && rest == 0) return rounded_once<F>(first);
  const double size = std::fabs(first);
  if (!(size > 0x1p-900 && size < 0x1p1000)) return std::nullopt;  // the fma could round
  const double left = std::fma(-first, divisor, sum);
  if (rest == 0) return rounded_once<F>(rounded_to_odd(first, left));
  // `second` has a relative error below 2^-48. If both ends of that interval round to the same
  // value, it is the result.
  const double second = (left + rest) / divisor;
  const double low = first + second * (1 - 0x1p-48), high = first + second * (1 + 0x1p-48);
  if constexpr (kWide) {
    if (low == high) return rounded_once<F>(low);
  } else {
    const auto below = rounded_once<F>(double_of(bits_of(low) - 2));
    if (below == rounded_once<F>(double_of(bits_of(low) + 2))) return below;
  }
  return std::nullopt;
}

// Returns the sum of the doubles, divided by `divisor` unless it is 0, correctly rounded; or
// nothing if there are more than two, or the quotient is not certain.
template <class F>
std::optional<typename F::Bits> rounded_quickly(const double* part, int count, int64_t divisor) {
  if (count > 2) return std::nullopt;
  double sum = 0, rest = 0;
  if (count > 0) sum = part[0];
  if (count > 1) {
    sum = part[0] + part[1];
    const double back = sum - part[0];
    rest = (part[0] - (sum - back)) + (part[1] - back);
  }
  if (sum == 0) return typename F::Bits{0};
  if (divisor > 1) {
    if (divisor > int64_t{1} << 53) return std::nullopt;
    return quotient<F>(sum, rest, static_cast<double>(divisor));
  }
  if constexpr (F::kWidth == 64) return rounded_once<F>(sum);
  return rounded_once<F>(rounded_to_odd(sum, rest));
}

// An exact total: a few doubles at first, a superaccumulator when there are more.
template <class F, class Accumulator>
class Total {
 public:
  void clear() {
    count_ = 0;
    open_ = false;
  }

  void add(double part) {
    if (count_ == kHeld) spill();
    held_[count_++] = part;
  }

  Accumulator& accumulator(int64_t adds) {
    if (!open_) {
      accumulator_.clear();
      open_ = true;
      adds_ = 0;
    }
    adds_ += adds;
    if (adds_ > Accumulator::kAddsBetweenCarries / 4) {  // a product adds up to three parts
      accumulator_.carry();
      adds_ = adds;
    }
    return accumulator_;
  }

  void merge(Total& other) {
    for (int i = 0; i < other.count_; ++i) add(other.held_[i]);
    if (other.open_) accumulator(1).merge(other.accumulator_);
  }

  typename F::Bits rounded(int64_t divisor) {
    if (!open_)
      if (const auto quick = rounded_quickly<F>(held_, count_, divisor)) return *quick;
    spill();
    return accumulator(0).template round<F>(divisor);
  }

 private:
  static constexpr int kHeld = kExactParts;

  void spill() {
    Accumulator& a = accumulator(count_);
    for (int i = 0; i < count_; ++i) a.add_double(held_[i]);
    count_ = 0;
  }

  int count_ = 0;
  bool open_ = false;
  double held_[kHeld];
  int64_t adds_ = 0;
  Accumulator accumulator_;
};

}  // namespace nondet::cpu
