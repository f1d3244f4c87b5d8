// What happens to a convolution's sums before they are stored: the activation, and how the statistics of the blocks'
// pixels are kept and merged.
#pragma once
#include "common.cuh"
#include "last_block.cuh"

enum Activation { LINEAR, RELU, SIGMOID, TANH };

__device__ __forceinline__ float exp_of(float x) { return expf(x); }
__device__ __forceinline__ double exp_of(double x) { return exp(x); }
__device__ __forceinline__ float tanh_of(float x) { return tanhf(x); }
__device__ __forceinline__ double tanh_of(double x) { return tanh(x); }

template <int KIND, typename X> __device__ __forceinline__ X activated(X x) {
  if (KIND == RELU) return relu_of(x);
  if (KIND == TANH) return tanh_of(x);
  if (KIND == SIGMOID) {  // the exponential of -|x| never overflows
    X small = exp_of(x < 0 ? x : -x);
    return (x >= 0 ? X(1) : small) / (X(1) + small);
  }
  return x;
}

// Statistics of a block's pixels: a record of each channel's mean, each channel's sum of squared distances from it, and
// how many pixels there were. Records lie as [slab of N channels][block], so those of a slab are one range of memory,
// which the last block of the slab merges (below), or conv_statistics.cu where they are too many to fit into its shared
// memory. A slab ends with its group: what a record says about channels past that end is not used.
template <int N, typename S> struct Record {
  static constexpr int SPREAD = N, COUNT = 2 * N, SIZE = 2 * N + 16 / (int)sizeof(S);  // whole chunks of 16 bytes
};

// V neighbouring channels of a thread.
template <typename S, int V> struct __align__(16) Channels {
  S at[V];
};

// Adds up `sum`, what each thread found for its V channels, threadIdx.x % (N / V) * V and on, over the threads of the
// same channels, in a fixed order, and gives every one of them the total. `parts` is N elements of shared memory for
// each warp, which nobody reads any more behind the last barrier, and no one may write before the next. A function of
// its own, since a block needs it up to four times, and the first time is slow: instructions come from L2.
template <int N, int V, int THREADS, typename S>
__device__ __noinline__ Channels<S, V> add_over_rows(Channels<S, V> sum, S* parts) {
  const int lane = threadIdx.x % 32, n = threadIdx.x % (N / V) * V;
  static_assert(N / V <= 32 && 32 % (N / V) == 0, "every warp has all channels");
#pragma unroll
  for (int other = N / V; other < 32; other *= 2) {
#pragma unroll
    for (int v = 0; v < V; v++) sum.at[v] += __shfl_xor_sync(0xffffffffu, sum.at[v], other);
  }
  if (lane < N / V) {
#pragma unroll
    for (int v = 0; v < V; v++) parts[threadIdx.x / 32 * N + n + v] = sum.at[v];
  }
  __syncthreads();
#pragma unroll
  for (int v = 0; v < V; v++) sum.at[v] = parts[n + v];
#pragma unroll
  for (int warp = 1; warp < THREADS / 32; warp++) {
#pragma unroll
    for (int v = 0; v < V; v++) sum.at[v] += parts[warp * N + n + v];
  }
  return sum;
}

// Mean and population variance of the N channels of a slab from the records of all blocks, by the formulas and the two
// passes of conv_statistics.cu. All records come to shared memory first, in one journey: `tile` is room for them. What
// is read was written by other multiprocessors, so L1 is passed by. The order of sums is fixed, whichever block is the
// last. `parts` is as for add_over_rows, twice.
template <int N, int THREADS, typename S>
__device__ __forceinline__ void merge_records(const S* records, void* tile, S* parts, S* mean, S* variance, int groups,
                                              int channels, S count) {
  const int V = 4, SIZE = Record<N, S>::SIZE;
  const char* from = (const char*)records + threadIdx.x * 16;
  const char* end = (const char*)(records + (long long)groups * SIZE);
  char* to = (char*)tile + threadIdx.x * 16;
#pragma unroll 1
  for (; from < end; from += THREADS * 16, to += THREADS * 16) {
#if __CUDA_ARCH__ >= 800
    copy_async_16(to, from, 16);
#else
    ((unsigned long long*)to)[0] = __ldcg((const unsigned long long*)from);
    ((unsigned long long*)to)[1] = __ldcg((const unsigned long long*)from + 1);
#endif
  }
#if __CUDA_ARCH__ >= 800
  commit_copies();
  wait_for_copies<0>();
#endif
  __syncthreads();

  // Few rounds that many instructions would be fetched for: small loops, and one for both passes.
  const int n = threadIdx.x % (N / V) * V;
  const S share = S(1) / count;
  S centre[V] = {};
#pragma unroll 1
  for (int pass = 0; pass < 2; pass++) {
    Channels<S, V> sum = {};
#pragma unroll 1
    for (int group = threadIdx.x / (N / V); group < groups; group += THREADS / (N / V)) {
      const S* record = (const S*)tile + group * SIZE;
      const S size = record[Record<N, S>::COUNT];
      const Channels<S, V> at = *(const Channels<S, V>*)(record + n);
      const Channels<S, V> spread = *(const Channels<S, V>*)(record + Record<N, S>::SPREAD + n);
      const bool second = unknown(pass) != 0;
#pragma unroll
      for (int v = 0; v < V; v++) {
        S distance = at.at[v] - centre[v], part = size * distance;
        sum.at[v] += second ? spread.at[v] + part * distance : part;
      }
    }
    sum = add_over_rows<N, V, THREADS>(sum, parts + pass * (THREADS / 32 * N));
    S* result = pass == 0 ? mean : variance;
#pragma unroll
    for (int v = 0; v < V; v++) {
      centre[v] = sum.at[v] * share;
      if (threadIdx.x < N / V && n + v < channels) result[n + v] = centre[v];
    }
  }
}
