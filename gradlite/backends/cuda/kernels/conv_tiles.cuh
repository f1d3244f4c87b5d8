// Images cut into whole tiles of DOWN x ACROSS pixels, which a block takes one after the other.
#pragma once
#include "conv_tensor.cuh"

// A tile's image and first pixel; the next one lies to its right, then below, then in the next image.
template <int DOWN, int ACROSS> struct TilePlace {
  int image, y, x;

  __device__ __forceinline__ TilePlace(int tile, int rows, int columns) {
    const int across = columns / ACROSS, row = tile / across;
    x = (tile - row * across) * ACROSS;
    image = row / (rows / DOWN);
    y = (row - image * (rows / DOWN)) * DOWN;
  }

  __device__ __forceinline__ void advance(int rows, int columns) {
    x += ACROSS;
    if (x < columns) return;
    x = 0;
    y += DOWN;
    if (y < rows) return;
    y = 0;
    image++;
  }
};

// Copies a tile of the gradient to shared memory, COLUMNS filters of every pixel, from n0 on: lines of LINE elements.
// Every one of THREADS threads copies one chunk of some pixels, all of one column.
template <int COLUMNS, int LINE, int THREADS, int DOWN, int ACROSS>
__device__ __forceinline__ void copy_gradient(const T* gradient, T* lines, const TilePlace<DOWN, ACROSS>& at,
                                              const Convolution& c, int n0) {
  const int CHUNKS = COLUMNS / CHUNK, STEP = THREADS / CHUNKS;
  static_assert(STEP % ACROSS == 0, "a thread copies pixels of one column of the tile");
  const int tid = threadIdx.x, chunk = tid % CHUNKS * CHUNK, first = tid / CHUNKS;
  const int row = at.y + first / ACROSS, column = at.x + first % ACROSS;
  const T* p = gradient + (((long long)at.image * c.rows + row) * c.columns + column) * c.filters + n0 + chunk;
  T* to = lines + first * LINE + chunk;
#pragma unroll 1
  for (int pixel = first; pixel < DOWN * ACROSS; pixel += STEP, to += STEP * LINE) {
    copy_chunk((Chunk*)to, n0 + chunk < c.filters ? p : nullptr, gradient);
    p += STEP / ACROSS * c.columns * c.filters;
  }
}
