// variant: T={float,half_t,bfloat16_t,unsigned char}
// Many arrays copied into one by a single launch: flattened one after the other, or joined along an axis.
//
// The table of arrays is a parameter of the kernel, so nothing is copied to the device beforehand. Each array is
// (rows, length); its rows go into rows of `out` that are `stride` apart, from element `first` on. A block takes 1024
// elements of one array, four a thread, by one load where they are aligned. Bytes: all arrays, read and written.
// Limit: memory bandwidth.
#include "elements.cuh"

#define MAX_SEGMENTS 64

struct Segment {
  const T* array;
  long long length;
  long long first;
  unsigned long long block;  // the first block that works on it
};

struct Segments {
  long long count;
  Segment at[MAX_SEGMENTS];
};

extern "C" __global__ void copy_segments(T* out, long long rows, long long stride, Segments segments) {
  int s = 0;
  while (s + 1 < segments.count && blockIdx.x >= segments.at[s + 1].block) s++;
  const Segment& segment = segments.at[s];
  const long long size = rows * segment.length;
  const long long i = 4 * ((blockIdx.x - segment.block) * blockDim.x + threadIdx.x);
  if (i >= size) return;
  typename compute<T>::type values[4];
  read_four(values, segment.array, i, size);
  if (rows == 1) {
    write_four(out + segment.first, i, size, values);
  } else {
#pragma unroll
    for (int k = 0; k < 4; k++) {
      if (i + k >= size) break;
      const long long row = (i + k) / segment.length;
      out[row * stride + segment.first + (i + k - row * segment.length)] = element<T>(values[k]);
    }
  }
}
