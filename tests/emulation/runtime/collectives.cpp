// Barriers of a block and operations of a warp.
#include <algorithm>
#include <cstdio>

#include "machine.h"

namespace emulation {

void complete_barrier(Block& block) {
  uint64_t result = block.predicate_count;
  if (block.barrier_op == BarrierOp::kAnd) result = block.predicate_count == block.arrived;
  if (block.barrier_op == BarrierOp::kOr) result = block.predicate_count != 0;
  const std::string who = "block " + std::to_string(block.linear);
  if (block.barrier_mixed)
    machine.report("divergent-barrier", who + ": its threads met in different barriers",
                   block.barrier_site);
  if (block.arrived != block.threads.size())
    machine.report("divergent-barrier",
                   who + ": " + std::to_string(block.threads.size() - block.arrived) +
                       " of its threads exited without reaching the barrier the others wait in",
                   block.barrier_site);
  if (machine.schedule.check_races) on_barrier(block);
  block.arrived = 0;
  block.barrier_mixed = false;
  ++block.epoch;
  ++machine.counters.barriers;
  for (Thread* thread : block.threads) {
    if (thread->done) continue;
    thread->result = result;
    machine.make_runnable(thread);
  }
}

int barrier(BarrierOp op, int predicate, int line) {
  const void* site = __builtin_return_address(0);
  machine.spend(site);
  Thread& thread = *machine.running;
  Block& block = *thread.block;
  if (block.arrived == 0) {
    block.barrier_op = op;
    block.barrier_line = line;
    block.barrier_site = site;
    block.predicate_count = 0;
  } else if (block.barrier_line != line || block.barrier_op != op) {
    block.barrier_mixed = true;
  }
  ++block.arrived;
  block.predicate_count += predicate != 0;
  if (block.arrived == block.alive) complete_barrier(block);
  machine.wait("__syncthreads", site);
  ++thread.meetings;
  return static_cast<int>(thread.result);
}

namespace {

const char* name_of(WarpOp op) {
  constexpr const char* kName[] = {"__shfl_sync",
                                   "__shfl_up_sync",
                                   "__shfl_down_sync",
                                   "__shfl_xor_sync",
                                   "a vote",
                                   "__syncwarp",
                                   "__reduce_add_sync",
                                   "__reduce_min_sync",
                                   "__reduce_max_sync",
                                   "__reduce_and_sync",
                                   "__reduce_or_sync",
                                   "__reduce_xor_sync",
                                   "__match_any_sync"};
  return kName[static_cast<int>(op)];
}

std::string hex(uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof text, "0x%08x", mask);
  return text;
}

template <class F>
void for_each_lane(uint32_t mask, F f) {
  for (; mask; mask &= mask - 1) f(static_cast<uint32_t>(__builtin_ctz(mask)));
}

uint32_t reduce(WarpOp op, uint32_t a, uint32_t b) {
  switch (op) {
    case WarpOp::kAdd:
      return a + b;
    case WarpOp::kMin:
      return std::min(a, b);
    case WarpOp::kMax:
      return std::max(a, b);
    case WarpOp::kAnd:
      return a & b;
    case WarpOp::kOr:
      return a | b;
    default:
      return a ^ b;
  }
}

// Returns the lane whose value `lane` takes, or `lane` if the shuffle leaves its segment.
int shuffle_source(WarpOp op, int lane, int argument, int width) {
  const int base = lane & ~(width - 1);
  switch (op) {
    case WarpOp::kShuffle:
      return base + (argument & (width - 1));
    case WarpOp::kShuffleUp:
      return lane - argument < base ? lane : lane - argument;
    case WarpOp::kShuffleDown:
      return lane + argument >= base + width ? lane : lane + argument;
    default:
      return (lane ^ argument) >= base + width ? lane : lane ^ argument;
  }
}

void complete(Warp& warp, const Collective& collective) {
  const uint32_t lanes = collective.arrived;
  uint64_t result[kWarpSize] = {};
  switch (collective.op) {
    case WarpOp::kShuffle:
    case WarpOp::kShuffleUp:
    case WarpOp::kShuffleDown:
    case WarpOp::kShuffleXor:
      for_each_lane(lanes, [&](uint32_t lane) {
        const auto source = static_cast<uint32_t>(shuffle_source(
            collective.op, static_cast<int>(lane), warp.argument[lane], warp.width[lane]));
        if (lanes >> source & 1) {
          result[lane] = warp.value[source];
          return;
        }
        result[lane] = 0x7fa5a5a57fa5a5a5u ^ (machine.random.bits() & 0xffff);
        machine.report("bad-shuffle",
                       describe(*warp.thread[lane]) + " reads lane " + std::to_string(source) +
                           ", which does not take part in the shuffle (mask " +
                           hex(collective.mask) + ")",
                       collective.site);
      });
      break;
    case WarpOp::kBallot: {
      uint32_t votes = 0;
      for_each_lane(lanes,
                    [&](uint32_t lane) { votes |= uint32_t{warp.value[lane] != 0} << lane; });
      for_each_lane(lanes, [&](uint32_t lane) { result[lane] = votes; });
      break;
    }
    case WarpOp::kMatchAny:
      for_each_lane(lanes, [&](uint32_t a) {
        for_each_lane(
            lanes, [&](uint32_t b) { result[a] |= uint32_t{warp.value[a] == warp.value[b]} << b; });
      });
      break;
    case WarpOp::kSync:
      if (machine.schedule.check_races) on_sync_warp(warp, lanes);
      break;
    default: {
      const auto first = static_cast<uint32_t>(__builtin_ctz(lanes));
      auto total = static_cast<uint32_t>(warp.value[first]);
      for_each_lane(lanes & (lanes - 1), [&](uint32_t lane) {
        total = reduce(collective.op, total, static_cast<uint32_t>(warp.value[lane]));
      });
      for_each_lane(lanes, [&](uint32_t lane) { result[lane] = total; });
    }
  }
  ++machine.counters.collectives;
  for_each_lane(lanes, [&](uint32_t lane) {
    warp.thread[lane]->result = result[lane];
    machine.make_runnable(warp.thread[lane]);
  });
}

// An operation does not wait for lanes that have exited, even if the mask names them.
void complete_if_all_there(Warp& warp, uint32_t slot) {
  const Collective collective = warp.collective[slot];
  if (collective.mask & warp.alive & ~collective.arrived) return;
  warp.open &= ~(1u << slot);
  if (collective.arrived) complete(warp, collective);
}

}  // namespace

