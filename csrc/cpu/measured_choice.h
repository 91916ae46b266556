// Chooses, among ways of computing that give the same bits, the one that was fastest on this
// machine. What it costs to hand data from one core to another differs so much between processors,
// and between the places where a process runs, that no rule fits all.
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>

namespace nondet::cpu {

class MeasuredChoice {
 public:
  static constexpr int kMostWays = 8;

  // Runs one of the ways 0 to ways - 1, run(way), which returns false if its time should not count.
  // `kind` names jobs of the same kind and about the same size, `work` is the exact size.
  template <class Run>
  void run(uint64_t kind, int ways, int64_t work, const Run& run) {
    if (ways == 1) return void(run(0));
    const int way = pick(kind, std::min(ways, kMostWays));
    const auto begin = std::chrono::steady_clock::now();
    if (!run(way)) return;
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return;
    Past& past = pasts_[kind];
    double& least = past.least[static_cast<size_t>(way)];
    const double each = taken.count() / static_cast<double>(work);
    least = past.trials[static_cast<size_t>(way)]++ ? std::min(least, each) : each;
  }

 private:
  static constexpr int kTrials = 2;
  static constexpr int kAgain = 64;  // so often a way that was slow is tried again

  struct Past {
    std::array<double, kMostWays> least{};  // seconds for a unit of work
    std::array<int, kMostWays> trials{};
    int calls = 0;
  };

  int pick(uint64_t kind, int ways) {
    // A lock that another thread holds, or held when the process was forked, is not waited for.
    const std::unique_lock lock(mutex_, std::try_to_lock);
    if (!lock) return 0;
    Past& past = pasts_[kind];
    const auto tried = past.trials.begin();
    const auto fewest = std::min_element(tried, tried + ways);
    if (*fewest < kTrials || ++past.calls % kAgain == 0) return static_cast<int>(fewest - tried);
    const auto least = past.least.begin();
    return static_cast<int>(std::min_element(least, least + ways) - least);
  }

  std::mutex mutex_;
  std::map<uint64_t, Past> pasts_;
};

}  // namespace nondet::cpu
