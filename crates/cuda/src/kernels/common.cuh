// What every kernel is written with: types, conversions, vectors, iteration spaces, reductions, random words.
// Put before each source; compiled by NVRTC for sm_80 and newer, without CUDA's headers.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long long i64;

#define INLINE __device__ __forceinline__
#define KERNEL extern "C" __global__ void
#define FULL_WARP 0xffffffffu

// The first thing in every kernel (offline.rs looks): waits for the results of the launch before it, and lets the one after it begin,
// whose blocks then wait here for this one's. So the pause between two launches overlaps work: programmatic dependent launch.
INLINE void overlap() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// ---- 16-bit floats: their bits, so that no header is needed -----------------------------------------------------------
struct alignas(2) half_t {
  unsigned short bits;
};
struct alignas(2) bf16_t {
  unsigned short bits;
};

INLINE float half_to_float(half_t h) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(h.bits));
  return f;
}
INLINE half_t float_to_half(float f) {
  half_t h;
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(h.bits) : "f"(f));
  return h;
}
INLINE half_t double_to_half(double d) {
  half_t h;
  asm("cvt.rn.f16.f64 %0, %1;" : "=h"(h.bits) : "d"(d));
  return h;
}
INLINE float bf16_to_float(bf16_t b) {
  return __uint_as_float((u32)b.bits << 16);
}
INLINE bf16_t float_to_bf16(float f) {
  bf16_t b;
  asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(b.bits) : "f"(f));
  return b;
}
// Through float rounded to odd: its last bit remembers what was cut off, so that bfloat16 is rounded once.
INLINE bf16_t double_to_bf16(double d) {
  float f = __double2float_rz(d);
  if ((double)f != d && d == d) f = __uint_as_float(__float_as_uint(f) | 1);
  return float_to_bf16(f);
}

// ---- the type that T is computed in: float for 16-bit floats, T for the rest ------------------------------------------
template <class T>
struct Acc {
  typedef T type;
};
template <>
struct Acc<half_t> {
  typedef float type;
};
template <>
struct Acc<bf16_t> {
  typedef float type;
};
template <class T>
using acc_t = typename Acc<T>::type;

// ---- the type that many values of T are added in: int64, which wraps, for integers and bools, acc_t<T> for floats ------
template <class T>
struct Wide {
  typedef i64 type;
};
template <>
struct Wide<half_t> {
  typedef float type;
};
template <>
struct Wide<bf16_t> {
  typedef float type;
};
template <>
struct Wide<float> {
  typedef float type;
};
template <>
struct Wide<double> {
  typedef double type;
};
template <class T>
using wide_t = typename Wide<T>::type;

template <class T>
INLINE T to_acc(T v) {
  return v;
}
INLINE float to_acc(half_t v) {
  return half_to_float(v);
}
INLINE float to_acc(bf16_t v) {
  return bf16_to_float(v);
}

// from_acc<T>(value): rounded to T once. From float or double to a 16-bit float, else a plain conversion.
template <class T>
struct FromAcc {
  template <class A>
  INLINE static T of(A v) {
    return (T)v;
  }
};
template <>
struct FromAcc<half_t> {
  INLINE static half_t of(float v) {
    return float_to_half(v);
  }
  INLINE static half_t of(double v) {
    return double_to_half(v);
  }
};
template <>
struct FromAcc<bf16_t> {
  INLINE static bf16_t of(float v) {
    return float_to_bf16(v);
  }
  INLINE static bf16_t of(double v) {
    return double_to_bf16(v);
  }
};
template <class T, class A>
INLINE T from_acc(A v) {
  return FromAcc<T>::of(v);
}

// ---- limits -----------------------------------------------------------------------------------------------------------
template <class A>
struct Limits;
template <>
struct Limits<float> {
  INLINE static float lowest() {
    return __uint_as_float(0xff800000u);
  }
  INLINE static float highest() {
    return __uint_as_float(0x7f800000u);
  }
};
template <>
struct Limits<double> {
  INLINE static double lowest() {
    return __longlong_as_double(0xfff0000000000000ll);
  }
  INLINE static double highest() {
    return __longlong_as_double(0x7ff0000000000000ll);
  }
};
template <>
struct Limits<int> {
  INLINE static int lowest() {
    return -2147483647 - 1;
  }
  INLINE static int highest() {
    return 2147483647;
  }
};
template <>
struct Limits<long long> {
  INLINE static long long lowest() {
    return -9223372036854775807ll - 1;
  }
  INLINE static long long highest() {
    return 9223372036854775807ll;
  }
};
template <>
struct Limits<unsigned char> {
  INLINE static unsigned char lowest() {
    return 0;
  }
  INLINE static unsigned char highest() {
    return 255;
  }
};
template <>
struct Limits<bool> {
  INLINE static bool lowest() {
    return false;
  }
  INLINE static bool highest() {
    return true;
  }
};

template <class A>
INLINE bool is_nan(A v) {
  return v != v;
}

// ---- scalars ----------------------------------------------------------------------------------------------------------
// A number by value, or in a captured plan at an address; the same bits as `Scalar` in gpu.rs.
struct Sc {
  double value;
  const double* param;
};
INLINE double get(const Sc& s) {
  return s.param ? __ldg(s.param) : s.value;
}

// ---- vectors ----------------------------------------------------------------------------------------------------------
// N values loaded and stored in one go (up to 16 bytes); the address must be a multiple of the size.
template <class T, int N>
struct alignas(sizeof(T) * N) Vec {
  T v[N];
};
// Values of T in 16 bytes.
template <class T>
constexpr int VEC_OF = 16 / (int)sizeof(T);

