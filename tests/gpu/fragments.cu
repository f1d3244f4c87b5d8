// Which element of a matrix each lane's registers hold: what our kernels assume of mma and ldmatrix, written out.
// Included after ptx.cuh by the test.

// One warp: D (16, 8) = A (16, 8) B (8, 8), row-major floats that TF32 holds exactly.
extern "C" __global__ void product_tf32(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ d) {
#if defined(EMU_SHIM) || __CUDA_ARCH__ >= 800
  int group = threadIdx.x / 4, place = threadIdx.x % 4;
  unsigned left[4], right[2];
  float sum[4] = {};
  for (int r = 0; r < 4; r++) left[r] = tf32(a[(group + 8 * (r % 2)) * 8 + place + 4 * (r / 2)]);
  for (int r = 0; r < 2; r++) right[r] = tf32(b[(place + 4 * r) * 8 + group]);
  mma_tf32(sum, left, right);
  for (int r = 0; r < 4; r++) d[(group + 8 * (r / 2)) * 8 + 2 * place + r % 2] = sum[r];
#endif
}

// One warp: D (16, 8) = A (16, 16) B (16, 8), 16-bit words in row-major order.
template <bool HALF> __device__ void product_16(const unsigned short* a, const unsigned short* b, float* d) {
#if defined(EMU_SHIM) || __CUDA_ARCH__ >= 800
  int group = threadIdx.x / 4, place = threadIdx.x % 4;
  unsigned left[4], right[2];
  float sum[4] = {};
  for (int r = 0; r < 4; r++) {
    const unsigned short* pair = a + (group + 8 * (r % 2)) * 16 + 2 * place + 8 * (r / 2);
    left[r] = pair[0] | (unsigned)pair[1] << 16;
  }
  for (int r = 0; r < 2; r++) {
    const unsigned short* pair = b + (2 * place + 8 * r) * 8 + group;
    right[r] = pair[0] | (unsigned)pair[8] << 16;
  }
  if (HALF) mma_f16(sum, left, right);
  else mma_bf16(sum, left, right);
  for (int r = 0; r < 4; r++) d[(group + 8 * (r / 2)) * 8 + 2 * place + r % 2] = sum[r];
#endif
}

extern "C" __global__ void product_f16(const unsigned short* __restrict__ a, const unsigned short* __restrict__ b,
                                       float* __restrict__ d) {
  product_16<true>(a, b, d);
}

extern "C" __global__ void product_bf16(const unsigned short* __restrict__ a, const unsigned short* __restrict__ b,
                                        float* __restrict__ d) {
  product_16<false>(a, b, d);
}

// Four 8 x 8 matrices of 16-bit words, one after the other; lane i points at row i. Every lane's registers come out.
template <bool TRANSPOSED> __device__ void dump(const unsigned short* words, unsigned* registers) {
#if defined(EMU_SHIM) || __CUDA_ARCH__ >= 750
  __shared__ __align__(16) unsigned short rows[256];
  for (int i = threadIdx.x; i < 256; i += 32) rows[i] = words[i];
  __syncthreads();
  unsigned found[4];
  if (TRANSPOSED) ldmatrix_4_transposed(found, rows + 8 * threadIdx.x);
  else ldmatrix_4(found, rows + 8 * threadIdx.x);
  for (int r = 0; r < 4; r++) registers[threadIdx.x * 4 + r] = found[r];
#endif
}

extern "C" __global__ void dump_ldmatrix(const unsigned short* __restrict__ words, unsigned* __restrict__ registers) {
  dump<false>(words, registers);
}

extern "C" __global__ void dump_ldmatrix_transposed(const unsigned short* __restrict__ words,
                                                    unsigned* __restrict__ registers) {
  dump<true>(words, registers);
}

// Conversions, element by element: each word of 16 bits to a float, each float to both 16-bit formats and to TF32.
extern "C" __global__ void convert(const float* __restrict__ x, unsigned short* __restrict__ half_words,
                                   unsigned short* __restrict__ bfloat16_words, unsigned* __restrict__ tf32_words,
                                   float* __restrict__ back, int size) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= size) return;
  half_words[i] = float_to_half(x[i]).bits;
  bfloat16_words[i] = float_to_bfloat16(x[i]).bits;
  back[i] = half_to_float(half_t{half_words[i]});
#if defined(EMU_SHIM) || __CUDA_ARCH__ >= 800
  tf32_words[i] = tf32(x[i]);
#endif
}
