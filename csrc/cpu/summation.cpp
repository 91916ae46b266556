#include "summation.h"

#include <atomic>
#include <numeric>

#include "exact.h"
#include "fenv.h"
#include "parallel.h"
#include "race.h"
#include "reduction_inputs.h"

namespace nondet::cpu {
namespace {

// Below this many elements a second thread costs more than it takes over.
constexpr int64_t kGrainElements = int64_t{1} << 18;

template <class T>
constexpr DType kAccumulatorDType = sizeof(T) == 8 ? DType::float64 : DType::float32;

// Up to this many sums are added by one thread before another may: a race for single sums would be
// one for cache lines, twenty times as slow.
constexpr int64_t kRaceColumns = 2048;

// Who may add to a group of sums: one thread at a time, the others wait.
class alignas(64) Turn {
 public:
  class Held {
   public:
    explicit Held(std::atomic<bool>& taken) : taken_(taken) {
      while (taken_.exchange(true, std::memory_order_acquire)) taken_.wait(true);
    }
    ~Held() {
      taken_.store(false, std::memory_order_release);
      taken_.notify_one();
    }
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;

   private:
    std::atomic<bool>& taken_;
  };

  [[nodiscard]] Held wait() { return Held(taken_); }

 private:
  std::atomic<bool> taken_{false};
};

// Rows of `columns` sums, tile by tile, until one row is left: rows[0 .. columns).
template <class T>
void reduce_rows(T* rows, int64_t count, int64_t columns, T* scratch) {
  const auto& loops = summation_loops();
  const int dtype = static_cast<int>(kAccumulatorDType<T>);
  for (; count > 1; count = (count + kTile - 1) / kTile) {
    if (columns == 1) {
      loops.tiles[dtype](rows, count, rows);
      continue;
    }
    int64_t offsets[kTile];
    for (int64_t begin = 0; begin < count; begin += kTile) {
      const int64_t n = std::min<int64_t>(count - begin, kTile);
      for (int64_t r = 0; r < n; ++r) offsets[r] = (begin + r) * columns;
      loops.columns[dtype](rows, offsets, n, columns, scratch, rows + begin / kTile * columns);
    }
  }
}

// How a sum is cut: parts of `size` elements, each of tiles.
struct Parts {
  int64_t n, size, count, tiles;

  Parts(int64_t n_, bool whole)
      : n(n_),
        size(whole ? std::max<int64_t>(n_, 1) : part_size(n_)),
        count(whole ? (n_ > 0) : part_count(n_)),
        tiles((size + kTile - 1) / kTile) {}

  int64_t begin(int64_t part) const { return part * size; }
  int64_t length(int64_t part) const { return std::min(size, n - begin(part)); }
  int64_t tiles_of(int64_t part) const { return (length(part) + kTile - 1) / kTile; }
};

template <class T>
struct Buffers {
  std::vector<T> sums, scratch;
  T* lanes(int64_t columns) {
    if (columns > 1) scratch.resize(static_cast<size_t>(kLanes * columns));
    return scratch.data();
  }
};

template <class F, class Source>
class Summation {
  using T = Accumulator<F>;
  using Bits = typename F::Bits;

 public:
  Summation(const Source& source, void* out, int64_t divisor, Order order, const OrderKey& key,
            int threads)
      : source_(source),
        out_(static_cast<Bits*>(out)),
        divisor_(divisor),
        order_(order),
        key_(key),
        threads_(threads) {}

  // All blocks have one length.
  void uniform() {
    const int64_t blocks = source_.blocks();
    if (blocks == 0) return;
    const Parts parts(source_.elements(0), order_ == Order::fixed);
    if (order_ == Order::seeded) visit_ = part_order(parts.n, key_);
    const int64_t work = parts.n * std::max<int64_t>(source_.columns(0), 1);
    if (order_ == Order::atomic && threads_ > 1) {
      race(0, blocks, parts);
    } else if (threads_ == 1 || blocks >= 8 * threads_ || work * blocks < kGrainElements) {
      const int64_t grain = std::max<int64_t>(kGrainElements / std::max<int64_t>(work, 1), 1);
      parallel_for(
          blocks, threads_, grain,
          [&](int64_t begin, int64_t end) {
            DefaultFloatMode mode;
            Buffers<T> buffers;
            for (int64_t b = begin; b < end; ++b) alone(b, parts, buffers);
          },
          1);
    } else {
      for (int64_t b = 0; b < blocks; ++b) together(b, parts);
    }
  }

  // Blocks of different lengths.
  void ragged() {
    const int64_t blocks = source_.blocks();
    int64_t longest = 0;
    for (int64_t b = 0; b < blocks; ++b) longest = std::max(longest, source_.elements(b));
    const bool split = longest >= kGrainElements || (order_ == Order::atomic && threads_ > 1);
    const auto each = [&](int64_t begin, int64_t end) {
      DefaultFloatMode mode;
      Buffers<T> buffers;
      Summation mine(source_, out_, divisor_, order_, key_, threads_);
      int64_t ordered_for = -1;
      for (int64_t b = begin; b < end; ++b) {
        const Parts parts(source_.elements(b), order_ == Order::fixed);
        if (order_ == Order::seeded && parts.n != ordered_for) {
          mine.visit_ = part_order(parts.n, key_);
          ordered_for = parts.n;
        }
        if (!split)
          mine.alone(b, parts, buffers);
        else if (order_ == Order::atomic)
          mine.race(b, b + 1, parts);
        else
          mine.together(b, parts);
      }
    };
    if (split)
      each(0, blocks);
    else
      parallel_for(blocks, threads_, 64, each);
  }

