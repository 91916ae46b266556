// The emulated device: threads, warps and resident blocks, and the loop that runs a grid.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "context.h"
#include "emulation/device.h"
#include "emulation/host.h"
#include "races.h"
#include "requests.h"
#include "schedule.h"

namespace emulation {

inline constexpr uint32_t kWarpSize = 32;
inline constexpr size_t kStackBytes = 64 << 10;
inline constexpr size_t kArenaBytes = 256 << 10;  // address space of one block's shared memory

struct Block;
struct Warp;

struct Thread {
  Context context;
  char* stack = nullptr;
  Block* block = nullptr;
  Warp* warp = nullptr;
  uint3 index{};
  uint32_t linear = 0;  // index in its block
  uint32_t lane = 0;
  bool done = true;
  uint64_t priority = 0;
  const char* waits_in = "";
  const void* waits_at = nullptr;
  uint64_t result = 0;  // of the last barrier or warp operation
  uint64_t events = 0;
  uint32_t events_since_switch = 0;
  uint32_t meetings = 0;  // barriers and warp operations passed
  Causality causality;
};

struct Collective {
  uint32_t mask = 0, arrived = 0;
  WarpOp op{};
  int line = 0;
  const void* site = nullptr;
};

struct Warp {
  uint32_t full = 0, alive = 0;
  Thread* thread[kWarpSize] = {};
  uint64_t value[kWarpSize] = {};
  int argument[kWarpSize] = {}, width[kWarpSize] = {};
  uint32_t open = 0;  // collectives in progress, by the lowest lane of their mask
  Collective collective[kWarpSize];
  uint32_t clock[kWarpSize][kWarpSize] = {};  // clock[a][b]: lane b's clock as lane a knows it
};

struct SharedArray {
  const void* key;
  const char* name;
  size_t offset, bytes;
};

struct Block {
  uint32_t serial = 0;  // unique over all launches
  uint32_t linear = 0;  // index in its grid
  uint3 index{};
  double due = 0;  // the time at which it works, under Policy::kHardware
  std::vector<Thread*> threads;
  std::vector<Warp> warps;
  uint32_t alive = 0, arrived = 0;
  int barrier_line = 0;
  BarrierOp barrier_op{};
  const void* barrier_site = nullptr;
  bool barrier_mixed = false;
  uint32_t predicate_count = 0;
  uint32_t epoch = 1;  // one plus the number of barriers passed
  char* arena = nullptr;
  size_t arena_used = 0;
  std::vector<SharedArray> arrays;
  Causality causality;
};

struct Counters {
  uint64_t launches = 0, threads = 0, switches = 0, barriers = 0, collectives = 0, atomics = 0,
           accesses = 0;
};

struct Report {
  std::string kind, text;
  const void* site;   // code address, null if none
  const void* other;  // the other access of a race
};

class Machine {
 public:
  Schedule schedule;  // in effect for the next launch
  Counters counters;
  std::vector<Report> reports;
  uint64_t launch_number = 0;  // since the schedule was set; selects the random numbers
  Random random;
  Thread* running = nullptr;
  bool aborted = false;
  uint32_t first_serial = 1;  // serial of the launch's first block

  cudaError_t run(const Launch& launch);
  // Reports once for each kind and pair of sites; `text` names the thread and the memory.
  void report(const char* kind, std::string text, const void* site, const void* other = nullptr);
  // Ends the launch with a report; does not return to the emulated thread.
  [[noreturn]] void abort_launch(const char* kind, std::string text, const void* site);
  void make_runnable(Thread* thread) { queue_.push(thread); }
  void wait(const char* in, const void* at);  // returns after make_runnable()
  void maybe_yield(double probability);
  void spend(const void* site);  // counts one event of the running thread
  std::string name_address(const void* address) const;
  bool in_arena(const void* address) const;
  Block* arena_owner(const void* address) const;

 private:
  void reserve(uint32_t resident, uint32_t threads);
  void start_block(Block& block, uint32_t linear, double now);
  uint64_t priority_of(const Thread& thread);
  void switch_to(Thread* thread);
  void reschedule();
  void yield();
  void report_deadlock();
  static void thread_main();
  void finish_thread();

  const Launch* launch_ = nullptr;
  RunQueue queue_;
  Thread main_;
  std::vector<std::unique_ptr<Thread>> pool_;
  std::vector<std::unique_ptr<Block>> slots_;
  char* arenas_ = nullptr;
  size_t arena_count_ = 0;
  Block* finished_ = nullptr;
  uint32_t next_serial_ = 1, dropped_priority_ = 0;
};

extern Machine machine;

std::string describe(const Thread& thread);
void complete_barrier(Block& block);
void leave_warp(Thread& thread);
void start_shared(Block& block, size_t dynamic_bytes);
void check_guards(const Block& block);

}  // namespace emulation
