// variant: A=float B=float C=float R=float OPERATION={op_add,op_floor_divide,op_power}
// variant: A=bfloat16_t B=bfloat16_t C=float R=bfloat16_t OPERATION={op_add,op_relu_gradient}
// variant: A=double B=float C=double R=double OPERATION={op_add,op_power}
// variant: A={unsigned char} B={long long} C={long long} R=bool OPERATION=op_equal
// One elementwise operation of two operands, each an array, an array of one element, or a number.
//
// A and B are the element types, C the type computed in, R the result's; OPERATION one of operations.cuh. A missing
// array (null) stands for the number beside it; a step of 0 reads the same element for all. `binary` takes four
// consecutive elements a thread, by one load and one store where they are aligned, in a grid-stride loop;
// `binary_strided` one element, at any strides. Bytes: each array once. Limit: memory bandwidth.
//
// No __restrict__: the result may be written over an operand.
#include "layout.cuh"
#include "operations.cuh"

template <typename T>
__device__ __forceinline__ void operand(C (&x)[4], const T* array, int step, C value, long long i, long long size) {
  if (array && step) {
    read_four(x, array, i, size);
  } else {
    C same = array ? (C)load(*array) : value;
#pragma unroll
    for (int k = 0; k < 4; k++) x[k] = same;
  }
}

extern "C" __global__ void binary(const A* a, int a_step, C a_value, const B* b, int b_step, C b_value, R* r,
                                  long long size) {
  for (long long i = first_four(); i < size; i += next_four()) {
    C x[4];
    C y[4];
    typename compute<R>::type z[4];
    operand(x, a, a_step, a_value, i, size);
    operand(y, b, b_step, b_value, i, size);
#pragma unroll
    for (int k = 0; k < 4; k++) z[k] = (typename compute<R>::type)OPERATION(x[k], y[k]);
    write_four(r, i, size, z);
  }
}

extern "C" __global__ void binary_strided(const A* a, C a_value, const B* b, C b_value, R* r, Layout layout) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < layout.size; i += gridDim.x * blockDim.x) {
    long long at[3];
    locate(layout, i, at);
    C x = a ? (C)load(a[at[0]]) : a_value;
    C y = b ? (C)load(b[at[1]]) : b_value;
    r[at[2]] = element<R>(OPERATION(x, y));
  }
}
