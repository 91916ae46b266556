#include "races.h"

#include <algorithm>

#include "machine.h"

namespace emulation {

namespace {

struct Stamp {
  uint32_t block = 0, epoch = 0, clock = 0;
  uint16_t thread = 0;
  bool atomic = false;
  const void* site = nullptr;
};

// The last write and two reads since. A third unordered read replaces one of them.
struct Cell {
  Stamp write, read[2];
};

constexpr size_t kPageBytes = 4096, kWordBytes = 4;

// One cell per word, or per byte once a part of the word has been accessed.
struct Page {
  Cell word[kPageBytes / kWordBytes];
  bool split[kPageBytes / kWordBytes] = {};
  std::unique_ptr<Cell[]> byte;
};

constexpr size_t kMostPages = 4096;  // about 300 MB; beyond that all are dropped between launches

std::unordered_map<uintptr_t, std::unique_ptr<Page>> pages;
std::unordered_map<uintptr_t, ReleaseLog> logs;
uintptr_t last_page_number = 0;
Page* last_page = nullptr;

Page& page_of(uintptr_t address) {
  const uintptr_t number = address / kPageBytes;
  if (last_page && number == last_page_number) return *last_page;
  std::unique_ptr<Page>& page = pages[number];
  if (!page) page = std::make_unique<Page>();
  last_page_number = number;
  last_page = page.get();
  return *page;
}

uint32_t clock_of(const Thread& thread) { return thread.warp->clock[thread.lane][thread.lane]; }

bool covers(const Knowledge& known, const Stamp& stamp) {
  const auto found = known.find(stamp.block);
  if (found == known.end()) return false;
  const View& view = found->second;
  return stamp.epoch < view.epoch ||
         std::any_of(
             view.clocks.begin(), view.clocks.end(),
             [&](const auto& entry) {
               return entry.first == stamp.thread && entry.second >= stamp.clock;
             });
}

bool ordered(const Thread& thread, const Stamp& stamp) {
  const Block& block = *thread.block;
  if (stamp.block == block.serial) {
    if (stamp.thread == thread.linear || stamp.epoch < block.epoch) return true;
    if (stamp.thread / kWarpSize == thread.linear / kWarpSize &&
        thread.warp->clock[thread.lane][stamp.thread % kWarpSize] >= stamp.clock)
      return true;
  }
  return covers(thread.causality.known, stamp) || covers(block.causality.known, stamp);
}

void learn(View& to, const View& from) {
  to.epoch = std::max(to.epoch, from.epoch);
  for (const auto& [thread, clock] : from.clocks) {
    const auto same = std::find_if(to.clocks.begin(), to.clocks.end(),
                                   [&](const auto& entry) { return entry.first == thread; });
    if (same == to.clocks.end())
      to.clocks.emplace_back(thread, clock);
    else
      same->second = std::max(same->second, clock);
  }
}

void learn(Knowledge& to, const Knowledge& from) {
  for (const auto& [block, view] : from) learn(to[block], view);
}

const char* name_of(Access access) {
  return access == Access::kRead ? "a read" : access == Access::kWrite ? "a write" : "an atomic";
}

void report_race(const Thread& thread, uintptr_t address, Access access, const Stamp& earlier,
                 const char* earlier_name, const void* site) {
  const void* at = reinterpret_cast<const void*>(address);
  const std::string other_block = earlier.block == thread.block->serial
                                      ? "the same block"
                                      : "block number " +
                                            std::to_string(earlier.block - machine.first_serial) +
                                            " in start order";
  machine.report("race",
                 machine.name_address(at) + ": " + name_of(access) + " by " + describe(thread) +
                     " is not ordered after " + earlier_name + " by thread " +
                     std::to_string(earlier.thread) + " of " + other_block,
                 site, earlier.site);
}

// Ignores stamps of blocks before `oldest`: they belong to an earlier launch or, in shared memory,
// to an earlier block with the same memory.
void check_and_record(Thread& thread, Cell& cell, uintptr_t address, Access access, uint32_t oldest,
                      const void* site) {
  const auto unordered = [&](const Stamp& stamp) {
    return stamp.block >= oldest && !ordered(thread, stamp);
  };
  const bool atomic = access == Access::kAtomic;
  const Stamp stamp{thread.block->serial,
                    thread.block->epoch,
                    clock_of(thread),
                    static_cast<uint16_t>(thread.linear),
                    atomic,
                    site};
  if (!(atomic && cell.write.atomic) && unordered(cell.write))
    report_race(thread, address, access, cell.write, cell.write.atomic ? "an atomic" : "a write",
                site);
  if (access != Access::kRead) {
    for (const Stamp& read : cell.read)
      if (unordered(read)) report_race(thread, address, access, read, "a read", site);
    cell = Cell{stamp, {}};
    return;
  }
  for (Stamp& read : cell.read) {
    if (unordered(read)) continue;
    read = stamp;
    return;
  }
  cell.read[machine.random.below(2)] = stamp;
}

// Shared memory counts as unwritten at the start of each block, even if an earlier block wrote it.
void check_shared(const Thread& thread, const Cell& cell, uintptr_t address, Access access,
                  const void* site) {
  if (access == Access::kWrite || cell.write.block == thread.block->serial) return;
  machine.report("uninitialized",
                 describe(thread) + " reads " +
                     machine.name_address(reinterpret_cast<const void*>(address)) +
                     ", which nobody in its block has written",
                 site);
}

bool check_bounds(const Thread& thread, uintptr_t address, size_t bytes, const void* site) {
  const Block& block = *thread.block;
  const uintptr_t offset = address - reinterpret_cast<uintptr_t>(block.arena);
  for (const SharedArray& array : block.arrays)
    if (offset >= array.offset && offset + bytes <= array.offset + array.bytes) return true;
  machine.report(
      "shared-out-of-bounds",
      describe(thread) + " accesses shared memory outside its block's arrays, " +
          (block.arrays.empty() ? "which are none"
                                : std::to_string(static_cast<int64_t>(offset) -
                                                 static_cast<int64_t>(block.arrays.back().offset)) +
                                      " bytes from the start of " + block.arrays.back().name),
      site);
  return false;
}

}  // namespace

void Causality::clear() {
  known.clear();
  unfenced.clear();
  release.reset();
}

void Causality::join(Causality& from) {
  if (!from.known.empty()) {
    learn(known, from.known);
    from.known.clear();
  }
  unfenced.insert(unfenced.end(), from.unfenced.begin(), from.unfenced.end());
  from.unfenced.clear();
}

void start_race_checks() {
  logs.clear();
  if (pages.size() <= kMostPages) return;
  pages.clear();
  last_page = nullptr;
}

void on_access(Thread& thread, const void* start, size_t bytes, Access access, const void* site) {
  auto address = reinterpret_cast<uintptr_t>(start);
  const bool shared = machine.in_arena(start);
  if (shared && !check_bounds(thread, address, bytes, site)) return;
  const uint32_t oldest = shared ? thread.block->serial : machine.first_serial;
  const auto visit = [&](Cell& cell) {
    if (shared) check_shared(thread, cell, address, access, site);
    check_and_record(thread, cell, address, access, oldest, site);
  };
  for (const uintptr_t end = address + bytes; address < end;) {
    Page& page = page_of(address);
    const size_t in_page = address % kPageBytes, word = in_page / kWordBytes;
    const bool whole = address % kWordBytes == 0 && end - address >= kWordBytes;
    if (whole && !page.split[word]) {
      visit(page.word[word]);
      address += kWordBytes;
      continue;
    }
    if (!page.byte) page.byte = std::make_unique<Cell[]>(kPageBytes);
    if (!page.split[word]) {
      page.split[word] = true;
      std::fill_n(&page.byte[word * kWordBytes], kWordBytes, page.word[word]);
    }
    visit(page.byte[in_page]);
    ++address;
  }
}

void on_fence(Thread& thread, bool device_scope) {
  Causality& mine = thread.causality;
  const auto acquire = [&](const auto& unfenced) {
    for (const auto& [log, length] : unfenced)
      for (size_t i = 0; i < length; ++i) {
        const Release& release = *(*log)[i];
        const bool in_scope = device_scope && release.device_scope;
        if (in_scope || release.block == thread.block->serial) learn(mine.known, release.knowledge);
      }
  };
  acquire(mine.unfenced);
  acquire(thread.block->causality.unfenced);
  mine.unfenced.clear();

  auto release = std::make_shared<Release>();
  release->block = thread.block->serial;
  release->device_scope = device_scope;
  release->knowledge = mine.known;
  learn(release->knowledge, thread.block->causality.known);
  View own{thread.block->epoch, {}};
  const uint32_t first = thread.linear - thread.lane;
  for (uint32_t lane = 0; lane < kWarpSize; ++lane)
    if (const uint32_t clock = thread.warp->clock[thread.lane][lane])
      own.clocks.emplace_back(first + lane, clock);
  learn(release->knowledge[thread.block->serial], own);
  mine.release = std::move(release);
  ++thread.warp->clock[thread.lane][thread.lane];
}

void on_atomic(Thread& thread, const void* address) {
  Causality& mine = thread.causality;
  ReleaseLog& log = logs[reinterpret_cast<uintptr_t>(address)];
  if (!log.empty()) {
    if (!mine.unfenced.empty() && mine.unfenced.back().first == &log)
      mine.unfenced.back().second = log.size();
    else
      mine.unfenced.emplace_back(&log, log.size());
  }
  if (mine.release && (log.empty() || log.back() != mine.release)) log.push_back(mine.release);
}

void on_barrier(Block& block) {
  for (Thread* thread : block.threads) block.causality.join(thread->causality);
}

void on_sync_warp(Warp& warp, uint32_t mask) {
  uint32_t joined[kWarpSize] = {};
  Causality passed_on;
  for (uint32_t lane = 0; lane < kWarpSize; ++lane) {
    if (!(mask >> lane & 1)) continue;
    for (uint32_t of = 0; of < kWarpSize; ++of)
      joined[of] = std::max(joined[of], warp.clock[lane][of]);
    passed_on.join(warp.thread[lane]->causality);
  }
  for (uint32_t lane = 0; lane < kWarpSize; ++lane) {
    if (!(mask >> lane & 1)) continue;
    std::copy_n(joined, kWarpSize, warp.clock[lane]);
    ++warp.clock[lane][lane];
    warp.thread[lane]->causality.known = passed_on.known;
    warp.thread[lane]->causality.unfenced = passed_on.unfenced;
  }
}

void observe(const void* address, size_t bytes, bool write, const void* site) {
  Thread* thread = machine.running;
  if (!thread || !thread->block || machine.aborted) return;
  const auto at = reinterpret_cast<uintptr_t>(address);
  if (at - reinterpret_cast<uintptr_t>(thread->stack) < kStackBytes) return;
  if (at - reinterpret_cast<uintptr_t>(&current) < sizeof current) return;
  ++machine.counters.accesses;
  machine.spend(site);
  machine.maybe_yield(machine.schedule.access_yield);
  if (machine.schedule.count_requests && !machine.in_arena(address))
    on_request(*thread, address, bytes, write, site);
  if (machine.schedule.check_races)
    on_access(*thread, address, bytes, write ? Access::kWrite : Access::kRead, site);
}

}  // namespace emulation