 private:
  // The sum of one part of a block, by one thread: in sums[0 .. columns).
  void part_sum(int64_t block, const Parts& parts, int64_t part, T* sums, T* lanes) const {
    source_.tiles(block, parts.begin(part), parts.length(part), sums, lanes);
    reduce_rows(sums, parts.tiles_of(part), source_.columns(block), lanes);
  }

  // Parts that lie `stride` accumulators apart, added one by one; the sum in parts[first part].
  T* combined(T* rows, const Parts& parts, int64_t columns, int64_t stride) const {
    if (parts.count == 1) return rows;
    const bool seeded = order_ == Order::seeded;
    T* total = rows + (seeded ? visit_[0] : 0) * stride;
    for (int64_t i = 1; i < parts.count; ++i) {
      const T* next = rows + (seeded ? visit_[static_cast<size_t>(i)] : i) * stride;
      add(next, columns, total);
    }
    return total;
  }

  void write(int64_t block, const T* total) const {
    Bits* to = out_ + source_.first_output(block);
    const int64_t columns = source_.columns(block);
    for (int64_t c = 0; c < columns; ++c) {
      const T value = total ? total[c] : T{0};
      to[c] = rounded<F>(divisor_ ? value / static_cast<T>(divisor_) : value);
    }
  }

  // One block by one thread.
  void alone(int64_t block, const Parts& parts, Buffers<T>& buffers) const {
    if (parts.n == 0) return write(block, nullptr);
    const int64_t columns = source_.columns(block);
    T* lanes = buffers.lanes(columns);
    if (parts.count > 1 && parts.size == 1) {
      // Every element is a part: tiles of one element would be slow.
      single_elements(block, parts, buffers, lanes);
      return;
    }
    const int64_t stride = parts.tiles * columns;
    buffers.sums.resize(static_cast<size_t>(parts.count * stride));
    T* sums = buffers.sums.data();
    for (int64_t p = 0; p < parts.count; ++p) part_sum(block, parts, p, sums + p * stride, lanes);
    write(block, combined(sums, parts, columns, stride));
  }

  void single_elements(int64_t block, const Parts& parts, Buffers<T>& buffers, T* lanes) const {
    const int64_t columns = source_.columns(block);
    buffers.sums.resize(static_cast<size_t>(2 * columns));
    T *total = buffers.sums.data(), *next = total + columns;
    for (int64_t i = 0; i < parts.n; ++i) {
      const int64_t p = order_ == Order::seeded ? visit_[static_cast<size_t>(i)] : i;
      source_.tiles(block, p, 1, i == 0 ? total : next, lanes);
      if (i > 0) add(next, columns, total);
    }
    write(block, total);
  }

  static void add(const T* __restrict__ addends, int64_t columns, T* __restrict__ totals) {
    for (int64_t c = 0; c < columns; ++c) totals[c] += addends[c];
  }

  // One block by all threads: tiles in parallel, into one buffer.
  void together(int64_t block, const Parts& parts) const {
    const int64_t columns = source_.columns(block);
    const int64_t stride = parts.tiles * columns;
    std::vector<T> sums(static_cast<size_t>(parts.count * stride));
    const int64_t units = parts.count * parts.tiles;
    const int64_t tile_elements = std::min<int64_t>(parts.size, kTile);
    const int64_t grain = std::max<int64_t>(kGrainElements / (2 * tile_elements * columns), 1);
    parallel_for(
        units, threads_, grain,
        [&](int64_t begin, int64_t end) {
          DefaultFloatMode mode;
          std::vector<T> lanes(static_cast<size_t>(columns > 1 ? kLanes * columns : 0));
          while (begin < end) {
            const int64_t part = begin / parts.tiles, tile = begin % parts.tiles;
            const int64_t count = std::min(end - begin, parts.tiles - tile);
            const int64_t first = tile * kTile;
            const int64_t n = std::min(count * kTile, parts.length(part) - first);
            if (n > 0)
              source_.tiles(block, parts.begin(part) + first, n,
                            sums.data() + part * stride + tile * columns, lanes.data());
            begin += count;
          }
        },
        1);
    DefaultFloatMode mode;
    std::vector<T> lanes(static_cast<size_t>(columns > 1 ? kLanes * columns : 0));
    for (int64_t p = 0; p < parts.count; ++p)
      reduce_rows(sums.data() + p * stride, parts.tiles_of(p), columns, lanes.data());
    if (parts.n == 0) return write(block, nullptr);
    write(block, combined(sums.data(), parts, columns, stride));
  }

