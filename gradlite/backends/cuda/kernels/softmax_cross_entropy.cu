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

// The sum over all threads of a block of up to 1024, a multiple of 32: in thread 0, in a fixed order.
__device__ __forceinline__ S block_sum(S x) {
  __shared__ S warps[32];
  for (int offset = 16; offset > 0; offset /= 2) x += __shfl_xor_sync(FULL_WARP, x, offset);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = x;
  __syncthreads();
  S sum = 0;
  for (int warp = 0; threadIdx.x == 0 && warp < blockDim.x / 32; warp++) sum += warps[warp];
  return sum;
}

// The mean loss, its gradient in the logits (times *scale, unless that is null) and the probabilities at once. The only
// block of a grid writes the loss; of several, each leaves the sum of its rows in `parts`, for mean_of_parts. Sums of
// products are written as multiply_add: the same bits in every kernel that this is a part of.
template <bool ROWS, typename Label>
__device__ __forceinline__ void mean_loss(const T* __restrict__ logits, const Label* __restrict__ labels,
                                          const T* scale, T* loss, T* __restrict__ gradient, T* probabilities,
                                          S* __restrict__ parts, int rows, int columns) {
  int teams = blockDim.x / TEAM;
  S sum = 0, share = S(1) / rows, factor = scale ? load(*scale) : S(1);
  for (long long start = (long long)blockIdx.x * teams; start < rows; start += (long long)gridDim.x * teams) {
    long long row = start + threadIdx.x / TEAM, first = row * columns, label = 0;
    int mine = row < rows ? columns : 0;
    Row found = summary(logits + first, mine);
    S weight = 1, log_sum = logarithm(found.sum), part = 0;
    if constexpr (ROWS) {
      weight = 0;
      for (int j = team_thread(); j < mine; j += TEAM) weight += load(labels[first + j]);
      weight = team_sum(weight);
    } else if (mine > 0) {
      label = (long long)labels[row];
    }
    for (int j = team_thread(); j < mine; j += TEAM) {
      S shifted = load(logits[first + j]) - found.largest, p = exponential(shifted) / found.sum, difference;
      if constexpr (ROWS) {
        S own = load(labels[first + j]);
        part = multiply_add(own, shifted - log_sum, part);
        difference = multiply_add(p, weight, -own);
      } else {
        difference = p - (j == label ? 1 : 0);
      }
      probabilities[first + j] = store<T>(p);
      // Rounded before it is scaled, as if another kernel did that.
      gradient[first + j] = store<T>(load(store<T>(difference * share)) * factor);
    }
    if constexpr (ROWS) part = team_sum(part);
    if (mine > 0 && team_thread() == 0) sum += ROWS ? 0 - part : loss_of(logits + first, found, label, columns);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0 && !parts) loss[0] = store<T>(sum / rows);
  if (threadIdx.x == 0 && parts) parts[blockIdx.x] = sum;
}

extern "C" __global__ void __launch_bounds__(1024, 1)
sparse_softmax_cross_entropy_loss(const T* __restrict__ logits,
                                                             const L* __restrict__ labels,
                                                             const T* __restrict__ scale, T* __restrict__ loss,
                                                             T* __restrict__ gradient, T* __restrict__ probabilities,
                                                             S* __restrict__ parts, int rows, int columns) {
  mean_loss<false>(logits, labels, scale, loss, gradient, probabilities, parts, rows, columns);
}

extern "C" __global__ void __launch_bounds__(1024, 1)
softmax_cross_entropy_loss(const T* __restrict__ logits, const T* __restrict__ labels,
                                                      const T* __restrict__ scale, T* __restrict__ loss,
                                                      T* __restrict__ gradient, T* __restrict__ probabilities,
                                                      S* __restrict__ parts, int rows, int columns) {
  mean_loss<true>(logits, labels, scale, loss, gradient, probabilities, parts, rows, columns);
}

// The same for a grid of one block, which then adds to totals, among them of the loss and of the rows whose largest
// score is the label's: of the logits or of the probabilities. What is read again is not __restrict__.
enum { COUNT_NOTHING, COUNT_PROBABILITIES, COUNT_LOGITS };

template <bool ROWS, typename Label>
__device__ __forceinline__ void loss_and_totals(const T* logits, const Label* labels, const T* scale, T* loss,
                                                T* gradient, T* probabilities, const Totals& totals, int counted,
                                                int rows, int columns) {
  mean_loss<ROWS>(logits, labels, scale, loss, gradient, probabilities, nullptr, rows, columns);
  __syncthreads();
  long long correct = 0;
  if (counted != COUNT_NOTHING) {
    correct = correct_rows<ROWS>(labels, counted == COUNT_LOGITS ? logits : probabilities, rows, columns);
  }
  add_totals(totals, correct);
}

extern "C" __global__ void __launch_bounds__(1024, 1)
sparse_softmax_cross_entropy_totals(const T* logits, const L* labels, const T* scale, T* loss, T* gradient,
                                    T* probabilities, Totals totals, int counted, int rows, int columns) {
  loss_and_totals<false>(logits, labels, scale, loss, gradient, probabilities, totals, counted, rows, columns);
}

extern "C" __global__ void __launch_bounds__(1024, 1)
softmax_cross_entropy_totals(const T* logits, const T* labels, const T* scale, T* loss, T* gradient, T* probabilities,
                             Totals totals, int counted, int rows, int columns) {
  loss_and_totals<true>(logits, labels, scale, loss, gradient, probabilities, totals, counted, rows, columns);
}

extern "C" __global__ void __launch_bounds__(1024, 1)
mean_of_parts(const S* __restrict__ parts, T* __restrict__ loss, int count, int rows) {
  S sum = 0;
  for (int i = threadIdx.x; i < count; i += blockDim.x) sum += parts[i];
  sum = block_sum(sum);
  if (threadIdx.x == 0) loss[0] = store<T>(sum / rows);
}
