// Philox4x32-10, a counter-based random number generator (Salmon, Moraes, Dror and Shaw, SC 2011), as in the reference:
//
//   key      = the 64-bit seed as (low word, high word)
//   counter  = (element / 4, stream, low word of draw, high word of draw);  element % 4 picks one of the four words
//
// A state is (seed, stream, draw) in device memory. The same numbers come out wherever and however often they are
// drawn, so a backward pass draws its forward's mask again instead of reading it from memory.
#pragma once

struct Words { unsigned at[4]; };

__device__ __forceinline__ Words philox4x32(Words counter, unsigned key0, unsigned key1) {
  unsigned c0 = counter.at[0], c1 = counter.at[1], c2 = counter.at[2], c3 = counter.at[3];
  #pragma unroll
  for (int round = 0; round < 10; round++) {
    unsigned high0 = __umulhi(c0, 0xD2511F53u), low0 = c0 * 0xD2511F53u;
    unsigned high1 = __umulhi(c2, 0xCD9E8D57u), low1 = c2 * 0xCD9E8D57u;
    c0 = high1 ^ c1 ^ key0;
    c1 = low1;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += 0x9E3779B9u;
    key1 += 0xBB67AE85u;
  }
  return Words{{c0, c1, c2, c3}};
}

// A draw of random words, read from its state once a thread.
struct Draw {
  unsigned key0, key1, stream, low, high;
};

__device__ __forceinline__ Draw draw_of(const unsigned long long* state) {
  unsigned long long seed = state[0], draw = state[2];
  return Draw{(unsigned)seed, (unsigned)(seed >> 32), (unsigned)state[1], (unsigned)draw, (unsigned)(draw >> 32)};
}

// The words of elements 4 * block to 4 * block + 3.
__device__ __forceinline__ Words words_of(const Draw& draw, unsigned block) {
  return philox4x32(Words{{block, draw.stream, draw.low, draw.high}}, draw.key0, draw.key1);
}

// Which of the Count elements from `first` on (a multiple of Count, which is 1, 2 or 4) dropout keeps: those whose word
// is at least the threshold. A threshold of 2^32 keeps none.
template <int Count> struct Kept { bool at[Count]; };

template <int Count>
__device__ __forceinline__ Kept<Count> kept(const Draw& draw, long long first, unsigned long long threshold) {
  Words words = words_of(draw, (unsigned)(first / 4));
  unsigned offset = (unsigned)(first % 4);
  Kept<Count> result;
  #pragma unroll
  for (int k = 0; k < Count; k++) {
    // Count cases rather than an index that is not known: words in registers have no address.
    unsigned place = offset + k, word = words.at[0];
    if (place == 1) word = words.at[1];
    if (place == 2) word = words.at[2];
    if (place == 3) word = words.at[3];
    result.at[k] = word >= threshold;
  }
  return result;
}
