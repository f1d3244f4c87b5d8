// variant: T=float S=float L={long long,unsigned char} TEAM={8,32,256}
// variant: T=half_t S=float L=unsigned TEAM=32
// variant: T=double S=double L=int TEAM=256
// Cross-entropies of logits (rows, columns), fused with softmax; the labels are class numbers of type L, or rows.
//
// A team of threads a row, as in softmax.cu. Bytes: the logits, the probabilities and the labels once; the gradients
// read probabilities and labels and write as much. Limit: memory bandwidth, and for one batch latency: microseconds.
//
// A class number that is not below `columns` gives a loss of NaN: the device cannot raise an error without being asked.
#include "correct.cuh"
#include "team.cuh"
#include "totals.cuh"

struct Row { S largest, sum; };

__device__ __forceinline__ Row summary(const T* __restrict__ x, int columns) {
  Row row;
  row.largest = -1 / S(0);
  for (int j = team_thread(); j < columns; j += TEAM) row.largest = larger_of(load(x[j]), row.largest);
  row.largest = team_max(row.largest);
  row.sum = 0;
  for (int j = team_thread(); j < columns; j += TEAM) row.sum += exponential(load(x[j]) - row.largest);
  row.sum = team_sum(row.sum);
  return row;
}

// -log softmax(x)[label]
__device__ __forceinline__ S loss_of(const T* __restrict__ x, const Row& row, long long label, int columns) {
  bool valid = 0 <= label && label < columns;
  return valid ? 0 - (load(x[(int)label]) - row.largest - logarithm(row.sum)) : S(0) / S(0);
}

extern "C" __global__ void sparse_softmax_cross_entropy(const T* __restrict__ logits, const L* __restrict__ labels,
                                                        T* __restrict__ losses, T* __restrict__ probabilities,
                                                        int rows, int columns) {
  long long row = team_row(), first = row * columns;
  int mine = row < rows ? columns : 0;
  Row found = summary(logits + first, mine);
  for (int j = team_thread(); j < mine; j += TEAM) {
    probabilities[first + j] = store<T>(exponential(load(logits[first + j]) - found.largest) / found.sum);
  }
  if (row < rows && team_thread() == 0) {
    losses[row] = store<T>(loss_of(logits + first, found, (long long)labels[row], columns));
  }
}

// (probability - one_hot) g. One thread an element: there is no sum.
extern "C" __global__ void sparse_softmax_cross_entropy_gradient(const T* __restrict__ gradient,
                                                                 const T* __restrict__ probabilities,
                                                                 const L* __restrict__ labels, T* __restrict__ dx,
                                                                 int rows, int columns) {
  unsigned i = blockIdx.x * blockDim.x + threadIdx.x, row = i / columns;
  if (row >= rows) return;
  S hot = (long long)labels[row] == i - row * columns ? 1 : 0;
  dx[i] = store<T>((load(probabilities[i]) - hot) * load(gradient[row]));
}

// -sum(labels log softmax(logits)). A zero times a logarithm of minus infinity is NaN, as in the reference.
extern "C" __global__ void softmax_cross_entropy(const T* __restrict__ logits, const T* __restrict__ labels,
                                                 T* __restrict__ losses, T* __restrict__ probabilities, int rows,
                                                 int columns) {
  long long row = team_row(), first = row * columns;
  int mine = row < rows ? columns : 0;
  Row found = summary(logits + first, mine);
  S log_sum = logarithm(found.sum), sum = 0;
  for (int j = team_thread(); j < mine; j += TEAM) {
    S shifted = load(logits[first + j]) - found.largest;
    probabilities[first + j] = store<T>(exponential(shifted) / found.sum);
    sum += load(labels[first + j]) * (shifted - log_sum);
  }
  sum = team_sum(sum);
  if (row < rows && team_thread() == 0) losses[row] = store<T>(0 - sum);
}

