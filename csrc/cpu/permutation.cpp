#include "permutation.h"

#include <algorithm>

#include "huge_pages.h"
#include "interruption.h"
#include "radix.h"

namespace nondet::cpu {
namespace {

using Item = Keyed<uint32_t>;

// Sorts items whose keys, the upper words, are equal by the lower words. Few keys are equal, for
// they are random.
void sort_equal(const uint32_t* words, Item* begin, Item* end) {
  std::stable_sort(begin, end, [words](const Item& a, const Item& b) {
    return words[2 * int64_t{a.position}] < words[2 * int64_t{b.position}];
  });
}

}  // namespace

void word_order(const uint32_t* words, int64_t rows, int64_t n, int64_t* out, int threads) {
  if (rows == 0 || n == 0) return;
  const auto bytes = static_cast<size_t>(n) * sizeof(Item);
  Pages first(bytes), second(bytes);
  Poll poll;
  for (int64_t row = 0; row < rows; ++row, words += 2 * n, out += n) {
    poll(4 * n + 64);
    const auto read = [words](int64_t i) {
      return Item{words[2 * i + 1] ^ 0x80000000u, static_cast<uint32_t>(i)};
    };
    Item* const sorted = radix_sort_from(read, n, 0xffffffffu, first.template as<Item>(),
                                         second.template as<Item>(), threads);
    parallel_chunks(
        n, threads, int64_t{1} << 17,
        [&](int64_t begin, int64_t end) {
          // A run of equal keys belongs to the range in which it begins.
          const auto continues = [&](int64_t i) { return sorted[i].key == sorted[i - 1].key; };
          while (begin > 0 && begin < n && continues(begin)) ++begin;
          for (int64_t i = begin; i < end;) {
            int64_t last = i + 1;
            while (last < n && continues(last)) ++last;
            if (last - i > 1) sort_equal(words, sorted + i, sorted + last);
            for (; i < last; ++i) out[i] = sorted[i].position;
          }
        },
        4);
  }
}

}  // namespace nondet::cpu