  // Blocks [first, last) by all threads. Each takes a part of a group of blocks as it comes, and
  // adds it where all can see, when nobody else adds to this group.
  void race(int64_t first, int64_t last, const Parts& parts) const {
    if (parts.n == 0) {
      for (int64_t b = first; b < last; ++b) write(b, nullptr);
      return;
    }
    const int64_t grouped = std::max<int64_t>(kRaceColumns / source_.columns(first), 1);
    const int64_t groups = (last - first + grouped - 1) / grouped;
    const int64_t stride = parts.tiles * source_.columns(first);
    const int64_t origin = source_.first_output(first);
    const auto outputs = source_.first_output(last - 1) + source_.columns(last - 1) - origin;
    std::vector<T> totals(static_cast<size_t>(outputs), -T{0});
    std::vector<Turn> turns(static_cast<size_t>(groups));
    const int64_t items = groups * parts.count;
    std::atomic<int64_t> next{0};
    cpu::race(static_cast<int>(std::min<int64_t>(threads_, items)), [&] {
      DefaultFloatMode mode;
      Buffers<T> buffers;
      T* lanes = buffers.lanes(source_.columns(first));
      buffers.sums.resize(static_cast<size_t>(grouped * stride));
      T* sums = buffers.sums.data();
      for (int64_t item; (item = next.fetch_add(1, std::memory_order_relaxed)) < items;) {
        const int64_t group = item / parts.count, part = item % parts.count;
        const int64_t begin = first + group * grouped, end = std::min(begin + grouped, last);
        for (int64_t b = begin; b < end; ++b)
          part_sum(b, parts, part, sums + (b - begin) * stride, lanes);
        const auto alone = turns[static_cast<size_t>(group)].wait();
        for (int64_t b = begin; b < end; ++b)
          add(sums + (b - begin) * stride, source_.columns(b),
              totals.data() + source_.first_output(b) - origin);
      }
    });
    for (int64_t b = first; b < last; ++b)
      write(b, totals.data() + source_.first_output(b) - origin);
  }

  const Source& source_;
  Bits* out_;
  int64_t divisor_;
  Order order_;
  OrderKey key_;
  int threads_;
  std::vector<int32_t> visit_;
};

// Sums side by side, when the innermost kept elements are neighbours and the reduced ones are not.
bool by_columns(const Layout& kept, const Layout& reduced) {
  if (kept.dims == 0 || kept.stride[kept.dims - 1] != 1) return false;
  if (reduced.dims > 0 && reduced.stride[reduced.dims - 1] == 1) return false;
  return kept.size[kept.dims - 1] >= 4;
}

}  // namespace

std::vector<int32_t> part_order(int64_t n, const OrderKey& key) {
  const int64_t count = part_count(n);
  std::vector<uint32_t> words(static_cast<size_t>(count));
  for (int64_t p = 0; p < count; p += 4) {
    const PhiloxWords block =
        philox_block(static_cast<uint64_t>(p / 4), key.c, {key.seed, kOrderStream});
    for (int64_t i = p; i < std::min(p + 4, count); ++i)
      words[static_cast<size_t>(i)] = block.w[i - p];
  }
  std::vector<int32_t> order(static_cast<size_t>(count));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const auto wa = words[static_cast<size_t>(a)], wb = words[static_cast<size_t>(b)];
    return wa < wb || (wa == wb && a < b);
  });
  return order;
}

void sum(DType dtype, const void* x, const Layout& kept, const Layout& reduced, void* out,
         int64_t divisor, Order order, const OrderKey& key, int threads) {
  if (order == Order::exact) return exact_sum(dtype, x, kept, reduced, out, divisor, threads);
  with_format(dtype, [&]<class F>(F) {
    const auto* bits = static_cast<const typename F::Bits*>(x);
    const auto run = [&](const auto& source) {
      Summation<F, std::decay_t<decltype(source)>>(source, out, divisor, order, key, threads)
          .uniform();
    };
    if (by_columns(kept, reduced))
      run(ColumnSource<F>{bits, kept, reduced});
    else
      run(InnerSource<F>{bits, kept, reduced});
  });
}

void dot(DType dtype, const void* a, const void* b, int64_t n, void* out, Order order,
         const OrderKey& key, int threads) {
  if (order == Order::exact) return exact_dot(dtype, a, b, n, out, threads);
  with_format(dtype, [&]<class F>(F) {
    using Bits = typename F::Bits;
    const ProductSource<F> source{static_cast<const Bits*>(a), static_cast<const Bits*>(b), n};
    Summation<F, ProductSource<F>>(source, out, 0, order, key, threads).uniform();
  });
}

void segment_sum(DType dtype, const void* x, const int64_t* offsets, int64_t segments,
                 int64_t columns, void* out, Order order, const OrderKey& key, int threads) {
  if (order == Order::exact)
    return exact_segment_sum(dtype, x, offsets, segments, columns, out, threads);
  with_format(dtype, [&]<class F>(F) {
    const SegmentSource<F> source{static_cast<const typename F::Bits*>(x), offsets, segments,
                                  columns};
    Summation<F, SegmentSource<F>>(source, out, 0, order, key, threads).ragged();
  });
}

}  // namespace nondet::cpu
