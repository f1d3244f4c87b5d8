// The last of several blocks to come to a place: the one that finds there what all of them have left.
#pragma once

// Whether this block is the last of `blocks` to come here. It sees what the others wrote before, and leaves a zero in
// the counter, as it found it; it must read what they wrote past L1, by __ldcg. `last` is a place in shared memory that
// no one uses any more behind the next barrier.
__device__ __forceinline__ bool is_last_block(int* counter, int blocks, int* last) {
  __threadfence();  // before the count tells others that this block's part is there
  __syncthreads();
  if (threadIdx.x == 0) *last = atomicAdd(counter, 1) == blocks - 1;
  __syncthreads();
  if (!*last) return false;
  __threadfence();  // after the count, before reading what it stands for
  if (threadIdx.x == 0) atomicExch(counter, 0);
  return true;
}