void leave_warp(Thread& thread) {
  Warp& warp = *thread.warp;
  warp.alive &= ~(1u << thread.lane);
  for_each_lane(warp.open, [&](uint32_t slot) { complete_if_all_there(warp, slot); });
}

uint64_t collective(WarpOp op, unsigned mask, uint64_t value, int argument, int width, int line) {
  const void* site = __builtin_return_address(0);
  machine.spend(site);
  Thread& thread = *machine.running;
  Warp& warp = *thread.warp;
  const auto refuse = [&](const char* kind, const std::string& why) {
    machine.abort_launch(kind,
                         describe(thread) + ": " + name_of(op) + " with mask " + hex(mask) + ": " +
                             why + " (live lanes " + hex(warp.alive) + ")",
                         site);
  };
  if (!(mask >> thread.lane & 1)) refuse("bad-mask", "the calling lane is not in its mask");
  if (width < 1 || width > 32 || (width & (width - 1)))
    refuse("bad-mask", "the width is " + std::to_string(width) + ", not a power of two up to 32");
  const auto slot = static_cast<uint32_t>(__builtin_ctz(mask));
  for_each_lane(warp.open, [&](uint32_t other) {
    const Collective& open = warp.collective[other];
    if ((open.mask & mask) && (open.mask != mask || open.op != op || open.line != line))
      refuse("warp-mismatch", std::string("lanes of it wait in ") + name_of(open.op) + " at line " +
                                  std::to_string(open.line) + " with mask " + hex(open.mask));
  });
  Collective& mine = warp.collective[slot];
  if (!(warp.open >> slot & 1)) {
    warp.open |= 1u << slot;
    mine = {mask, 0, op, line, site};
  }
  warp.value[thread.lane] = value;
  warp.argument[thread.lane] = argument;
  warp.width[thread.lane] = width;
  mine.arrived |= 1u << thread.lane;
  complete_if_all_there(warp, slot);
  machine.wait(name_of(op), site);
  ++thread.meetings;
  return thread.result;
}

}  // namespace emulation