template <class T, int N>
INLINE Vec<T, N> load_vec(const T* p) {
  return *reinterpret_cast<const Vec<T, N>*>(p);
}
template <class T, int N>
INLINE void store_vec(T* p, const Vec<T, N>& v) {
  *reinterpret_cast<Vec<T, N>*>(p) = v;
}

// ---- iteration spaces -------------------------------------------------------------------------------------------------
// The same bits as `Space` in geometry.rs. Sizes and strides (in elements) of `rank` merged dimensions, innermost last.
constexpr int MAX_RANK = 8;
template <int N>
struct Space {
  int rank;
  u64 numel;
  u64 sizes[MAX_RANK];
  u64 strides[N][MAX_RANK];
  // Where element `index` of the space lies in each operand. I: u32 where numel < 2^31, for cheap divisions; offsets are always 64 bits wide.
  template <class I>
  INLINE void offsets(I index, u64 (&offset)[N]) const {
#pragma unroll
    for (int k = 0; k < N; k++) offset[k] = 0;
#pragma unroll
    for (int d = MAX_RANK - 1; d > 0; d--) {
      if (d >= rank) continue;
      I size = (I)sizes[d], rest = index / size, at = index - rest * size;
      index = rest;
#pragma unroll
      for (int k = 0; k < N; k++) offset[k] += (u64)at * strides[k][d];
    }
    if (rank > 0) {
#pragma unroll
      for (int k = 0; k < N; k++) offset[k] += (u64)index * strides[k][0];
    }
  }
  // The same for spaces of any size: divides by 32 bits where that is enough.
  INLINE void locate(u64 index, u64 (&offset)[N]) const {
    if (numel >> 31) offsets<u64>(index, offset);
    else offsets<u32>((u32)index, offset);
  }
};

// ---- threads ----------------------------------------------------------------------------------------------------------
// A wrong index, as fault.rs hears of it: `seen` keeps optimizers from updating anything, the host looks at `*host`.
struct Fault {
  u64 seen;
  volatile u32* host;
};
INLINE void raise(Fault* f) {
  f->seen = 1;
  *f->host = 1;
}

INLINE u64 global_thread() {
  return (u64)blockIdx.x * blockDim.x + threadIdx.x;
}
INLINE u64 global_threads() {
  return (u64)gridDim.x * blockDim.x;
}

// ---- reductions; every thread gets the result, and the order of additions depends on nothing but the block's size -----
struct Add {
  template <class A>
  INLINE A operator()(A a, A b) const {
    return a + b;
  }
};
// NaN wins, as in PyTorch.
struct Max {
  template <class A>
  INLINE A operator()(A a, A b) const {
    return a > b || is_nan(a) ? a : b;
  }
};
struct Min {
  template <class A>
  INLINE A operator()(A a, A b) const {
    return a < b || is_nan(a) ? a : b;
  }
};

template <class A, class Op>
INLINE A warp_reduce(A v, Op op) {
#pragma unroll
  for (int o = 16; o; o >>= 1) v = op(v, __shfl_xor_sync(FULL_WARP, v, o));
  return v;
}
template <class A>
INLINE A warp_sum(A v) {
  return warp_reduce(v, Add());
}
template <class A>
INLINE A warp_max(A v) {
  return warp_reduce(v, Max());
}

// Over a block of whole warps (blockDim.x a multiple of 32, at most 1024, blockDim.y = blockDim.z = 1). All threads must call it.
template <class A, class Op>
INLINE A block_reduce(A v, Op op, A identity) {
  __shared__ A part[32];
  v = warp_reduce(v, op);
  __syncthreads();  // the part of an earlier call has been read
  if ((threadIdx.x & 31) == 0) part[threadIdx.x >> 5] = v;
  __syncthreads();
  v = (threadIdx.x & 31) < (blockDim.x >> 5) ? part[threadIdx.x & 31] : identity;
  return warp_reduce(v, op);
}
template <class A>
INLINE A block_sum(A v) {
  return block_reduce(v, Add(), (A)0);
}
template <class A>
INLINE A block_max(A v) {
  return block_reduce(v, Max(), Limits<A>::lowest());
}

// True in the last block to come here of the `blocks` that share `counter`, which it leaves at 0: it sees what all of them wrote.
INLINE bool last_block(u32* counter, u32 blocks) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    last = atomicAdd(counter, 1) == blocks - 1;
    if (last) *counter = 0;
  }
  __syncthreads();
  if (last) __threadfence();
  return last;
}

// ---- random words: Philox4x32-10, the conventions of crates/core/src/cpu/philox.rs ------------------------------------
// Element i of a tensor takes word i % 4 of counter offset + i / 4; `draw` is 0, or 1 for the low bits of a 64-bit number.
struct Words {
  u32 w[4];
};
INLINE Words philox(u64 seed, u64 counter, u32 draw) {
  u32 c0 = (u32)counter, c1 = (u32)(counter >> 32), c2 = draw, c3 = 0;
  u32 k0 = (u32)seed, k1 = (u32)(seed >> 32);
#pragma unroll
  for (int i = 0; i < 10; i++) {
    u32 a = 0xD2511F53u * c0, ah = __umulhi(0xD2511F53u, c0);
    u32 b = 0xCD9E8D57u * c2, bh = __umulhi(0xCD9E8D57u, c2);
    c0 = bh ^ c1 ^ k0;
    c2 = ah ^ c3 ^ k1;
    c1 = b;
    c3 = a;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return Words{{c0, c1, c2, c3}};
}
// A seed as a number of the host: a negative one wraps, as in PyTorch.
INLINE u64 seed_bits(double seed) {
  return seed < 0 ? (u64)(i64)seed : (u64)seed;
}
