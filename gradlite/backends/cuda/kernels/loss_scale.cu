// variant: T={float,half_t} S=float
// Dynamic loss scaling: gradients divided by the scale, while it is found out whether they are finite, and the next scale.
//
// T is the type of the gradients, S that of the scale. Four elements a thread. Bytes: the gradients read and written.
// Limit: memory bandwidth. A block with a number that is not finite clears the flag, which others may clear too; the
// order does not matter.
#include "optimizer.cuh"

// gradient /= scale; *finite becomes 0 where an element was not finite, and else stays.
extern "C" __global__ void unscale(T* gradient, const S* __restrict__ scale, int* finite, long long size) {
  const long long i = first_four();
  const Real divisor = (Real)load(*scale);
  Real g[4];
  read_four(g, gradient, i, size);
  bool mine = false;
#pragma unroll
  for (int k = 0; k < 4; k++) {
    mine = mine || !op_isfinite(g[k]);
    g[k] /= divisor;
  }
  write_four(gradient, i, size, g);
  if (__syncthreads_or(mine) && threadIdx.x == 0) atomicExch(finite, 0);
}

// One thread: after `growth_steps` good steps in a row the scale doubles, after a bad one it is halved.
extern "C" __global__ void adapt_scale(S* scale, long long* count, const int* finite, long long growth_steps) {
  const bool good = *finite != 0, grows = good && *count >= growth_steps - 1;
  *scale = store<S>(load(*scale) * (good ? grows ? 2.0f : 1.0f : 0.5f));
  *count = good && !grows ? *count + 1 : 0;
}

// One thread: whether the step is finite and the count a multiple of `every`.
extern "C" __global__ void is_due(const int* finite, const long long* count, int* due, long long every) {
  *due = *finite != 0 && *count % every == 0;
}
