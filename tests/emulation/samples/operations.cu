// Every warp collective, block vote and atomic that the emulation models, for comparison with plain
// loops.
#include "cuda/launch.cuh"
#include "samples.cuh"

namespace nondet::cuda {

__global__ void collectives_kernel(const uint32_t* in, uint32_t* out) {
  const uint32_t value = in[threadIdx.x], all = 0xffffffffu;
  const unsigned lane = threadIdx.x % 32;
  const unsigned third = lane % 3 == 0 ? 0x49249249u : lane % 3 == 1 ? 0x92492492u : 0x24924924u;
  uint32_t* row = out + threadIdx.x * kCollectiveWords;
  row[0] = __shfl_sync(all, value, static_cast<int>(lane * 7 % 32));
  row[1] = __shfl_up_sync(all, value, 3u);
  row[2] = __shfl_down_sync(all, value, 5u);
  row[3] = __shfl_xor_sync(all, value, 9);
  row[4] = __shfl_sync(all, value, 11, 8);
  row[5] = __shfl_up_sync(all, value, 2u, 16);
  row[6] = __shfl_down_sync(all, value, 1u, 4);
  row[7] = __shfl_xor_sync(all, value, 4, 8);
  row[8] = __ballot_sync(all, value % 2 == 1);
  row[9] = static_cast<uint32_t>(__any_sync(all, value == 3)) +
           2 * static_cast<uint32_t>(__all_sync(all, value < 90));
  row[10] = __match_any_sync(all, value % 5);
  row[11] = __reduce_add_sync(all, value);
  row[12] = __reduce_min_sync(all, value) + 1000 * __reduce_max_sync(all, value);
  row[13] = __reduce_and_sync(all, value | 64) ^ __reduce_or_sync(all, value) << 8 ^
            __reduce_xor_sync(all, value) << 16;
  // Three independent groups of lanes.
  row[14] = lane % 3 == 0   ? __reduce_add_sync(third, value)
            : lane % 3 == 1 ? __ballot_sync(third, value > 50)
                            : __shfl_sync(third, value, 5);
  row[15] = static_cast<uint32_t>(__syncthreads_count(value % 3 == 0)) +
            1000 * static_cast<uint32_t>(__syncthreads_and(value < 1000) != 0) +
            2000 * static_cast<uint32_t>(__syncthreads_or(value == 7) != 0);
}

template <class T>
__device__ void every_atomic(T* cell, T value) {
  atomicAdd(&cell[0], value);
  atomicMin(&cell[1], value);
  atomicMax(&cell[2], value);
  atomicAnd(&cell[3], static_cast<T>(value | 3));
  atomicOr(&cell[4], value);
  atomicXor(&cell[5], value);
  atomicExch(&cell[6], value);
  T seen = atomicCAS(&cell[7], T{0}, T{0}), expected;
  do {
    expected = seen;
    seen = atomicCAS(&cell[7], expected, static_cast<T>(expected + 1));
  } while (seen != expected);
}

// in: below 2^17, so that each value and the sum are subnormal as float bits. floats: the sum by
// global and by shared atomics.
__global__ void atomics_kernel(const int32_t* in, int32_t* signed_cells, uint32_t* cells,
                               unsigned long long* wide_cells, float* floats,
                               uint32_t* increments) {
  NONDET_SHARED(int32_t, shared_cells, 8);
  NONDET_SHARED(float, shared_sum, 1);
  const int32_t value = in[threadIdx.x];
  if (threadIdx.x < 8) shared_cells[threadIdx.x] = 0;
  if (threadIdx.x == 0) shared_sum[0] = 0;
  __syncthreads();
  every_atomic(shared_cells, value);
  every_atomic(cells, static_cast<uint32_t>(value));
  every_atomic(wide_cells, static_cast<unsigned long long>(value) << 20);
  const float small = __int_as_float(value);
  atomicAdd(&floats[0], small);
  atomicAdd(&shared_sum[0], small);
  atomicInc(increments, 40u);
  __syncthreads();
  if (threadIdx.x < 8) signed_cells[threadIdx.x] = shared_cells[threadIdx.x];
  if (threadIdx.x == 0) floats[1] = shared_sum[0];
}

void collectives(const uint32_t* in, uint32_t* out, cudaStream_t stream) {
  launch("collectives", collectives_kernel, 1, 64, 0, stream, in, out);
}

void atomics(const int32_t* in, int32_t* signed_cells, uint32_t* cells, uint64_t* wide_cells,
             float* floats, uint32_t* increments, cudaStream_t stream) {
  launch("atomics", atomics_kernel, 1, 64, 0, stream, in, signed_cells, cells,
         reinterpret_cast<unsigned long long*>(wide_cells), floats, increments);
}

}  // namespace nondet::cuda
