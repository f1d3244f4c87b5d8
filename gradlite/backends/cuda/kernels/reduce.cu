// variant: T={float,half_t} C=float R=float REDUCTION={Sum,LogSumExp}
// variant: T=bfloat16_t C=float R=bfloat16_t REDUCTION=Sum
// variant: T=float C=float R={long long} REDUCTION=ArgMax
// variant: T=double C=double R=double REDUCTION={Mean,Max,LogSumExp}
// variant: T=bool C=bool R={long long} REDUCTION=CountNonzero
// variant: T=bool C=bool R=bool REDUCTION={All,Any}
// Reductions of one axis of (outer, length, inner) arrays, which stand for any run of neighbouring axes.
//
// A block is `columns` x `rows` x groups threads: neighbouring columns are neighbouring elements of `inner`, the rows
// share the reduced axis, the groups take neighbouring elements of `outer`. With inner = 1 there is one column, and the
// rows read neighbouring elements: loads are coalesced either way. A thread takes every rows-th element of its chunk,
// up to eight loads in flight, then the rows are joined by a tree in shared memory. An axis longer than a chunk leaves
// states behind, (outer, chunks, inner), which `reduce_states` reduces in the same way. The order depends on sizes and
// on the number of multiprocessors, never on the schedule.
//
// T is the element type, C the type computed in, R the result's. Bytes: the array once. Limit: memory bandwidth, for
// small arrays the latency of length / rows / 8 loads and of the tree.
#include "reductions.cuh"

typedef REDUCTION<C> Reduction;
typedef Reduction::State State;

struct Elements {
  typedef T Item;
  static const int FLIGHT = sizeof(State) > 8 ? 4 : 8;  // as many as there are registers for
  const T* array;
  __device__ T read(long long i) const { return array[i]; }
  __device__ static void put(State& s, T x, long long place) { Reduction::add(s, (C)load(x), place); }
};

struct States {
  typedef State Item;
  static const int FLIGHT = sizeof(State) > 4 ? 2 : 4;
  const State* array;
  __device__ State read(long long i) const { return array[i]; }
  __device__ static void put(State& s, State x, long long place) { Reduction::join(s, x); }
};

template <typename Source>
__device__ __forceinline__ State reduce_column(Source source, long long first, long long step, long long place,
                                               long long stop, int rows) {
  const int FLIGHT = Source::FLIGHT;  // loads before the first is used
  State state = Reduction::identity();
  for (; place + (FLIGHT - 1) * rows < stop; place += FLIGHT * rows) {
    typename Source::Item items[FLIGHT];
#pragma unroll
    for (int k = 0; k < FLIGHT; k++) items[k] = source.read(first + (place + k * rows) * step);
#pragma unroll
    for (int k = 0; k < FLIGHT; k++) Source::put(state, items[k], place + k * rows);
  }
  // What is left, fewer than FLIGHT loads, is on its way at once as well.
  typename Source::Item items[FLIGHT];
#pragma unroll
  for (int k = 0; k < FLIGHT; k++) {
    if (place + k * rows < stop) items[k] = source.read(first + (place + k * rows) * step);
  }
#pragma unroll
  for (int k = 0; k < FLIGHT; k++) {
    if (place + k * rows < stop) Source::put(state, items[k], place + k * rows);
  }
  return state;
}

template <typename Source>
__device__ __forceinline__ void reduce_block(Source source, R* results, State* states, long long outer,
                                             long long length, long long inner, long long chunk, int columns, int rows,
                                             long long count) {
  extern __shared__ __align__(16) unsigned char shared[];
  State* parts = (State*)shared;
  const int thread = threadIdx.x, column = thread % columns, row = thread / columns % rows;
  const unsigned across = (unsigned)((inner + columns - 1) / columns);
  const unsigned chunks = length > chunk ? (unsigned)((length + chunk - 1) / chunk) : 1;
  const unsigned part = blockIdx.x / across % chunks;
  const long long i = (long long)(blockIdx.x % across) * columns + column;
  const long long o = (long long)(blockIdx.x / across / chunks) * (blockDim.x / (columns * rows)) +
                      thread / (columns * rows);
  const bool inside = o < outer && i < inner;

  State state = Reduction::identity();
  if (inside) {
    const long long start = part * chunk, stop = start + chunk < length ? start + chunk : length;
    state = reduce_column(source, o * length * inner + i, inner, start + row, stop, rows);
  }
  parts[thread] = state;
  for (int half = rows / 2; half > 0; half /= 2) {
    __syncthreads();
    if (row < half) {
      Reduction::join(state, parts[thread + half * columns]);
      parts[thread] = state;
    }
  }
  if (!inside || row > 0) return;
  if (states) {
    states[(o * chunks + part) * inner + i] = state;
  } else {
    results[o * inner + i] = element<R>(Reduction::result(state, count));
  }
}

// Writes `states` where there are any, else `results`; `count` is how many elements a result stands for.
extern "C" __global__ void __launch_bounds__(1024)
reduce(const T* array, R* results, unsigned char* states, long long outer, long long length, long long inner,
       long long chunk, int columns, int rows, long long count) {
  reduce_block(Elements{array}, results, (State*)states, outer, length, inner, chunk, columns, rows, count);
}

extern "C" __global__ void __launch_bounds__(1024)
reduce_states(const unsigned char* array, R* results, unsigned char* states, long long outer, long long length,
              long long inner, long long chunk, int columns, int rows, long long count) {
  reduce_block(States{(const State*)array}, results, (State*)states, outer, length, inner, chunk, columns, rows, count);
}
