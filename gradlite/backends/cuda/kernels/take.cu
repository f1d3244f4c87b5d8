// variant: T=float I={long long,int} WORD={uint4,float}
// variant: T={unsigned char} I={long long} WORD={uint4,unsigned char}
// Rows by number: (outer, length, row) and k indices give (outer, k, row).
//
// T is the element type, I the index's, WORD what is moved at a time: as wide as rows and addresses allow. A block is
// `across` threads along a row by as many rows as fit. Bytes: the rows read and written, and the indices. Limit:
// memory bandwidth, for few rows the latency of two loads, one after the other.
#include "elements.cuh"
#include "indices.cuh"

extern "C" __global__ void take(const T* __restrict__ x, const I* __restrict__ indices, T* __restrict__ y,
                                long long rows, long long length, long long k, long long words, int across) {
  const long long row = (long long)blockIdx.x * (blockDim.x / across) + threadIdx.x / across;
  if (row >= rows) return;
  const long long outer = row / k;
  const long long from = outer * length + wrapped(indices[row - outer * k], length);
  const WORD* source = (const WORD*)x + from * words;
  WORD* target = (WORD*)y + row * words;
  for (long long w = threadIdx.x % across; w < words; w += across) target[w] = source[w];
}
