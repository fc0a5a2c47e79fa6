// Softmax and its logarithm over one dimension. TYPE: an element; LOG: whether the logarithm is wanted.
// A row is read once and held in registers where it fits; `step`: elements between neighbours of a row.
typedef acc_t<TYPE> Real;
constexpr int WIDTH = VEC_OF<TYPE>;

INLINE float exponential(float x) {
  // The fast form is exact enough for what is rounded to 16 bits.
  if constexpr (sizeof(TYPE) == 2) return __expf(x);
  else return expf(x);
}
INLINE double exponential(double x) {
  return exp(x);
}
INLINE float logarithm(float x) {
  return logf(x);
}
INLINE double logarithm(double x) {
  return log(x);
}
// NaNs are left out of a maximum: their exponentials make the sum a NaN.
INLINE Real larger(Real a, Real b) {
  return b > a ? b : a;
}
// What turns an exponential's argument into a result: the sum's reciprocal, or its logarithm.
INLINE Real norm_of(Real sum) {
  return LOG ? logarithm(sum) : (Real)1 / sum;
}
INLINE TYPE result_of(Real x, Real max, Real norm) {
  return from_acc<TYPE>(LOG ? (x - max) - norm : exponential(x - max) * norm);
}

template <int V>
INLINE Vec<TYPE, V> read(const TYPE* x, u64 at, u64 step) {
  if constexpr (V > 1) return load_vec<TYPE, V>(x + at);
  else return Vec<TYPE, V>{{x[at * step]}};
}
template <int V>
INLINE void write(TYPE* y, u64 at, u64 step, const Vec<TYPE, V>& v) {
  if constexpr (V > 1) store_vec<TYPE, V>(y + at, v);
  else y[at * step] = v.v[0];
}

// `lanes` threads (a power of two, at most 32) a row of at most lanes * V * K elements, held in registers.
template <int V, int K>
INLINE void in_warp(const TYPE* x, TYPE* y, const Space<2>& rows, u32 length, u32 lanes, u64 x_step, u64 y_step) {
  u64 row = (u64)blockIdx.x * (blockDim.x / lanes) + threadIdx.x / lanes, at[2] = {0, 0};
  u32 lane = threadIdx.x & (lanes - 1);
  bool live = row < rows.numel;
  if (live) rows.offsets(row, at);
  else length = 0;
  x += at[0];
  y += at[1];
  Real value[K * V], max = Limits<Real>::lowest(), sum = 0;
#pragma unroll
  for (int k = 0; k < K; k++) {
    u32 first = (k * lanes + lane) * V;
    bool inside = first < length;
    Vec<TYPE, V> v;
    if (inside) v = read<V>(x, first, x_step);
#pragma unroll
    for (int i = 0; i < V; i++) {
      value[k * V + i] = inside ? to_acc(v.v[i]) : Limits<Real>::lowest();
      max = larger(max, value[k * V + i]);
    }
  }
  for (u32 o = lanes / 2; o; o /= 2) max = larger(max, __shfl_xor_sync(FULL_WARP, max, o));
#pragma unroll
  for (int k = 0; k < K; k++) {
    if ((k * lanes + lane) * V >= length) break;
#pragma unroll
    for (int i = 0; i < V; i++) {
      Real e = exponential(value[k * V + i] - max);
      sum += e;
      if (!LOG) value[k * V + i] = e;
    }
  }
  for (u32 o = lanes / 2; o; o /= 2) sum += __shfl_xor_sync(FULL_WARP, sum, o);
  Real norm = norm_of(sum);
#pragma unroll
  for (int k = 0; k < K; k++) {
    u32 first = (k * lanes + lane) * V;
    if (first >= length) break;
    Vec<TYPE, V> v;
#pragma unroll
    for (int i = 0; i < V; i++) {
      Real a = value[k * V + i];
      v.v[i] = from_acc<TYPE>(LOG ? (a - max) - norm : a * norm);
    }
    write<V>(y, first, y_step, v);
  }
}

struct Larger {
  INLINE Real operator()(Real a, Real b) const {
    return larger(a, b);
  }
};

