// Images cut into whole tiles of DOWN x ACROSS pixels, which a block takes one after the other.
#pragma once

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
