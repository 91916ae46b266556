// Launchers of the sample kernels. Pointers address device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace nondet::cuda {

inline constexpr int kTreeBlock = 128;

// A planted defect of tree_sum; kNone and kSpareBarrier are correct.
enum class TreeDefect : int {
  kNone,
  kSpareBarrier,         // correct: another barrier makes the missing one redundant
  kNoBarrierInTree,      // between the levels of the tree
  kNoBarrierAfterStore,  // between the first stores and the tree
  kNoFence,              // before the partial sum is announced
  kNoAcquire,            // after the last block saw the others' announcements
  kNoBarrierAfterFlag,   // between the store of the last-block flag and its use
  kScratchReused,        // the second tree stores into what the first may still be reading
  kDivergentBarrier,     // a barrier inside the tree's condition
  kLast = kDivergentBarrier
};

// out[0] = the sum of x[0 .. n): thread t of block b adds elements t + 128 (b + blocks i), a block
// adds its threads by halving, and the last block to finish adds the blocks' sums likewise.
// partial: one value per block. done: zero before and after.
void tree_sum_float(TreeDefect defect, const float* x, int64_t n, int blocks, float* partial,
                    unsigned* done, float* out, cudaStream_t stream);
void tree_sum_double(TreeDefect defect, const double* x, int64_t n, int blocks, double* partial,
                     unsigned* done, double* out, cudaStream_t stream);

// out[0] += the sum of x[0 .. n), with one atomic per warp: the bits depend on the schedule.
void atomic_sum(const float* x, int64_t n, int blocks, float* out, cudaStream_t stream);

// Small kernels of 64 threads over in[64] and out[64], correct unless `defect`.
enum class WarpSample : int {
  kExchange,  // out[i] = in[i ^ 1] through shared memory; defect: no __syncwarp
  kRotate,    // out[i] = in of the next lane by shuffle; defect: the source lane is not in the mask
  kDivergentVote,  // out[i] = 1 if any lane of the half warp has in > 0; defect: half a warp votes
                   // with the full mask
  kReverse,  // out[i] = in[63 - i] through shared memory; defect: index 64 - i, one past the array
  kLookup,   // out[i] = in of shared memory; defect: nobody stored the odd elements
  kWait,     // out[i] = in[0] through a barrier; defect: one thread spins before it on a flag set
             // after it
  kMeet,  // out = in after all threads met; defect: one lane waits for its warp, the warp for the
          // block
  kOverrun,  // out = in through shared memory; defect: the last thread stores one past the array
  kTrap,     // out = in; defect: thread 5 traps
  kLast = kTrap
};
void warp_sample(WarpSample sample, bool defect, const float* in, float* out, cudaStream_t stream);

// Results of every collective, a row of kCollectiveWords for each of 64 threads, and of every
// atomic applied by 64 threads: 8 cells of each type (see operations.cu), two float sums, one
// wrapping increment.
inline constexpr int kCollectiveWords = 16;
void collectives(const uint32_t* in, uint32_t* out, cudaStream_t stream);
void atomics(const int32_t* in, int32_t* signed_cells, uint32_t* cells, uint64_t* wide_cells,
             float* floats, uint32_t* increments, cudaStream_t stream);

// Kernels of 64 threads over in[2048] and out[256] that read in[b + a t] each, or float4, or as
// many rows as the number of their lane (at most a, in b blocks), or in two halves of a warp.
enum class ReadSample : int { kStrided, kVectors, kTriangle, kHalves, kLast = kHalves };
void reads(ReadSample sample, const float* in, int64_t a, int64_t b, float* out,
           cudaStream_t stream);

// out[0 .. kMixedWords) from in[0 .. 8): one word for each of many operations, see mixed.cu.
inline constexpr int kMixedWords = 48;
void mixed(const uint64_t* in, uint64_t* out, cudaStream_t stream);

}  // namespace nondet::cuda