// A block a row of at most blockDim.x * V * K elements, held in registers as they lie in memory.
template <int V, int K>
INLINE void in_block(const TYPE* x, TYPE* y, const Space<2>& rows, u64 length) {
  u64 at[2];
  rows.offsets((u64)blockIdx.x, at);
  x += at[0];
  y += at[1];
  Vec<TYPE, V> v[K];
  Real max = Limits<Real>::lowest(), sum = 0;
#pragma unroll
  for (int k = 0; k < K; k++) {
    u64 first = (u64)(k * blockDim.x + threadIdx.x) * V;
    if (first < length) v[k] = load_vec<TYPE, V>(x + first);
  }
#pragma unroll
  for (int k = 0; k < K; k++) {
    if ((u64)(k * blockDim.x + threadIdx.x) * V >= length) break;
#pragma unroll
    for (int i = 0; i < V; i++) max = larger(max, to_acc(v[k].v[i]));
  }
  max = block_reduce(max, Larger(), Limits<Real>::lowest());
#pragma unroll
  for (int k = 0; k < K; k++) {
    if ((u64)(k * blockDim.x + threadIdx.x) * V >= length) break;
#pragma unroll
    for (int i = 0; i < V; i++) sum += exponential(to_acc(v[k].v[i]) - max);
  }
  Real norm = norm_of(block_sum(sum));
#pragma unroll
  for (int k = 0; k < K; k++) {
    u64 first = (u64)(k * blockDim.x + threadIdx.x) * V;
    if (first >= length) break;
#pragma unroll
    for (int i = 0; i < V; i++) v[k].v[i] = result_of(to_acc(v[k].v[i]), max, norm);
    store_vec<TYPE, V>(y + first, v[k]);
  }
}

// A block a row of any length, read twice: first for the maximum and the sum, which is scaled anew whenever the maximum grows.
template <int V>
INLINE void online(const TYPE* x, TYPE* y, const Space<2>& rows, u64 length, u64 x_step, u64 y_step) {
  u64 at[2];
  rows.offsets((u64)blockIdx.x, at);
  x += at[0];
  y += at[1];
  Real max = Limits<Real>::lowest(), sum = 0;
  for (u64 first = (u64)threadIdx.x * V; first < length; first += (u64)blockDim.x * V) {
    Vec<TYPE, V> v = read<V>(x, first, x_step);
    Real top = max;
#pragma unroll
    for (int i = 0; i < V; i++) top = larger(top, to_acc(v.v[i]));
    // Before the first number above -infinity there is nothing to scale, and nothing to add but a NaN.
    if (top > max) sum *= exponential(max - top);
    max = top;
#pragma unroll
    for (int i = 0; i < V; i++) {
      Real a = to_acc(v.v[i]);
      if (a > Limits<Real>::lowest() || is_nan(a)) sum += exponential(a - max);
    }
  }
  Real top = block_reduce(max, Larger(), Limits<Real>::lowest());
  // A thread that met nothing but -infinity has a sum of 0 or NaN.
  if (max > Limits<Real>::lowest()) sum *= exponential(max - top);
  Real norm = norm_of(block_sum(sum));
  for (u64 first = (u64)threadIdx.x * V; first < length; first += (u64)blockDim.x * V) {
    Vec<TYPE, V> v = read<V>(x, first, x_step);
#pragma unroll
    for (int i = 0; i < V; i++) v.v[i] = result_of(to_acc(v.v[i]), top, norm);
    write<V>(y, first, y_step, v);
  }
}

#define WARP_KERNEL(V, K, NAME)                                                                                                                  \
  extern "C" __global__ void __launch_bounds__(256) NAME(const TYPE* x, TYPE* y, Space<2> rows, u32 length, u32 lanes, u64 x_step, u64 y_step) { \
    overlap();                                                                                                                                   \
    in_warp<V, K>(x, y, rows, length, lanes, x_step, y_step);                                                                                    \
  }
WARP_KERNEL(1, 1, warp_one_1)
WARP_KERNEL(1, 4, warp_one_4)
WARP_KERNEL(1, 16, warp_one_16)
WARP_KERNEL(WIDTH, 1, warp_wide_1)
WARP_KERNEL(WIDTH, 2, warp_wide_2)
WARP_KERNEL(WIDTH, 4, warp_wide_4)

#define BLOCK_KERNEL(K, NAME)                                                                                 \
  extern "C" __global__ void __launch_bounds__(512) NAME(const TYPE* x, TYPE* y, Space<2> rows, u64 length) { \
    overlap();                                                                                                \
    in_block<WIDTH, K>(x, y, rows, length);                                                                   \
  }
BLOCK_KERNEL(1, block_1)
BLOCK_KERNEL(4, block_4)
BLOCK_KERNEL(8, block_8)

extern "C" __global__ void __launch_bounds__(512) online_one(const TYPE* x, TYPE* y, Space<2> rows, u64 length, u64 x_step, u64 y_step) {
  overlap();
  online<1>(x, y, rows, length, x_step, y_step);
}
extern "C" __global__ void __launch_bounds__(512) online_wide(const TYPE* x, TYPE* y, Space<2> rows, u64 length, u64 x_step, u64 y_step) {
  overlap();
  online<WIDTH>(x, y, rows, length, x_step, y_step);
}