// (probability sum(labels) - label) g
extern "C" __global__ void softmax_cross_entropy_gradient(const T* __restrict__ gradient,
                                                          const T* __restrict__ probabilities,
                                                          const T* __restrict__ labels, T* __restrict__ dx, int rows,
                                                          int columns) {
  long long row = team_row(), first = row * columns;
  int mine = row < rows ? columns : 0;
  S total = 0, weight = row < rows ? load(gradient[row]) : S(0);
  for (int j = team_thread(); j < mine; j += TEAM) total += load(labels[first + j]);
  total = team_sum(total);
  for (int j = team_thread(); j < mine; j += TEAM) {
    dx[first + j] = store<T>((load(probabilities[first + j]) * total - load(labels[first + j])) * weight);
  }
}

// The sums of `x` over every LANES-th thread of a block, and of what the threads of each warp have all counted, in a
// fixed order: in all threads. Other threads come with zeros. The number of warps is a power of two.
template <int LANES> __device__ __forceinline__ S block_sum(S x, int& count) {
  __shared__ S sums[32];
  __shared__ int counts[32];
  const int lane = threadIdx.x % 32, warps = blockDim.x / 32;
  #pragma unroll
  for (int offset = 16; offset >= LANES; offset /= 2) x += __shfl_xor_sync(FULL_WARP, x, offset);
  if (lane == 0) {
    sums[threadIdx.x / 32] = x;
    counts[threadIdx.x / 32] = count;
  }
  __syncthreads();
  x = sums[lane & (warps - 1)];
  count = counts[lane & (warps - 1)];
  #pragma unroll 1
  for (int offset = 1; offset < warps; offset *= 2) {
    x += __shfl_xor_sync(FULL_WARP, x, offset);
    count += __shfl_xor_sync(FULL_WARP, count, offset);
  }
  return x;
}

// Of the kernels of the mean loss: a row that a whole block shares has one of TEAM threads.
#define MOST_THREADS (TEAM > 32 ? TEAM : 1024)

// What the mean loss is computed from, and what it leaves.
template <typename Label> struct Batch {
  const T* logits;
  const Label* labels;
  const T* scale;  // that the gradient is multiplied by, unless it is null
  T* gradient;
  T* probabilities;
  int rows, columns;
};

// Elements of a short row that a thread keeps in registers; those of longer ones are read again, from L1.
#define KEPT (TEAM == 8 ? 2 : 1)

// Calls use(j, e) for the elements j of a row that are this thread's; e counts those that are kept.
template <typename Use> __device__ __forceinline__ void for_each(int columns, Use use) {
#if TEAM == 8
  #pragma unroll
  for (int e = 0; e < KEPT; e++) {
    if (team_thread() + e * TEAM < columns) use(team_thread() + e * TEAM, e);
  }
#else
  #pragma unroll 1
  for (int j = team_thread(); j < columns; j += TEAM) use(j, 0);
#endif
}

// What is read of a row before it is its turn.
template <typename Label> struct Ahead {
  T x[KEPT];
  Label label;
};

template <bool ROWS, typename Label>
__device__ __forceinline__ Ahead<Label> read_ahead(const Batch<Label>& batch, unsigned row) {
  Ahead<Label> found = {};
  if (row >= (unsigned)batch.rows) return found;
#if TEAM == 8
  for_each(batch.columns, [&](int j, int e) { found.x[e] = batch.logits[row * batch.columns + j]; });
#endif
  if constexpr (!ROWS) found.label = batch.labels[row];
  return found;
}

// Of which scores those rows are counted whose largest one is the label's. Here it is for the team of the row to find
// out; of rows that a whole block shares, correct_rows finds it afterwards.
enum { COUNT_NOTHING, COUNT_PROBABILITIES, COUNT_LOGITS };
#define COUNTS (TEAM <= 32)

// Whether the score at j keeps `own`, that of the label, from being the largest one.
__device__ __forceinline__ bool beats(S score, int j, S own, int label) {
  if (j == label) return false;
  if (score != score) return j < label || own == own;
  return j < label ? score >= own : score > own;
}

