// The samples of a step: rows of several arrays, found by a position and an order in device memory, by one launch.
//
// `sources` holds the number of samples, then addresses: of the order (int64, 0 for none) and of the arrays, so that a
// graph reads whatever arrays they name when it is launched. Behind the last sample comes the first. The table of
// targets is a parameter. A block moves some whole rows of one target, or a part of one row, by words as wide as rows
// and addresses allow: up to 4096 bytes, so that no quotient needs more than 32 bits. Bytes: the rows, read and written,
// and 8 a sample for the order. Limit: memory bandwidth, for small batches the latency of three loads, one after the
// other.
#include "common.cuh"

#define MAX_TARGETS 16
#define BLOCK_BYTES 4096

struct Target {
  char* rows;
  long long row_bytes;
  long long block;  // the first block that works on it
  int rows_each;    // rows of a block
  int parts;        // blocks of a row; one of both is 1
};

struct Targets {
  long long count;
  long long size;   // rows of each
  long long first;  // the number of the first target's array among the sources
  Target at[MAX_TARGETS];
};

__device__ __forceinline__ void move(char* to, const char* from, int bytes) {
  switch (bytes) {
    case 16: *(uint4*)to = *(const uint4*)from; break;
    case 8: *(uint2*)to = *(const uint2*)from; break;
    case 4: *(unsigned*)to = *(const unsigned*)from; break;
    default: *to = *from;
  }
}

extern "C" __global__ void __launch_bounds__(256)
select_rows(const unsigned long long* __restrict__ sources, const long long* __restrict__ position, Targets targets) {
  int t = 0;
  while (t + 1 < targets.count && blockIdx.x >= targets.at[t + 1].block) t++;
  const Target& target = targets.at[t];
  const long long samples = (long long)sources[0], start = *position, row_bytes = target.row_bytes;
  const long long* order = (const long long*)sources[1];
  const char* source = (const char*)sources[2 + targets.first + t];
  if (source == nullptr) return;  // the data is gone: whoever replays a program all the same gets the last rows again

  const unsigned block = blockIdx.x - (unsigned)target.block;
  const unsigned first_row = target.parts > 1 ? block / (unsigned)target.parts : block * target.rows_each;
  const long long first_byte = target.parts > 1 ? (long long)(block - first_row * target.parts) * BLOCK_BYTES : 0;
  const int rows = (int)min((long long)target.rows_each, targets.size - first_row);
  const unsigned bits = (unsigned)((unsigned long long)source | (unsigned long long)target.rows | row_bytes);
  const int word = bits % 16 == 0 ? 16 : bits % 8 == 0 ? 8 : bits % 4 == 0 ? 4 : 1;
  const unsigned words = (unsigned)min(row_bytes - first_byte, (long long)BLOCK_BYTES) / word;  // of a row
#pragma unroll 1
  for (unsigned w = threadIdx.x; w < words * rows; w += blockDim.x) {
    const unsigned row = rows == 1 ? 0 : w / words;
    long long from = start + first_row + row;
    if (from >= samples) from %= samples;
    if (order) from = order[from];
    const long long byte = first_byte + (w - row * words) * word;
    move(target.rows + (first_row + row) * row_bytes + byte, source + from * row_bytes + byte, word);
  }
}
