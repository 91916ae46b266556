#include "machine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cfenv>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <numeric>

namespace emulation {

Machine machine;
Indices current;

namespace {

// After this many events without a switch a thread lets others run under any policy.
constexpr uint32_t kLongestRun = 4096;
constexpr size_t kMostReports = 100;
constexpr size_t kGuardBytes = 4096;

uint3 unflatten(uint32_t i, dim3 size) {
  return {i % size.x, i / size.x % size.y, i / size.x / size.y};
}

char* map_memory(size_t bytes) {
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    std::perror("emulation: mmap");
    std::abort();
  }
  return static_cast<char*>(memory);
}

std::vector<uint32_t> order_blocks(uint32_t count, BlockOrder order, Random& random) {
  std::vector<uint32_t> blocks(count);
  std::iota(blocks.begin(), blocks.end(), 0u);
  if (order == BlockOrder::kBackward) std::reverse(blocks.begin(), blocks.end());
  if (order == BlockOrder::kShuffled)
    for (uint32_t i = count; i > 1; --i) std::swap(blocks[i - 1], blocks[random.below(i)]);
  return blocks;
}

}  // namespace

std::string describe(const Thread& thread) {
  return "block " + std::to_string(thread.block->linear) + " thread " +
         std::to_string(thread.linear);
}

void Machine::report(const char* kind, std::string text, const void* site, const void* other) {
  for (const Report& known : reports)
    if (known.kind == kind && known.site == site && known.other == other) return;
  if (reports.size() < kMostReports) reports.push_back({kind, std::move(text), site, other});
}

void Machine::abort_launch(const char* kind, std::string text, const void* site) {
  report(kind, std::move(text), site);
  aborted = true;
  reschedule();
  __builtin_unreachable();
}

void Machine::switch_to(Thread* thread) {
  Thread* from = running;
  if (from == thread) return;
  ++counters.switches;
  running = thread;
  if (thread->block) {
    current.thread = thread->index;
    current.block = thread->block->index;
  }
  switch_context(from->context, thread->context);
}

void Machine::reschedule() {
  running->events_since_switch = 0;
  switch_to(aborted || queue_.empty() ? &main_ : queue_.pop(random));
}

void Machine::wait(const char* in, const void* at) {
  running->waits_in = in;
  running->waits_at = at;
  reschedule();
}

void Machine::yield() {
  if (queue_.empty()) return;
  if (schedule.policy == Policy::kPriority && random.below(64) == 0)
    running->priority = --dropped_priority_;
  queue_.push(running);
  reschedule();
}

void Machine::maybe_yield(double probability) {
  if (random.chance(probability)) yield();
}

void Machine::spend(const void* site) {
  if (++running->events > schedule.event_budget)
    abort_launch(
        "no-progress",
        describe(*running) + " has passed " + std::to_string(schedule.event_budget) +
            " barriers, atomics and accesses: it waits for what another thread would have to do",
        site);
  if (++running->events_since_switch > kLongestRun) {
    running->events_since_switch = 0;
    yield();
  }
}

void Machine::thread_main() {
  for (;;) {
    const Launch& launch = *machine.launch_;
    launch.call(launch.kernel, launch.arguments);
    machine.finish_thread();
  }
}

void Machine::finish_thread() {
  Thread& thread = *running;
  Block& block = *thread.block;
  thread.done = true;
  --block.alive;
  leave_warp(thread);
  if (block.alive == 0) {
    check_guards(block);
    if (schedule.count_requests) finish_requests(block);
    finished_ = &block;
    switch_to(&main_);
    return;
  }
  if (block.arrived == block.alive) complete_barrier(block);
  reschedule();
}

void Machine::reserve(uint32_t resident, uint32_t threads) {
  while (pool_.size() < size_t{resident} * threads) {
    char* memory = map_memory(kGuardBytes + kStackBytes);
    mprotect(memory, kGuardBytes, PROT_NONE);
    pool_.push_back(std::make_unique<Thread>());
    pool_.back()->stack = memory + kGuardBytes;
  }
  if (arena_count_ < resident) {
    if (arenas_) munmap(arenas_, arena_count_ * kArenaBytes);
    arenas_ = map_memory(resident * kArenaBytes);
    arena_count_ = resident;
  }
  while (slots_.size() < resident) slots_.push_back(std::make_unique<Block>());
  size_t next = 0;
  for (uint32_t s = 0; s < resident; ++s) {
    Block& block = *slots_[s];
    block.arena = arenas_ + s * kArenaBytes;
    block.threads.resize(threads);
    block.warps.resize((threads + kWarpSize - 1) / kWarpSize);
    for (Warp& warp : block.warps) warp.full = 0;
    for (uint32_t i = 0; i < threads; ++i) {
      Thread* thread = pool_[next++].get();
      thread->block = &block;
      thread->warp = &block.warps[i / kWarpSize];
      thread->linear = i;
      thread->lane = i % kWarpSize;
      thread->warp->thread[thread->lane] = thread;
      thread->warp->full |= 1u << thread->lane;
      block.threads[i] = thread;
    }
  }
  queue_.reset(schedule.policy, size_t{resident} * threads + 2);
}

uint64_t Machine::priority_of(const Thread& thread) {
  if (schedule.policy != Policy::kHardware)
    return static_cast<uint32_t>(random.bits()) | 0x80000000u;
  return ~static_cast<uint64_t>(thread.block->due * 0x1p32);  // the earlier block first
}