// The place of the largest of a row that the threads of a warp share.
template <typename Label>
__device__ __forceinline__ int place_in_team(const Label* __restrict__ values, int columns) {
  S largest = -1 / S(0);
  int place = columns;
  #pragma unroll 1
  for (int j = team_thread(); j < columns; j += TEAM) {
    S value = load(values[j]);
    if (place == columns || beats(value, j, largest, place)) largest = value, place = j;
  }
  #pragma unroll 1
  for (int offset = TEAM_LANES / 2; offset > 0; offset /= 2) {
    S value = __shfl_xor_sync(FULL_WARP, largest, offset);
    int other = __shfl_xor_sync(FULL_WARP, place, offset);
    if (other < columns && (place == columns || beats(value, other, largest, place))) largest = value, place = other;
  }
  return place;
}

// The sum of the block's losses, and how many of its rows are right; gradients in the logits (times
// *scale, unless that is null) and the probabilities are written. Sums of products are written as multiply_add: the same
// bits in every kernel that this is a part of.
template <bool ROWS, typename Label>
__device__ __forceinline__ S losses(const Batch<Label>& batch, int counted, int& correct) {
  // Rows are counted without a sign: behind the last of 2^31 - 1 there are more that are looked for.
  const unsigned rows = batch.rows, teams = blockDim.x / TEAM, step = gridDim.x * teams;
  const int columns = batch.columns;
  S sum = 0, share = S(1) / batch.rows, factor = batch.scale ? load(*batch.scale) : S(1);
  correct = 0;
  unsigned start = blockIdx.x * teams, row = start + threadIdx.x / TEAM;
  Ahead<Label> next = read_ahead<ROWS>(batch, row);
  #pragma unroll 1
  for (; start < rows; start += step, row += step) {
    const Ahead<Label> now = next;
    next = read_ahead<ROWS>(batch, row + step);
    const int mine = row < rows ? columns : 0;
    const T* logits = batch.logits + (long long)row * columns;
    auto logit = [&](int j, int e) { return TEAM == 8 ? load(now.x[e]) : load(logits[j]); };

    S largest = -1 / S(0), total = 0, power[KEPT];
    for_each(mine, [&](int j, int e) { largest = larger_of(logit(j, e), largest); });
    largest = team_max(largest);
    for_each(mine, [&](int j, int e) {
      power[e] = exponential(logit(j, e) - largest);
      total += power[e];
    });
    total = team_sum(total);

    S weight = 0, part = 0, log_sum = logarithm(total);
    int label = -1;
    if constexpr (ROWS) {
      const Label* labels = batch.labels + (long long)row * columns;
      for_each(mine, [&](int j, int e) { weight += load(labels[j]); });
      weight = team_sum(weight);
#if COUNTS
      if (counted != COUNT_NOTHING) label = place_in_team(labels, mine);
#endif
    } else if (0 <= (long long)now.label && (long long)now.label < mine) {
      label = (int)now.label;
    }
    const S own = 0 <= label && label < mine ? load(logits[label]) : S(0);
    S own_score = own;
    if (counted == COUNT_PROBABILITIES) own_score = load(store<T>(exponential(own - largest) / total));
    bool beaten = false;
    for_each(mine, [&](int j, int e) {
      const int at = row * columns + j;
      S x = logit(j, e), p = (TEAM == 8 ? power[e] : exponential(x - largest)) / total, difference;
      if constexpr (ROWS) {
        S wanted = load(batch.labels[at]);
        part = multiply_add(wanted, x - largest - log_sum, part);
        difference = multiply_add(p, weight, -wanted);
      } else {
        difference = p - (j == label ? 1 : 0);
      }
      const T rounded = store<T>(p);
      batch.probabilities[at] = rounded;
      // Rounded before it is scaled, as if another kernel did that.
      batch.gradient[at] = store<T>(load(store<T>(difference * share)) * factor);
      beaten = beaten || beats(counted == COUNT_LOGITS ? x : load(rounded), j, own_score, label);
    });
    if constexpr (ROWS) part = team_sum(part);
    const bool first = mine > 0 && team_thread() == 0;
    if (first) sum += ROWS ? 0 - part : label < 0 ? S(0) / S(0) : 0 - (own - largest - log_sum);
#if COUNTS
    if (counted != COUNT_NOTHING) {
      const unsigned votes = __ballot_sync(FULL_WARP, beaten) >> (threadIdx.x % 32 / TEAM * TEAM);
      const bool right = first && label >= 0 && (votes & (FULL_WARP >> (32 - TEAM))) == 0;
      correct += __popc(__ballot_sync(FULL_WARP, right));
    }
#endif
  }
  return block_sum<TEAM_LANES>(sum, correct);
}

