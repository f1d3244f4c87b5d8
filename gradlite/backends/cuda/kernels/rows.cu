// The samples of a step: rows of several arrays, found by a position and an order in device memory, by one launch.
//
// `sources` holds the number of samples, then addresses: of the order (int64, 0 for none) and of the arrays, so that a
// graph reads whatever arrays they name when it is launched. Behind the last sample comes the first. The table of targets is a parameter. A block moves up to 4096 bytes of one target by
// words as wide as rows and addresses allow. Bytes: the rows, read and written, and 8 a sample for the order. Limit:
// memory bandwidth, for small batches the latency of three loads, one after the other.
#include "common.cuh"

#define MAX_TARGETS 16
#define BLOCK_BYTES 4096

struct Target {
  void* rows;
  long long row_bytes;
  long long block;  // the first block that works on it
};

struct Targets {
  long long count;
  long long size;   // rows of each
  long long first;  // the number of the first target's array among the sources
  Target at[MAX_TARGETS];
};

template <typename Word>
__device__ __forceinline__ void move_rows(const char* source, const Target& target, const unsigned long long* sources,
                                          long long position, long long size, long long first_byte) {
  const long long samples = (long long)sources[0];
  const long long* order = (const long long*)sources[1];
  const long long words = target.row_bytes / (long long)sizeof(Word);
  const long long stop = min(size * words, (first_byte + BLOCK_BYTES) / (long long)sizeof(Word));
  for (long long w = first_byte / (long long)sizeof(Word) + threadIdx.x; w < stop; w += blockDim.x) {
    const long long row = w / words;
    long long from = position + row;
    if (from >= samples) from %= samples;
    if (order) from = order[from];
    ((Word*)target.rows)[w] = ((const Word*)source)[from * words + (w - row * words)];
  }
}

extern "C" __global__ void select_rows(const unsigned long long* __restrict__ sources,
                                       const long long* __restrict__ position, Targets targets) {
  int t = 0;
  while (t + 1 < targets.count && blockIdx.x >= targets.at[t + 1].block) t++;
  const Target& target = targets.at[t];
  const char* source = (const char*)sources[2 + targets.first + t];
  if (source == nullptr) return;  // the data is gone: whoever replays a program all the same gets the last rows again
  const long long first = (long long)(blockIdx.x - target.block) * BLOCK_BYTES;
  const unsigned long long bits = (unsigned long long)source | (unsigned long long)target.rows | target.row_bytes;
  if (bits % 16 == 0) {
    move_rows<uint4>(source, target, sources, *position, targets.size, first);
  } else if (bits % 8 == 0) {
    move_rows<uint2>(source, target, sources, *position, targets.size, first);
  } else if (bits % 4 == 0) {
    move_rows<unsigned>(source, target, sources, *position, targets.size, first);
  } else {
    move_rows<unsigned char>(source, target, sources, *position, targets.size, first);
  }
}
