// The last of several blocks to come to a place: the one that finds there what all of them have left.
#pragma once
#include "ptx.cuh"

// Whether this block is the last of `blocks` to come here. It sees what the others wrote before, and leaves a zero in
// the counter, as it found it; it must read what they wrote past L1, by __ldcg or an asynchronous copy. `last` is a
// place in shared memory that no one uses any more behind the next barrier.
//
// One thread counts for all: the barriers put what the others did before its count, and what they do after it.
__device__ __forceinline__ bool is_last_block(int* counter, int blocks, int* last) {
  __syncthreads();
  if (threadIdx.x == 0) {
    *last = count_and_order(counter) == blocks - 1;
    if (*last) *counter = 0;  // nobody else comes
  }
  __syncthreads();
  return *last;
}