// The mean loss, its gradient and the probabilities at once. The only block of a grid writes the loss; of several, each
// leaves the sum of its rows in `parts`, for mean_of_parts.
template <bool ROWS, typename Label>
__device__ __forceinline__ void mean_loss(const Batch<Label>& batch, T* loss, S* __restrict__ parts) {
  int correct;
  const S sum = losses<ROWS>(batch, COUNT_NOTHING, correct);
  if (threadIdx.x == 0 && !parts) loss[0] = store<T>(sum / batch.rows);
  if (threadIdx.x == 0 && parts) parts[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
sparse_softmax_cross_entropy_loss(const T* __restrict__ logits, const L* __restrict__ labels,
                                  const T* __restrict__ scale, T* __restrict__ loss, T* __restrict__ gradient,
                                  T* __restrict__ probabilities, S* __restrict__ parts, int rows, int columns) {
  mean_loss<false>(Batch<L>{logits, labels, scale, gradient, probabilities, rows, columns}, loss, parts);
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
softmax_cross_entropy_loss(const T* __restrict__ logits, const T* __restrict__ labels, const T* __restrict__ scale,
                           T* __restrict__ loss, T* __restrict__ gradient, T* __restrict__ probabilities,
                           S* __restrict__ parts, int rows, int columns) {
  mean_loss<true>(Batch<T>{logits, labels, scale, gradient, probabilities, rows, columns}, loss, parts);
}

// The same for a grid of one block, which then adds to totals, among them of the loss and of the rows whose largest
// score is the label's: of the logits or of the probabilities.
template <bool ROWS, typename Label>
__device__ __forceinline__ void loss_and_totals(const Batch<Label>& batch, T* loss, const Totals& totals, int counted) {
  const ReadAhead ahead = read_totals(totals, Found{0, loss, 0});
  int correct;
  const S sum = losses<ROWS>(batch, counted, correct);
#if !COUNTS
  __syncthreads();
  if (counted != COUNT_NOTHING) {
    const T* scores = counted == COUNT_LOGITS ? batch.logits : batch.probabilities;
    correct = correct_rows<ROWS>(batch.labels, scores, batch.rows, batch.columns);
  }
#endif
  if (threadIdx.x >= 32) return;
  const T mean = store<T>(sum / batch.rows);
  if (threadIdx.x == 0) loss[0] = mean;
  add_totals(totals, ahead, Found{correct, loss, load(mean)});
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
sparse_softmax_cross_entropy_totals(const T* logits, const L* labels, const T* scale, T* loss, T* gradient,
                                    T* probabilities, Totals totals, int counted, int rows, int columns) {
  loss_and_totals<false>(Batch<L>{logits, labels, scale, gradient, probabilities, rows, columns}, loss, totals,
                         counted);
}

extern "C" __global__ void __launch_bounds__(MOST_THREADS, 1)
softmax_cross_entropy_totals(const T* logits, const T* labels, const T* scale, T* loss, T* gradient, T* probabilities,
                             Totals totals, int counted, int rows, int columns) {
  loss_and_totals<true>(Batch<T>{logits, labels, scale, gradient, probabilities, rows, columns}, loss, totals, counted);
}

extern "C" __global__ void mean_of_parts(const S* __restrict__ parts, T* __restrict__ loss, int count, int rows) {
  S sum = 0;
  int none = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
  sum = block_sum<1>(sum, none);
  if (threadIdx.x == 0) loss[0] = store<T>(sum / rows);
}
