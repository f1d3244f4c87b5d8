// variant: A={float,half_t,bfloat16_t} R={float,half_t,bfloat16_t} C=float OPERATION={op_identity,op_sigmoid}
// variant: A=double R=double C=double OPERATION={op_erf,op_sin}
// variant: A={unsigned char} R=float C={unsigned char} OPERATION=op_identity
// One elementwise operation of one array; also conversions and copies, whose operation is the identity.
//
// A is the element type, C the type computed in, R the result's; OPERATION one of operations.cuh. `unary` takes four
// consecutive elements a thread, by one load and one store where they are aligned, in a grid-stride loop;
// `unary_strided` one element, at any strides. Bytes: each array once. Limit: memory bandwidth.
//
// No __restrict__: the result may be written over the operand.
#include "layout.cuh"
#include "operations.cuh"

extern "C" __global__ void unary(const A* a, R* r, long long size) {
  for (long long i = first_four(); i < size; i += next_four()) {
    C x[4];
    typename compute<R>::type y[4];
    read_four(x, a, i, size);
#pragma unroll
    for (int k = 0; k < 4; k++) y[k] = (typename compute<R>::type)OPERATION(x[k]);
    write_four(r, i, size, y);
  }
}

extern "C" __global__ void unary_strided(const A* a, R* r, Layout layout) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < layout.size; i += gridDim.x * blockDim.x) {
    long long at[2];
    locate(layout, i, at);
    r[at[1]] = element<R>(OPERATION((C)load(a[at[0]])));
  }
}

// `value` everywhere.
extern "C" __global__ void fill(C value, R* r, long long size) {
  typename compute<R>::type y[4];
#pragma unroll
  for (int k = 0; k < 4; k++) y[k] = (typename compute<R>::type)OPERATION(value);
  for (long long i = first_four(); i < size; i += next_four()) write_four(r, i, size, y);
}

extern "C" __global__ void fill_strided(C value, R* r, Layout layout) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < layout.size; i += gridDim.x * blockDim.x) {
    long long at[1];
    locate(layout, i, at);
    r[at[0]] = element<R>(OPERATION(value));
  }
}
