// variant: M=bool A=float B=float C=float R={float,half_t}
// Selection: `a` where the condition holds, else `b`; each an array or, where that is missing, a number.
//
// M is the condition's element type, A and B the operands', C the type of the selection, R the result's. One element
// a thread, at any strides, in a grid-stride loop. Bytes: each array once. Limit: memory bandwidth.
#include "elements.cuh"
#include "layout.cuh"

extern "C" __global__ void where(const M* condition, const A* a, C a_value, const B* b, C b_value, R* r,
                                 Layout layout) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < layout.size; i += gridDim.x * blockDim.x) {
    long long at[4];
    locate(layout, i, at);
    C x;
    if (load(condition[at[0]]) != 0) {
      x = a ? (C)load(a[at[1]]) : a_value;
    } else {
      x = b ? (C)load(b[at[2]]) : b_value;
    }
    r[at[3]] = element<R>(x);
  }
}
