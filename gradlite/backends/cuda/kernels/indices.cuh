// Indices as CuPy reads them: negative ones count from the end, and those out of range start again.
#pragma once

__device__ __forceinline__ long long wrapped(long long index, long long length) {
  if (index >= 0 && index < length) return index;
  index %= length;
  return index < 0 ? index + length : index;
}
