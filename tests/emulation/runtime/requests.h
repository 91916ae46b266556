// Counts the requests that warps make of global memory, and the sectors of 32 bytes that they
// touch.
//
// A request is what the lanes of a warp do with one load or store instruction at a time. The
// emulation runs the lanes one after the other, so a request is put together again: accesses by
// lanes of one warp, at one instruction, that is the lane's k-th there since its last barrier or
// warp operation. Lanes that leave a loop at different times thus still meet in its rounds, as on
// a device; two branches are two instructions, and two requests.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace emulation {

struct Thread;
struct Block;

struct Requests {
  uint64_t count = 0, sectors = 0;
};

// The requests of a launch. `longest`: the loads of the warp that made most.
struct LaunchRequests {
  std::string kernel;  // mangled
  Requests loads, stores;
  uint64_t longest = 0;
};

void start_requests(const char* kernel);
void on_request(const Thread& thread, const void* address, size_t bytes, bool write,
                const void* site);
void finish_requests(const Block& block);  // when all of its threads have ended
std::vector<LaunchRequests> take_requests();

}  // namespace emulation