void Machine::start_block(Block& block, uint32_t linear, double now) {
  if (schedule.policy == Policy::kHardware)
    block.due = now + 1 + schedule.jitter * (2 * random.fraction() - 1);
  block.serial = next_serial_++;
  block.linear = linear;
  block.index = unflatten(linear, launch_->grid);
  block.alive = static_cast<uint32_t>(block.threads.size());
  block.arrived = 0;
  block.barrier_mixed = false;
  block.epoch = 1;
  block.causality.clear();
  start_shared(block, launch_->shared_bytes);
  for (Warp& warp : block.warps) {
    warp.alive = warp.full;
    warp.open = 0;
    if (!schedule.check_races) continue;
    for (uint32_t a = 0; a < kWarpSize; ++a)
      for (uint32_t b = 0; b < kWarpSize; ++b) warp.clock[a][b] = a == b;
  }
  for (Thread* thread : block.threads) {
    thread->index = unflatten(thread->linear, launch_->block);
    thread->priority = priority_of(*thread);
    thread->done = false;
    thread->events = thread->events_since_switch = thread->meetings = 0;
    thread->causality.clear();
    prepare(thread->context, thread->stack, kStackBytes, &thread_main);
    queue_.push(thread);
  }
  counters.threads += block.threads.size();
}

cudaError_t Machine::run(const Launch& launch) {
  launch_ = &launch;
  const uint32_t blocks = launch.grid.x * launch.grid.y * launch.grid.z;
  const uint32_t threads = launch.block.x * launch.block.y * launch.block.z;
  const uint32_t resident = std::min(schedule.resident, blocks);
  random = Random(schedule.seed * 0x9e3779b97f4a7c15u + ++launch_number);
  aborted = false;
  dropped_priority_ = 0x80000000u;
  current.block_size = launch.block;
  current.grid_size = launch.grid;
  running = &main_;
  ++counters.launches;
  if (next_serial_ > UINT32_MAX - blocks) {
    std::fputs("emulation: out of block serial numbers\n", stderr);
    std::abort();
  }
  first_serial = next_serial_;
  reserve(resident, threads);
  start_race_checks();
  if (schedule.count_requests) start_requests(launch.name);

  // The host's flush and rounding modes must not affect the device.
  std::fenv_t host_environment;
  std::fegetenv(&host_environment);
  std::fesetenv(FE_DFL_ENV);

  const std::vector<uint32_t> order = order_blocks(blocks, schedule.block_order, random);
  uint32_t next = 0, live = resident;
  for (uint32_t s = 0; s < resident; ++s) start_block(*slots_[s], order[next++], 0);
  while (live > 0 && !aborted) {
    if (queue_.empty()) {
      report_deadlock();
      aborted = true;
      break;
    }
    finished_ = nullptr;
    switch_to(queue_.pop(random));
    if (!finished_ || aborted) continue;
    if (next < blocks)
      start_block(*finished_, order[next++], finished_->due);
    else
      --live;
  }
  std::fesetenv(&host_environment);
  running = nullptr;
  launch_ = nullptr;
  return aborted ? cudaErrorLaunchFailure : cudaSuccess;
}

void Machine::report_deadlock() {
  std::string text = "no thread can go on:";
  const void* site = nullptr;
  const void* other = nullptr;
  for (const auto& block : slots_) {
    if (block->serial < first_serial || block->alive == 0) continue;
    std::map<std::pair<std::string, const void*>, int> waiting;
    for (const Thread* thread : block->threads)
      if (!thread->done) ++waiting[{thread->waits_in, thread->waits_at}];
    for (const auto& [place, count] : waiting) {
      text += " block " + std::to_string(block->linear) + ": " + std::to_string(count) +
              " threads wait in " + place.first + ";";
      (site ? other : site) = place.second;
    }
  }
  report("deadlock", text, site, other);
}

std::string Machine::name_address(const void* address) const {
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (const Block* block = arena_owner(address)) {
    const size_t offset = at - reinterpret_cast<uintptr_t>(block->arena);
    for (const SharedArray& array : block->arrays)
      if (offset - array.offset < array.bytes)
        return "shared " + std::string(array.name) + " + " + std::to_string(offset - array.offset) +
               " bytes";
    return "unallocated shared memory";
  }
  size_t nearest = launch_->count;
  for (size_t i = 0; i < launch_->count; ++i) {
    const void* base = launch_->pointers[i];
    if (base && base <= address && (nearest == launch_->count || base > launch_->pointers[nearest]))
      nearest = i;
  }
  if (nearest == launch_->count) return "global memory";
  return "global: kernel argument " + std::to_string(nearest) + " + " +
         std::to_string(at - reinterpret_cast<uintptr_t>(launch_->pointers[nearest])) + " bytes";
}

bool Machine::in_arena(const void* address) const {
  return reinterpret_cast<uintptr_t>(address) - reinterpret_cast<uintptr_t>(arenas_) <
         arena_count_ * kArenaBytes;
}

Block* Machine::arena_owner(const void* address) const {
  if (!in_arena(address)) return nullptr;
  const size_t slot =
      static_cast<size_t>(static_cast<const char*>(address) - arenas_) / kArenaBytes;
  return slot < slots_.size() ? slots_[slot].get() : nullptr;
}

}  // namespace emulation
