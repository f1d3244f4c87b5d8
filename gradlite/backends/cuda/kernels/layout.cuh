// Arrays that are read and written with strides: broadcast, transposed or sliced ones.
#pragma once

#define MAX_AXES 6

// The axes of an elementwise operation, the last one first, after those that lie in line have been joined; and the
// strides in elements of up to four arrays along them (0 where an array is repeated). Filled in by strided.py.
struct Layout {
  int axes;
  unsigned size;
  unsigned length[MAX_AXES];
  unsigned multiplier[MAX_AXES];
  unsigned shift[MAX_AXES];
  long long stride[4][MAX_AXES];
};

// Where element i of each array is. The quotients are by multiplication, (n * m / 2**32 + n) >> s, after Granlund and
// Montgomery, "Division by invariant integers using multiplication" (PLDI 1994): exact for n below 2**31.
template <int ARRAYS>
__device__ __forceinline__ void locate(const Layout& layout, unsigned i, long long (&offset)[ARRAYS]) {
#pragma unroll
  for (int k = 0; k < ARRAYS; k++) offset[k] = 0;
#pragma unroll
  for (int axis = 0; axis < MAX_AXES; axis++) {
    if (axis >= layout.axes) break;
    unsigned quotient = (__umulhi(i, layout.multiplier[axis]) + i) >> layout.shift[axis];
    unsigned position = i - quotient * layout.length[axis];
#pragma unroll
    for (int k = 0; k < ARRAYS; k++) offset[k] += position * layout.stride[k][axis];
    i = quotient;
  }
}
