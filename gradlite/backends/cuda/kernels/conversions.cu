// variant: A=float R={half_t,bfloat16_t}
// variant: A={half_t,bfloat16_t} R=float
// Many arrays converted to another type by a single launch: the weights of all layers, or their gradients.
//
// The table of arrays is a parameter of the kernel. A block takes 1024 elements of one array, four a thread, by one load
// and one store where they are aligned. Bytes: all arrays read, and all results written. Limit: memory bandwidth, for
// small networks the latency of one launch.
#include "elements.cuh"

#define MAX_CONVERSIONS 64

struct Conversion {
  const A* array;
  R* result;
  long long size;
  unsigned long long block;  // the first block that works on it
};

struct Conversions {
  long long count;
  Conversion at[MAX_CONVERSIONS];
};

extern "C" __global__ void convert_each(Conversions conversions) {
  int c = 0;
  while (c + 1 < conversions.count && blockIdx.x >= conversions.at[c + 1].block) c++;
  const Conversion& one = conversions.at[c];
  const long long i = 4 * ((blockIdx.x - one.block) * blockDim.x + threadIdx.x);
  float x[4];
  read_four(x, one.array, i, one.size);
  write_four(one.result, i, one.size, x);
}
