"""The CUDA emulator does what CUDA's programming guide and the PTX manual say, under every schedule and profile."""

from __future__ import annotations

import ctypes
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import emulator
import numpy as np
import pytest
from emulator.testing import download, require_emulator, upload

require_emulator()

PROFILES = ("fast", "checked")


@pytest.fixture(params=[(profile, order) for profile in PROFILES for order in (0, 1, 2)], ids=str)
def every_way(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """Each profile under each schedule."""
    profile, order = request.param
    with emulator.using(profile=profile, order=order, seed=5):
        yield request.param


def run(
    source: str,
    kernel: str,
    arrays: list[np.ndarray],
    *scalars: np.generic,
    grid: tuple[int, ...] = (1,),
    block: tuple[int, ...] = (32,),
    shared_bytes: int = 0,
    options: tuple[str, ...] = (),
) -> list[np.ndarray]:
    """Launches a kernel on copies of the arrays, then the scalars; returns the copies as it left them."""
    function = emulator.compile(source, options).function(kernel)
    copies = [upload(array) for array in arrays]
    function.launch(grid, block, [np.uintp(copy.ptr) for copy in copies] + list(scalars), shared_bytes)
    return [download(copy, array.dtype, array.shape) for copy, array in zip(copies, arrays)]


# ---- where a thread is


def test_every_thread_of_a_3d_grid_runs_once_and_knows_its_place(every_way):
    source = """
    extern "C" __global__ void mark(int* out) {
      int block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
      int thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
      int threads = blockDim.x * blockDim.y * blockDim.z;
      out[block * threads + thread] += 1 + threadIdx.z + 10 * threadIdx.y + 100 * threadIdx.x + 1000 * blockIdx.z
                                         + 10000 * blockIdx.y + 100000 * blockIdx.x;
    }"""
    grid, block = (3, 2, 4), (5, 3, 2)
    (out,) = run(source, "mark", [np.zeros(24 * 30, np.int32)], grid=grid, block=block)
    bz, by, bx, tz, ty, tx = np.indices((4, 2, 3, 2, 3, 5))
    expected = 1 + tz + 10 * ty + 100 * tx + 1000 * bz + 10000 * by + 100000 * bx
    np.testing.assert_array_equal(out, expected.ravel())


def test_1024_threads_meet_at_a_barrier(every_way):
    source = """
    extern "C" __global__ void __launch_bounds__(1024) reverse(float* x) {
      __shared__ float tile[1024];
      tile[threadIdx.x] = x[threadIdx.x];
      __syncthreads();
      x[threadIdx.x] = tile[1023 - threadIdx.x];
    }"""
    x = np.arange(1024, dtype=np.float32)
    (out,) = run(source, "reverse", [x], block=(1024,))
    np.testing.assert_array_equal(out, x[::-1])


# ---- barriers and memory


def test_reducing_barriers_count_and_combine_predicates(every_way):
    source = """
    extern "C" __global__ void vote(int* out, int below) {
      bool mine = threadIdx.x < below;
      int count = __syncthreads_count(mine), all = __syncthreads_and(mine), any = __syncthreads_or(mine);
      out[threadIdx.x] = count * 100 + (all != 0) * 10 + (any != 0);
    }"""
    for below, expected in ((0, 0), (37, 3701), (70, 7011)):
        (out,) = run(source, "vote", [np.zeros(70, np.int32)], np.int32(below), block=(70,))
        np.testing.assert_array_equal(out, expected)


def test_dynamic_shared_memory_and_shared_structs_in_device_functions(every_way):
    source = """
    struct Pair { float low, high; };
    template <class T, int N> __device__ T through_shared(T value) {
      __shared__ T slots[N + 1], spare[2][N / 2];
      slots[threadIdx.x] = value; spare[threadIdx.x % 2][threadIdx.x / 2] = value;
      __syncthreads();
      T result = slots[(threadIdx.x + 1) % N];
      __syncthreads();
      return result;
    }
    extern "C" __global__ void rotate(double* out, int n) {
      extern __shared__ __align__(16) unsigned char raw[];
      double* numbers = reinterpret_cast<double*>(raw);
      __shared__ __align__(128) Pair pair;
      if (threadIdx.x == 0) pair.low = 0.25f, pair.high = 0.5f;
      numbers[threadIdx.x] = threadIdx.x;
      __syncthreads();
      out[threadIdx.x] = numbers[n - 1 - threadIdx.x] + pair.low + pair.high + through_shared<float, 64>(threadIdx.x)
                         + ((unsigned long long)&pair % 128);
    }"""
    (out,) = run(source, "rotate", [np.zeros(64)], np.int32(64), block=(64,), shared_bytes=64 * 8)
    i = np.arange(64)
    np.testing.assert_array_equal(out, 63 - i + 0.75 + (i + 1) % 64)


@pytest.mark.parametrize("word", ["unsigned char", "unsigned short", "unsigned int"])
def test_neighbours_may_update_their_own_part_of_a_word(every_way, word):
    source = """
    extern "C" __global__ void add(WORD* x, int n) {
      __shared__ WORD tile[33];
      int i = blockIdx.x * 33 + threadIdx.x;
      tile[threadIdx.x] = x[i];
      tile[threadIdx.x] += 1;
      x[i] += tile[threadIdx.x];
      if (x[i] % 2 == 0) tile[threadIdx.x] = 0;
      x[i] += 1;
    }"""
    x = np.arange(99).astype({"unsigned char": np.uint8, "unsigned short": np.uint16, "unsigned int": np.uint32}[word])
    (out,) = run(source, "add", [x], np.int32(99), grid=(3,), block=(33,), options=(f"-DWORD={word}",))
    np.testing.assert_array_equal(out, 2 * x + 2)


def test_atomics_add_up_in_shared_and_global_memory(every_way, rng):
    source = """
    extern "C" __global__ void histogram(const int* x, unsigned* bins, unsigned long long* sum, int* most, int n) {
      __shared__ unsigned mine[16];
      if (threadIdx.x < 16) mine[threadIdx.x] = 0;
      __syncthreads();
      int i = blockIdx.x * blockDim.x + threadIdx.x;
      if (i < n) { atomicAdd(&mine[x[i]], 1u); atomicAdd(sum, (unsigned long long)x[i] << 32); atomicMax(most, x[i]); }
      __syncthreads();
      if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], mine[threadIdx.x]);
    }"""
    x = rng.integers(0, 16, 1000).astype(np.int32)
    arrays = [x, np.zeros(16, np.uint32), np.zeros(1, np.uint64), np.full(1, -1, np.int32)]
    _, bins, total, most = run(source, "histogram", arrays, np.int32(1000), grid=(8,), block=(128,))
    np.testing.assert_array_equal(bins, np.bincount(x, minlength=16))
    assert total[0] == np.uint64(int(x.sum()) << 32)
    assert most[0] == x.max()


def test_the_last_block_may_read_what_the_others_wrote_before_a_fence_and_an_atomic(every_way, rng):
    source = """
    extern "C" __global__ void total(const float* x, float* partial, unsigned* done, float* out, int n) {
      __shared__ float sums[64]; __shared__ bool last;
      int t = threadIdx.x, i = blockIdx.x * 64 + t;
      sums[t] = i < n ? x[i] : 0.f;
      __syncthreads();
      for (int half = 32; half; half /= 2) { if (t < half) sums[t] += sums[t + half]; __syncthreads(); }
      if (t == 0) { partial[blockIdx.x] = sums[0]; __threadfence(); last = atomicAdd(done, 1u) == gridDim.x - 1; }
      __syncthreads();
      if (last && t == 0) { float s = 0; for (int b = 0; b < gridDim.x; b++) s += partial[b]; *out = s; *done = 0; }
    }"""
    x = rng.standard_normal(600).astype(np.float32)
    arrays = [x, np.zeros(10, np.float32), np.zeros(1, np.uint32), np.zeros(1, np.float32)]
    *_, done, out = run(source, "total", arrays, np.int32(600), grid=(10,), block=(64,))
    np.testing.assert_allclose(out[0], x.sum(dtype=np.float64), rtol=1e-5, atol=1e-5)
    assert done[0] == 0


# ---- warp operations


def test_shuffles_follow_the_programming_guide(every_way):
    source = """
    extern "C" __global__ void shuffle(int* index, int* up, int* down, int* flip, double* wide) {
      int lane = threadIdx.x;
      index[lane] = __shfl_sync(0xffffffffu, lane * 10, lane + 3, 8);
      up[lane] = __shfl_up_sync(0xffffffffu, lane * 10, 3, 16);
      down[lane] = __shfl_down_sync(0xffffffffu, lane * 10, 3);
      flip[lane] = __shfl_xor_sync(0xffffffffu, lane * 10, 5);
      wide[lane] = __shfl_xor_sync(0xffffffffu, lane + 0.5, 16);
    }"""
    lane = np.arange(32)
    index, up, down, flip, wide = run(source, "shuffle", [np.zeros(32, np.int32)] * 4 + [np.zeros(32)])
    np.testing.assert_array_equal(index, (lane // 8 * 8 + (lane + 3) % 8) * 10)
    np.testing.assert_array_equal(up, np.where(lane % 16 >= 3, lane - 3, lane) * 10)
    np.testing.assert_array_equal(down, np.where(lane + 3 < 32, lane + 3, lane) * 10)
    np.testing.assert_array_equal(flip, (lane ^ 5) * 10)
    np.testing.assert_array_equal(wide, (lane ^ 16) + 0.5)


def test_votes_and_reductions_cover_the_lanes_of_the_mask(every_way):
    source = """
    extern "C" __global__ void vote(unsigned* out) {
      unsigned lane = threadIdx.x % 32, half = lane < 16 ? 0x0000ffffu : 0xffff0000u;
      unsigned odd = lane < 16 ? __ballot_sync(0x0000ffffu, lane & 1) : __ballot_sync(0xffff0000u, lane & 2);
      unsigned bits = __any_sync(half, lane == 3) | __all_sync(half, lane >= 16) << 1;
      unsigned sum = __reduce_add_sync(half, lane), most = __reduce_max_sync(half, lane ^ 5);
      out[threadIdx.x] = (odd % 1009u) + 10000 * bits + 100000 * sum + 100000000 * most;
    }"""
    (out,) = run(source, "vote", [np.zeros(64, np.uint32)], block=(64,))
    low = 0xAAAA % 1009 + 10000 * 1 + 100000 * sum(range(16)) + 100000000 * 15
    high = 0xCCCC0000 % 1009 + 10000 * 2 + 100000 * sum(range(16, 32)) + 100000000 * 31
    np.testing.assert_array_equal(out, np.tile(np.repeat(np.array([low, high], np.uint64) % 2**32, 16), 2))


def test_arguments_of_warp_operations_may_hold_commas_and_repeat_in_device_functions(every_way):
    source = """
    template <int A, int B> __device__ int mix(int x) { return A * x + B; }
    template <int Width> __device__ int warp_sum(int x) {
    #pragma unroll
      for (int o = Width / 2; o; o /= 2) x += __shfl_xor_sync(0xffffffffu, mix<1, 0>(x), o);
      return x;
    }
    extern "C" __global__ void sums(int* out) {
      out[threadIdx.x] = warp_sum<32>(threadIdx.x) + 1000 * warp_sum<4>(1)
                         + 10000 * __any_sync(0xffffffffu, mix<1, 2>(threadIdx.x) == 33);
    }"""
    (out,) = run(source, "sums", [np.zeros(32, np.int32)])
    np.testing.assert_array_equal(out, 496 + 4000 + 10000)


def test_syncwarp_orders_lanes_and_a_ragged_warp_takes_part(every_way):
    source = """
    extern "C" __global__ void neighbour(int* out) {
      __shared__ int slot[40];
      slot[threadIdx.x] = threadIdx.x;
      __syncwarp();
      int first = threadIdx.x & ~31u, count = first ? 8 : 32;
      int other = slot[first + (threadIdx.x - first + 1) % count];
      __syncwarp();
      slot[threadIdx.x] = other;
      __syncwarp();
      out[threadIdx.x] = slot[threadIdx.x] + 100 * __popc(__ballot_sync(0xffffffffu, 1));
    }"""
    (out,) = run(source, "neighbour", [np.zeros(40, np.int32)], block=(40,))
    i = np.arange(32)
    expected = np.concatenate([(i + 1) % 32 + 3200, 32 + (i[:8] + 1) % 8 + 800])
    np.testing.assert_array_equal(out, expected)


# ---- asynchronous copies


@pytest.mark.parametrize("copies", ["late", "early", "random"])
def test_cp_async_pipelines_deliver_and_zero_fill(every_way, copies, rng):
    source = """
    extern "C" __global__ void stage(const float* x, float* out, int n, int steps) {
      __shared__ __align__(16) float tile[2][128];
      int t = threadIdx.x;
      for (int s = 0; s < 2; s++) {
        int left = n - (s * 128 + 4 * t);
        emu_cp_async(&tile[s][4 * t], left > 0 ? x + s * 128 + 4 * t : x, 16, left > 4 ? 16 : left > 0 ? 4 * left : 0);
        emu_cp_commit();
      }
      for (int s = 0; s < steps; s++) {
        emu_cp_wait(1);
        __syncthreads();
        for (int i = t; i < 128; i += 32) out[s * 128 + i] = 2 * tile[s % 2][127 - i];
        __syncthreads();
        int next = (s + 2) * 128 + 4 * t, left = n - next;
        if (s + 2 < steps) emu_cp_async(&tile[s % 2][4 * t], left > 0 ? x + next : x, 16,
                                        left > 4 ? 16 : left > 0 ? 4 * left : 0);
        emu_cp_commit();
      }
      emu_cp_wait(-1);
    }"""
    x = rng.standard_normal(500).astype(np.float32)
    with emulator.using(copies=copies):
        _, out = run(source, "stage", [x, np.zeros(512, np.float32)], np.int32(500), np.int32(4))
    padded = np.pad(x, (0, 12)).reshape(4, 128)
    np.testing.assert_array_equal(out.reshape(4, 128), 2 * padded[:, ::-1])


# ---- tensor cores: fragments element by element as the PTX manual lists them, against matrix products

MMA = """
// The PTX manual's formulas for 16-bit inputs of m16n8k16 (elements i = 0..7 of A, 0..3 of B) and m16n8k8.
__device__ int group() { return (threadIdx.x % 32) >> 2; }
__device__ int member() { return (threadIdx.x % 32) % 4; }
__device__ int c_row(int i) { return i < 2 ? group() : group() + 8; }
__device__ int c_col(int i) { return member() * 2 + (i & 1); }
__device__ int a16_row(int i) { return (i < 2 || (i >= 4 && i < 6)) ? group() : group() + 8; }
__device__ int a16_col(int i) { return i < 4 ? member() * 2 + (i & 1) : member() * 2 + (i & 1) + 8; }
__device__ int b16_row(int i) { return i < 2 ? member() * 2 + (i & 1) : member() * 2 + (i & 1) + 8; }
__device__ unsigned pack(unsigned short low, unsigned short high) { return low | (unsigned)high << 16; }

#define MMA_16_BIT(NAME, INSTRUCTION, K)                                                                   \\
  extern "C" __global__ void NAME(const unsigned short* a, const unsigned short* b, float* c) {            \\
    unsigned fa[4], fb[2]; float fc[4];                                                                    \\
    for (int i = 0; i < K / 2; i += 2)                                                                     \\
      fa[i / 2] = pack(a[a16_row(i) * K + a16_col(i)], a[a16_row(i + 1) * K + a16_col(i + 1)]);            \\
    for (int i = 0; i < K / 4; i += 2)                                                                     \\
      fb[i / 2] = pack(b[b16_row(i) * 8 + group()], b[b16_row(i + 1) * 8 + group()]);                      \\
    for (int i = 0; i < 4; i++) fc[i] = c[c_row(i) * 8 + c_col(i)];                                        \\
    INSTRUCTION(fc, fa, fb, fc);                                                                           \\
    for (int i = 0; i < 4; i++) c[c_row(i) * 8 + c_col(i)] = fc[i];                                        \\
  }
MMA_16_BIT(bf16_k16, emu_mma_bf16, 16)
MMA_16_BIT(f16_k16, emu_mma_f16, 16)
MMA_16_BIT(f16_k8, emu_mma_f16_k8, 8)

extern "C" __global__ void tf32_k8(const float* a, const float* b, float* c) {
  unsigned fa[4], fb[2]; float fc[4];
  for (int i = 0; i < 4; i++) {
    int row = (i == 0 || i == 2) ? group() : group() + 8, col = (i == 0 || i == 1) ? member() : member() + 4;
    fa[i] = emu::tf32_rna(a[row * 8 + col]);
  }
  fb[0] = emu::tf32_rna(b[member() * 8 + group()]);
  fb[1] = emu::tf32_rna(b[(member() + 4) * 8 + group()]);
  for (int i = 0; i < 4; i++) fc[i] = c[c_row(i) * 8 + c_col(i)];
  emu_mma_tf32(fc, fa, fb, fc);
  for (int i = 0; i < 4; i++) c[c_row(i) * 8 + c_col(i)] = fc[i];
}

// The usual way with ldmatrix: A is row major, B is row major (k, n) and read transposed.
extern "C" __global__ void bf16_ldmatrix(const unsigned short* a, const unsigned short* b, float* c) {
  __shared__ __align__(16) unsigned short sa[16][24], sb[16][8];
  int lane = threadIdx.x;
  for (int i = lane; i < 256; i += 32) sa[i / 16][i % 16] = a[i];
  for (int i = lane; i < 128; i += 32) sb[i / 8][i % 8] = b[i];
  __syncwarp();
  unsigned fa[4], fb[2]; float fc[4];
  emu_ldmatrix(fa, &sa[lane % 16][lane / 16 * 8], 4, 0);
  emu_ldmatrix(fb, &sb[lane % 16][0], 2, 1);
  for (int i = 0; i < 4; i++) fc[i] = c[c_row(i) * 8 + c_col(i)];
  emu_mma_bf16(fc, fa, fb, fc);
  for (int i = 0; i < 4; i++) c[c_row(i) * 8 + c_col(i)] = fc[i];
}

// Without 'trans', a lane's register holds columns 2t, 2t + 1 of row g of its matrix.
extern "C" __global__ void ldmatrix_x1(const unsigned short* a, unsigned* out) {
  __shared__ __align__(16) unsigned short tile[8][8];
  int lane = threadIdx.x;
  for (int i = lane; i < 64; i += 32) tile[i / 8][i % 8] = a[i];
  __syncwarp();
  emu_ldmatrix(&out[lane], &tile[lane % 8][0], 1, 0);
}
"""


def bf16_bits(x: np.ndarray) -> np.ndarray:
    """Truncated, which is exact for what these tests use."""
    return (np.ascontiguousarray(x, np.float32).view(np.uint32) >> 16).astype(np.uint16)


@pytest.mark.parametrize("rounding", ["nearest", "zero"])
@pytest.mark.parametrize("kernel", ["bf16_k16", "f16_k16", "f16_k8", "tf32_k8", "bf16_ldmatrix"])
def test_mma_fragments_give_the_matrix_product(every_way, kernel, rounding, rng):
    k = 8 if kernel.endswith("k8") else 16
    # Small integers: exact in every format, so that one number in the wrong place shows.
    a, b, c = (rng.integers(-8, 9, shape).astype(np.float32) for shape in ((16, k), (k, 8), (16, 8)))
    to_bits = {"f": lambda x: x.astype(np.float16).view(np.uint16), "b": bf16_bits, "t": lambda x: x}[kernel[0]]
    with emulator.using(rounding=rounding):
        *_, out = run(MMA, kernel, [to_bits(a), to_bits(b), c])
    np.testing.assert_array_equal(out, a.astype(np.float64) @ b + c)


@pytest.mark.parametrize("rounding", ["nearest", "zero"])
def test_mma_of_random_tf32_numbers_is_as_exact_as_its_inputs(rounding, rng):
    a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((16, 8), (8, 8)))
    with emulator.using(rounding=rounding):
        *_, out = run(MMA, "tf32_k8", [a, b, np.zeros((16, 8), np.float32)])
    np.testing.assert_allclose(out, a.astype(np.float64) @ b, atol=8 * 4 * 2.0**-11)
    assert np.abs(out - a.astype(np.float64) @ b).max() > 1e-6  # it did round to TF32


def test_ldmatrix_hands_out_rows_of_eight_halves():
    a = np.arange(64, dtype=np.uint16)
    _, out = run(MMA, "ldmatrix_x1", [a, np.zeros(32, np.uint32)])
    np.testing.assert_array_equal(out, a.view(np.uint32))


# ---- number formats

FORMATS = """
extern "C" __global__ void narrow(const float* x, unsigned short* half, unsigned short* bf16, unsigned* tf32, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  half[i] = emu::float_to_half_rn(x[i]);
  bf16[i] = emu::float_to_bf16_rn(x[i]);
  tf32[i] = emu::tf32_rna(x[i]);
}
extern "C" __global__ void widen(float* half, float* bf16) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  half[i] = emu::half_to_float((unsigned short)i);
  bf16[i] = emu::bf16_to_float((unsigned short)i);
}
"""


def rounded_to_fraction_bits(x: np.ndarray, bits: int, ties_to_even: bool) -> np.ndarray:
    """Normal numbers rounded to so many fraction bits, in float64 arithmetic."""
    mantissa, exponent = np.frexp(x.astype(np.float64))
    scaled = mantissa * 2.0 ** (bits + 1)
    rounded = np.rint(scaled) if ties_to_even else np.sign(scaled) * np.floor(np.abs(scaled) + 0.5)
    return np.ldexp(rounded, exponent - bits - 1)


def test_float16_bfloat16_and_tf32_round_as_the_formats_say(rng):
    bits = np.concatenate([rng.integers(0, 2**32, 40000), np.arange(2**16) << 16, (np.arange(2**16) << 16) | 0x8000])
    halfway = np.arange(2**13, dtype=np.uint32) << 19 | 0x1000  # ties of float16 and TF32
    x = np.concatenate([bits.astype(np.uint32), halfway]).view(np.float32)
    x = np.concatenate([x, np.array([0.0, -0.0, 65504, 65519.99, 65520, 2.0**-24, 2.0**-25, 3 * 2.0**-26], np.float32)])
    outputs = [np.zeros(x.size, np.uint16), np.zeros(x.size, np.uint16), np.zeros(x.size, np.uint32)]
    grid = (-(-x.size // 256),)
    _, half, bf16, tf32 = run(FORMATS, "narrow", [x, *outputs], np.int32(x.size), grid=grid, block=(256,))

    with np.errstate(over="ignore", invalid="ignore"):
        np.testing.assert_array_equal(half.view(np.float16), x.astype(np.float16))
        np.testing.assert_array_equal(np.signbit(half.view(np.float16)), np.signbit(x) & ~np.isnan(x))
        normal = np.isfinite(x) & (np.abs(x) >= 2.0**-126)
        as_bf16 = (bf16.astype(np.uint32) << 16).view(np.float32)
        for got, expected in (
            (as_bf16, rounded_to_fraction_bits(x[normal], 7, ties_to_even=True)),
            (tf32.view(np.float32), rounded_to_fraction_bits(x[normal], 10, ties_to_even=False)),
        ):
            np.testing.assert_array_equal(got[normal], expected.astype(np.float32))
            np.testing.assert_array_equal(np.isnan(got), np.isnan(x))
            np.testing.assert_array_equal(got[np.isinf(x)], x[np.isinf(x)])


def test_every_float16_and_bfloat16_widens_exactly():
    half, bf16 = run(FORMATS, "widen", [np.zeros(2**16, np.float32)] * 2, grid=(256,), block=(256,))
    every = np.arange(2**16, dtype=np.uint16)
    np.testing.assert_array_equal(half, every.view(np.float16).astype(np.float32))
    np.testing.assert_array_equal(bf16, (every.astype(np.uint32) << 16).view(np.float32))


# ---- device functions


def test_intrinsics_agree_with_python_integers(rng):
    source = """
    extern "C" __global__ void bits(const unsigned* x, const unsigned* y, unsigned* out, int n) {
      int i = threadIdx.x; unsigned a = x[i], b = y[i];
      unsigned values[] = {__umulhi(a, b), (unsigned)__mulhi((int)a, (int)b), (unsigned)__popc(a), (unsigned)__clz(a),
        (unsigned)__ffs(a), __brev(a), __byte_perm(a, b, 0x7250), __float_as_uint(__uint_as_float(a)), min(a, b),
        (unsigned)max((int)a, (int)b), __funnelshift_l(a, b, 9)};
      for (int k = 0; k < 11; k++) out[k * n + i] = values[k];
    }"""
    x, y = rng.integers(0, 2**32, (2, 64)).astype(np.uint32)
    x[:2] = 0, 1
    *_, out = run(source, "bits", [x, y, np.zeros((11, 64), np.uint32)], np.int32(64), block=(64,))
    signed = lambda v: v - 2**32 if v >= 2**31 else v  # noqa: E731
    for i, (a, b) in enumerate(zip(x.tolist(), y.tolist())):
        ab = [(v >> s) & 255 for v in (a, b) for s in (0, 8, 16, 24)]
        expected = [
            a * b >> 32,
            (signed(a) * signed(b) >> 32) % 2**32,
            a.bit_count(),
            32 - a.bit_length(),
            (a & -a).bit_length(),
            int(f"{a:032b}"[::-1], 2),
            ab[0] | ab[5] << 8 | ab[2] << 16 | ab[7] << 24,
            a if not (a & 0x7FFFFFFF) > 0x7F800000 else int(out[7, i]),
            min(a, b),
            max(signed(a), signed(b)) % 2**32,
            ((b << 32 | a) << 9 >> 32) % 2**32,
        ]
        assert out[:, i].tolist() == expected


def test_math_functions_agree_with_numpy(rng):
    source = """
    extern "C" __global__ void math(const float* x, float* out, int n) {
      int i = threadIdx.x; float v = x[i], s, c;
      __sincosf(v, &s, &c);
      float values[] = {expf(v), __expf(v), logf(v), __logf(v), tanhf(v), log1pf(v), erff(v), rsqrtf(v), sqrtf(v), s, c,
        fmaxf(v, __int_as_float(0x7fc00000)), min(v, 1.0f), __fmaf_rn(v, v, 1.0f), __saturatef(v), powf(v, 1.5f),
        (float)isnan(__uint_as_float(0x7fc00000u)), (float)isinf(v), (float)isfinite(v), floorf(v), __fdividef(v, 3.f),
        sinpif(v), cospif(v), normcdff(v)};
      for (int k = 0; k < 24; k++) out[k * n + i] = values[k];
    }"""
    x = rng.uniform(0.01, 5, 64).astype(np.float32)
    _, out = run(source, "math", [x, np.zeros((24, 64), np.float32)], np.int32(64), block=(64,))
    v = x.astype(np.float64)
    erf = np.vectorize(math.erf)
    one, zero = np.ones_like(v), np.zeros_like(v)
    rows = [np.exp(v), np.exp(v), np.log(v), np.log(v), np.tanh(v), np.log1p(v), erf(v), v**-0.5, v**0.5, np.sin(v)]
    rows += [np.cos(v), v, np.minimum(v, 1), v * v + 1, np.minimum(v, 1), v**1.5, one, zero, one, np.floor(v), v / 3]
    rows += [np.sin(np.pi * v), np.cos(np.pi * v), (1 + erf(v / 2**0.5)) / 2]
    np.testing.assert_allclose(out, rows, rtol=2e-6, atol=1e-6)


def test_vector_types_constants_templates_and_lambdas_compile(every_way, rng):
    source = """
    #define ROWS 4
    __constant__ float weights[4] = {1.f, 10.f, 100.f, 1000.f};
    template <class F> __device__ __forceinline__ float apply(F function, float x) { return function(x); }
    static __device__ float total(float4 v) { return v.x + v.y + v.z + v.w; }
    extern "C" __global__ void
    __launch_bounds__(ROWS * 8, 2)
    mix(const float4* __restrict__ x, float* __restrict__ out, const int n) {
      const int i = threadIdx.x;
      if (i >= n) return;
      float4 v = __ldg(&x[i]);
      float parts[4] = {v.x, v.y, v.z, v.w}, sum = 0.f;
    #pragma unroll
      for (int k = 0; k < 4; k++) sum += apply([&](float p) { return p * weights[k]; }, parts[k]);
      out[i] = sum + total(make_float4(1.f, 2.f, 3.f, 4.f));
    }"""
    x = rng.integers(-9, 10, (20, 4)).astype(np.float32)
    _, out = run(source, "mix", [x, np.zeros(20, np.float32)], np.int32(20))
    np.testing.assert_array_equal(out, x @ [1, 10, 100, 1000] + 10)


# ---- schedules


def test_a_racy_kernel_shows_another_result_under_another_schedule():
    source = """
    extern "C" __global__ void last_writer(int* out) {
      __shared__ int winner;
      winner = threadIdx.x;
      __syncthreads();
      if (threadIdx.x == 0) *out = winner;
    }"""
    results = []
    for order in (0, 1, 2):
        with emulator.using(order=order, seed=11, race="none"):
            results.append(int(run(source, "last_writer", [np.zeros(1, np.int32)], block=(128,))[0][0]))
    assert results[0] == 127
    assert results[1] == 0
    assert results[2] not in (0, 127)


def test_the_random_schedule_is_its_seed_s():
    source = """
    extern "C" __global__ void arrival(int* next, int* order) {
      order[atomicAdd(next, 1)] = threadIdx.x;
    }"""

    def arrivals(seed: int) -> list[int]:
        with emulator.using(order=2, seed=seed):
            return run(source, "arrival", [np.zeros(1, np.int32), np.zeros(64, np.int32)], block=(64,))[1].tolist()

    assert arrivals(1) == arrivals(1)
    assert arrivals(1) != arrivals(2)
    assert sorted(arrivals(1)) == list(range(64))


# ---- the package


def test_options_define_macros_and_parameters_are_resolved():
    source = """
    typedef unsigned long long Counter;
    #if TWICE
    extern "C" __global__ void
    twice(const T* __restrict__ x, T* const y, Counter* c, long long n, unsigned short h, bool b) {
      y[0] = FACTOR * x[0];
    }
    #else
    extern "C" __global__ void once(T* y) {}
    #endif
    """
    module = emulator.compile(source, ["-DT=float", "--define-macro=FACTOR=2", "-D", "TWICE", "--use_fast_math"])
    assert module.names == ("twice",)
    expected = ("const float*", "float*", "unsigned long long*", "long long", "unsigned short", "bool")
    assert module.function("twice").parameters == expected


def test_architecture_chooses_the_branch():
    source = 'extern "C" __global__ void which(int* out) { *out = __CUDA_ARCH__; }'
    out = upload(np.zeros(1, np.int32))
    emulator.compile(source, arch=75).function("which").launch((1,), (1,), [np.uintp(out.ptr)])
    assert download(out, np.int32)[0] == 750


def test_structs_pass_by_value_from_structured_arrays_and_ctypes(every_way):
    source = """
    struct Shape { int rows, columns; float scale; double* out; };
    extern "C" __global__ void fill(Shape shape, float more) {
      for (int i = threadIdx.x; i < shape.rows * shape.columns; i += 32) shape.out[i] = i * shape.scale + more;
    }"""
    function = emulator.compile(source).function("fill")
    assert function.parameters == ("Shape", "float")
    out = emulator.allocate(6 * 8)
    record = np.zeros(1, np.dtype([("r", "i4"), ("c", "i4"), ("s", "f4"), ("o", "u8")], align=True))
    record[0] = (2, 3, 0.5, out.ptr)
    function.launch((1,), (32,), [record, np.float32(1)])
    np.testing.assert_array_equal(download(out, np.float64), np.arange(6) * 0.5 + 1)

    class Shape(ctypes.Structure):
        _fields_ = [("r", ctypes.c_int), ("c", ctypes.c_int), ("s", ctypes.c_float), ("o", ctypes.c_void_p)]

    function.launch((1,), (32,), [Shape(1, 6, 2.0, out.ptr), ctypes.c_float(-1)])
    np.testing.assert_array_equal(download(out, np.float64), np.arange(6) * 2 - 1)


def test_a_missing_kernel_is_refused_with_the_names_there_are():
    module = emulator.compile('extern "C" __global__ void here(int n) {}')
    with pytest.raises(emulator.EmulatorError, match=r"no kernel 'there'; it has here"):
        module.function("there")


def test_a_compile_error_names_file_and_line():
    with pytest.raises(emulator.EmulatorError, match=r"square\.cu:2:.*undeclared|square\.cu:2:.*not declared"):
        emulator.compile('\nextern "C" __global__ void square(float* x) { *x = y; }', name="square.cu")


@pytest.mark.parametrize("declaration", ["__shared__ float x = 0.f;", "__shared__ struct { int a; } x;"])
def test_a_shared_declaration_it_cannot_read_is_refused(declaration):
    with pytest.raises(emulator.EmulatorError, match="cannot read the shared declaration"):
        emulator.compile(f'extern "C" __global__ void k() {{ {declaration} }}')


def test_launch_bounds_may_be_expressions_and_stand_on_lines_of_their_own():
    source = """
    #define THREADS(x, y) ((x) * (y))
    extern "C" __global__ void
    __launch_bounds__(THREADS(8, 4), 2)
    k(
        int* x,
        int n) { x[0] = n; }
    """
    function = emulator.compile(source).function("k")
    assert function.parameters == ("int*", "int")
    with pytest.raises(emulator.EmulatorError, match="compiled for 32 by its __launch_bounds__"):
        function.launch((1,), (33,), [upload(np.zeros(1, np.int32)), np.int32(1)])


def test_settings_nest_and_refuse_what_they_do_not_know():
    with emulator.using(order=1, profile="checked"):
        with emulator.using(order=2):
            assert (emulator.current_settings().order, emulator.current_settings().profile) == (2, "checked")
        assert emulator.current_settings().order == 1
    assert emulator.current_settings().order == 0
    with pytest.raises(ValueError, match="profile='thorough'"), emulator.using(profile="thorough"):
        pass


def test_a_launch_from_another_thread_has_its_time_limit():
    function = emulator.compile('extern "C" __global__ void spin(volatile int* x) { while (*x) {} }').function("spin")
    x = upload(np.ones(1, np.int32))
    caught: list[Exception] = []

    def launch() -> None:
        try:
            function.launch((1,), (1,), [x])
        except emulator.EmulatorError as error:
            caught.append(error)

    with emulator.using(timeout=0.1):
        for _ in range(2):
            worker = threading.Thread(target=launch)
            worker.start()
            worker.join()
        launch()
    assert ["time-out" in str(error) for error in caught] == [True] * 3


def test_statistics_count_launches_blocks_and_barriers():
    source = 'extern "C" __global__ void twice() { __syncthreads(); __syncthreads(); }'
    before = emulator.statistics()
    emulator.compile(source).function("twice").launch((3,), (64,), [])
    after = emulator.statistics()
    counted = {name: after[name] - before[name] for name in ("launches", "blocks", "barriers")}
    assert counted == {"launches": 1, "blocks": 3, "barriers": 6}


def test_memory_is_fresh_at_its_own_address_and_gone_when_collected():
    first = emulator.allocate(1001)
    address = first.ptr
    assert address % 16 == 0
    assert set(download(first, np.uint8)) == {0xFF}
    assert emulator.is_alive(address)
    assert emulator.is_alive(address + 1000)
    assert not emulator.is_alive(address + 1001)
    del first
    assert not emulator.is_alive(address)
    assert emulator.allocate(1001).ptr != address


def test_the_arena_is_reused_only_when_it_has_been_used_up():
    program = """
import sys; sys.path.insert(0, sys.argv[1])
import numpy as np, emulator
from emulator.testing import download, upload
kept = upload(np.arange(1000))
addresses = [emulator.allocate(1 << 20).ptr for _ in range(1000)]
distinct = addresses[: len(set(addresses))]
assert len(distinct) == len(set(distinct)) >= 60, len(distinct)  # all others repeat these
np.testing.assert_array_equal(download(kept, np.int64), np.arange(1000))
try:
    emulator.allocate(65 << 20)
except MemoryError:
    print("full")
"""
    assert run_python(program, GRADLITE_EMULATOR_ARENA=str(64 << 20)) == "full"


def run_python(program: str, **environment: str) -> str:
    """What a program prints in a process of its own; its argument is the folder that holds the emulator."""
    tests = str(Path(__file__).resolve().parents[1])
    done = subprocess.run(
        [sys.executable, "-c", program, tests], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.slow
def test_processes_that_build_the_same_kernel_at_once_do_not_disturb_each_other(tmp_path):
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import emulator\n"
        "emulator.compile('extern \"C\" __global__ void k(int* x) { *x = 1; }').function('k')\n"
    )
    environment = {**os.environ, "GRADLITE_EMULATOR_CACHE": str(tmp_path)}
    tests = str(Path(__file__).resolve().parents[1])
    racers = [subprocess.Popen([sys.executable, "-c", program, tests], env=environment) for _ in range(4)]
    assert [racer.wait(timeout=120) for racer in racers] == [0] * 4
    run_python(program, GRADLITE_EMULATOR_CACHE=str(tmp_path))  # now all is there
    assert len(list(tmp_path.iterdir())) == 2  # the runtime and the kernel, nothing left over


def test_a_compiled_kernel_is_found_again_without_the_compiler(monkeypatch):
    source = 'extern "C" __global__ void k(int* x) { *x = 41; }'
    emulator.compile(source)
    monkeypatch.setattr(subprocess, "run", None)
    assert emulator.compile(source).names == ("k",)
