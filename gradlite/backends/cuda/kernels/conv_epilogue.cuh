// What happens to a convolution's sums before they are stored: the activation, and statistics of the block's pixels,
// which the last block merges.
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

// Statistics of a block: count, then for each channel its mean and the sum of squared distances from it. They lie in
// one array, [blocks] counts, [blocks][channels] means, [blocks][channels] sums. Few are merged by the last block that
// comes here, many by conv_statistics.cu, which shares the work among more threads.
template <typename S>
__device__ __forceinline__ void store_statistics(S* partials, long long blocks, long long block, int channels,
                                                 int channel, S count, S mean, S squares) {
  if (channel == 0) partials[block] = count;
  S* means = partials + blocks;
  means[block * channels + channel] = mean;
  means[(blocks + block) * channels + channel] = squares;
}

// Adds the rows of parts[PARTS][N] in order; every thread of the block calls it, and finds the sums in row 0.
template <int PARTS, int N, int THREADS, typename S> __device__ __forceinline__ void add_parts(S* parts) {
  __syncthreads();
  for (int n = threadIdx.x; n < N; n += THREADS) {
    S sum = parts[n];
    for (int p = 1; p < PARTS; p++) sum += parts[p * N + n];
    parts[n] = sum;
  }
  __syncthreads();
}

// Mean and population variance of N channels from those of `groups` blocks, by the formulas and the two passes of
// conv_statistics.cu. THREADS / N lanes share the groups of a channel, and their sums are added in order: the same bits
// whichever block is the last. What is read was written by other multiprocessors, so L1 is passed by. Counts come from
// `size_of(group)`: those in `partials` are written by the blocks of the first channels, for which nobody has waited.
template <int N, int THREADS, typename S, typename Size>
__device__ __forceinline__ void merge_groups(const S* partials, S* mean, S* variance, int groups, int channels,
                                             int first, int end, S count, Size size_of) {
  const int LANES = THREADS / N, AHEAD = 64 / sizeof(S);
  static_assert(LANES * N == THREADS, "threads share the channels evenly");
  __shared__ S scratch[THREADS];
  const int lane = threadIdx.x / N, channel = first + threadIdx.x % N;
  const bool inside = channel < end;
  const S* means = partials + groups;
  const S* squares = means + (long long)groups * channels;
  S centre = 0;
#pragma unroll
  for (int pass = 0; pass < 2; pass++) {
    S sum = 0;
    for (int start = lane; inside && start < groups; start += LANES * AHEAD) {
      S at[AHEAD], spread[AHEAD];  // loads on their way together: each takes as long as L2 does
#pragma unroll
      for (int i = 0; i < AHEAD; i++) {
        const long long group = start + i * LANES;
        const bool there = group < groups;
        at[i] = there ? __ldcg(means + group * channels + channel) : S(0);
        spread[i] = pass == 1 && there ? __ldcg(squares + group * channels + channel) : S(0);
      }
#pragma unroll
      for (int i = 0; i < AHEAD; i++) {
        if (start + i * LANES >= groups) break;
        const S size = (S)size_of(start + i * LANES);
        sum += pass == 0 ? size * at[i] : spread[i] + size * (at[i] - centre) * (at[i] - centre);
      }
    }
    scratch[threadIdx.x] = sum;
    __syncthreads();
    S total = 0;
#pragma unroll
    for (int other = 0; other < LANES; other++) total += scratch[other * N + threadIdx.x % N];
    __syncthreads();
    if (pass == 0) {
      centre = total / count;
    } else if (lane == 0 && inside) {
      mean[channel] = centre;
      variance[channel] = total / count;
    }
  }
}
