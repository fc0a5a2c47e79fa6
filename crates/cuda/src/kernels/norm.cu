// Batch normalisation in training mode. Compiled with TYPE, the dtype of x, and WIDTH, the values that a thread takes at once.
// "Rows" kernels take x as [rows, c] (channels last), "planes" kernels as [images, c, plane].
//
// Two passes each way: statistics, whose last block of a channel tile also finishes them, and the result. Sums are taken of
// x - pivot, the pivot being a block's first value of the channel, and blocks are joined by mean and centred squares
// (Chan et al.), so that a mean far from 0 doesn't cancel. Sums are added in an order that only the grid decides.
typedef TYPE T;
typedef acc_t<T> A;
constexpr int V = WIDTH;
constexpr int W = 16 / (int)sizeof(A);  // sums of neighbouring channels that are read at once
constexpr int STATS = 512;              // threads that take sums
constexpr int APPLY = 256;              // threads that write results
constexpr int LOADS = 6;                // rows in flight
constexpr int TILE = 16;                // most threads along a row

typedef Vec<T, V> Values;

INLINE float mul_add(float a, float b, float c) {
  return __fmaf_rn(a, b, c);
}
INLINE double mul_add(double a, double b, double c) {
  return __fma_rn(a, b, c);
}
INLINE float root(float v) {
  return sqrtf(v);
}
INLINE double root(double v) {
  return sqrt(v);
}
INLINE A rounded(A v) {
  return to_acc(from_acc<T>(v));
}

// A number a channel, of the type of sums; `at` may be null.
struct Param {
  A* at;
  u64 stride;
  INLINE A& operator[](u32 channel) const {
    return at[channel * stride];
  }
};
// What follows from a channel's mean and variance; running statistics may be absent.
struct Moments {
  Param mean, invstd, running_mean, running_var;
  Sc eps, momentum;
  double n;
};
INLINE void finish(const Moments& f, u32, u32 channel, A mean, A squares) {
  A variance = squares / (A)f.n, invstd = (A)1 / root(variance + (A)get(f.eps));
  f.mean[channel] = mean;
  f.invstd[channel] = invstd;
  if (f.running_mean.at) {
    double m = get(f.momentum), unbiased = (double)squares / (f.n > 2 ? f.n - 1 : 1);
    f.running_mean[channel] = (A)((1 - m) * (double)f.running_mean[channel] + m * (double)mean);
    f.running_var[channel] = (A)((1 - m) * (double)f.running_var[channel] + m * unbiased);
  }
}
// The same of a backward pass, from the sums of g and of g * (x - mean). `back` is [mean of g, factor of x - mean][c].
struct Gradients {
  Param weight, bias, invstd;
  A* back;
  double n;
};
INLINE void finish(const Gradients& f, u32 c, u32 channel, A sum, A product) {
  A invstd = f.invstd[channel];
  f.weight[channel] = product * invstd;
  f.bias[channel] = sum;
  f.back[channel] = sum / (A)f.n;
  f.back[c + channel] = product * invstd * invstd / (A)f.n;
}

// y = (x - mean) * (invstd * weight) + bias, rounded; weight and bias may be absent.
struct Line {
  A mean, scale, shift;
  INLINE A operator()(A x) const {
    return rounded(mul_add(x - mean, scale, shift));
  }
};
INLINE Line line_of(A mean, A invstd, const Param& weight, const Param& bias, u32 channel) {
  return Line{mean, weight.at ? invstd * weight[channel] : invstd, bias.at ? bias[channel] : (A)0};
}
INLINE T activated(A v, const T* addend, bool relu) {
  if (addend) v = rounded(v + to_acc(*addend));
  return from_acc<T>(relu && v <= (A)0 ? (A)0 : v);
}

// The gradient that reaches the normalisation: grad (+ grad2), where the relu let through. MASK: 0 no relu, 1 the result is
// computed again from x, 2 `result` is the relu's result.
enum { ALL, INPUT, RESULT };
template <int MASK>
INLINE A masked(T grad, bool sum, T grad2, A x, T result, const Line& line) {
  A g = to_acc(grad);
  if (sum) g = rounded(g + to_acc(grad2));
  if (MASK == INPUT && !(line(x) > (A)0)) g = 0;
  if (MASK == RESULT && !(to_acc(result) > (A)0)) g = 0;
  return g;
}

// ---- rows -------------------------------------------------------------------------------------------------------------
// A block is `across` threads along a row's channel tile, times `down` rows; blocks of a tile take rows in turns.
struct Rows {
  u32 rows, c, across, down;
};
struct Place {
  u32 group, lane, row, step;  // group of V channels; its place in the tile; first row; rows until the next
  bool on;
};
INLINE Place place(const Rows& s) {
  u32 lane = threadIdx.x % s.across, down = threadIdx.x / s.across, group = blockIdx.y * s.across + lane;
  return Place{group, lane, blockIdx.x * s.down + down, gridDim.x * s.down, group * V < s.c};
}
// Rows that block `b` of a tile takes.
INLINE u32 rows_of(const Rows& s, u32 b) {
  u32 step = gridDim.x * s.down, full = s.rows / step, rest = s.rows - full * step, from = b * s.down;
  return full * s.down + (rest > from ? min(rest - from, s.down) : 0);
}
// Channels of a tile in a block's sums, with the rest of the last W.
INLINE u32 pitch_of(const Rows& s) {
  return (s.across * V + W - 1) / W * W;
}
constexpr int SHARED = 2 * (V * (STATS + TILE) > W * STATS ? V * (STATS + TILE) : W * STATS);

// Two sums a thread and channel over the block: for channel `k * across + lane` of the tile, in thread of that number.
INLINE bool block_sums(const Rows& s, const A (&p)[V], const A (&q)[V], A* shared, A& sum_p, A& sum_q) {
  u32 pitch = blockDim.x + s.across;  // the rows of k lie in other banks
#pragma unroll
  for (int k = 0; k < V; k++) {
    shared[k * pitch + threadIdx.x] = p[k];
    shared[(V + k) * pitch + threadIdx.x] = q[k];
  }
  __syncthreads();
  u32 k = threadIdx.x / s.across, lane = threadIdx.x % s.across;
  sum_p = sum_q = 0;
  if (k >= V) return false;
#pragma unroll 8
  for (u32 j = 0; j < s.down; j++) {
    sum_p += shared[k * pitch + j * s.across + lane];
    sum_q += shared[(V + k) * pitch + j * s.across + lane];
  }
  return (blockIdx.y * s.across + lane) * V < s.c;
}
INLINE u32 channel_of(const Rows& s, u32 k, u32 lane) {
  return (blockIdx.y * s.across + lane) * V + k;
}
// Where block `b` of this tile puts its sums: [2][pitch].
INLINE A* part_of(const Rows& s, A* parts, u32 b) {
  return parts + ((u64)blockIdx.y * gridDim.x + b) * 2 * pitch_of(s);
}

KERNEL __launch_bounds__(STATS, 2) bn_rows_stats(const T* x, A* parts, u32* counters, Moments f, Rows s) {
  overlap();
  __shared__ A shared[SHARED];
  Place at = place(s);
  A pivot[V], p[V], q[V];
#pragma unroll
  for (int k = 0; k < V; k++) pivot[k] = p[k] = q[k] = 0;
  if (at.on) {
    const T* from = x + (u64)at.group * V;
    Values first = load_vec<T, V>(from + (u64)(blockIdx.x * s.down) * s.c);
#pragma unroll
    for (int k = 0; k < V; k++) pivot[k] = to_acc(first.v[k]);
    u32 r = at.row;
    for (; r + (LOADS - 1) * at.step < s.rows; r += LOADS * at.step) {
      Values v[LOADS];
#pragma unroll
      for (int i = 0; i < LOADS; i++) v[i] = load_vec<T, V>(from + (u64)(r + i * at.step) * s.c);
#pragma unroll
      for (int i = 0; i < LOADS; i++) {
#pragma unroll
        for (int k = 0; k < V; k++) {
          A d = to_acc(v[i].v[k]) - pivot[k];
          p[k] += d;
          q[k] = mul_add(d, d, q[k]);
        }
      }
    }
    for (; r < s.rows; r += at.step) {
      Values v = load_vec<T, V>(from + (u64)r * s.c);
#pragma unroll
      for (int k = 0; k < V; k++) {
        A d = to_acc(v.v[k]) - pivot[k];
        p[k] += d;
        q[k] = mul_add(d, d, q[k]);
      }
    }
  }
  A sum, squares;
  u32 k = threadIdx.x / s.across, lane = threadIdx.x % s.across, pitch = pitch_of(s);
  if (block_sums(s, p, q, shared, sum, squares)) {
    A* part = part_of(s, parts, blockIdx.x);
    A n = (A)rows_of(s, blockIdx.x), of_first = to_acc(x[(u64)(blockIdx.x * s.down) * s.c + channel_of(s, k, lane)]);
    part[threadIdx.x] = of_first + sum / n;
    A centred = squares - sum * (sum / n);
    part[pitch + threadIdx.x] = centred < (A)0 ? (A)0 : centred;  // NaN stays
  }
  if (!last_block(counters + blockIdx.y, gridDim.x)) return;

  // Slices of the blocks, then the slices of a channel: each step joins (n, mean, centred squares).
  __shared__ A counts[STATS];
  u32 width = pitch / W, slices = blockDim.x / width, col = threadIdx.x % width, slice = threadIdx.x / width;
  if (slice < slices) {
    A n = 0, base[W], a[W], b[W];
#pragma unroll
    for (int w = 0; w < W; w++) base[w] = a[w] = b[w] = 0;
#pragma unroll 4
    for (u32 block = slice; block < gridDim.x; block += slices) {
      const A* part = part_of(s, parts, block) + col * W;
      Vec<A, W> mean = load_vec<A, W>(part), rest = load_vec<A, W>(part + pitch);
      A count = (A)rows_of(s, block);
      bool first = block == slice;
      n += count;
#pragma unroll
      for (int w = 0; w < W; w++) {
        if (first) base[w] = mean.v[w];
        A d = mean.v[w] - base[w];
        a[w] = mul_add(count, d, a[w]);
        b[w] += mul_add(count * d, d, rest.v[w]);
      }
    }
#pragma unroll
    for (int w = 0; w < W; w++) {
      u32 i = slice * pitch + col * W + w;
      shared[i] = n > 0 ? base[w] + a[w] / n : (A)0;
      shared[slices * pitch + i] = n > 0 ? b[w] - a[w] * (a[w] / n) : (A)0;
    }
    if (col == 0) counts[slice] = n;
  }
  __syncthreads();
  if (k >= V || channel_of(s, k, lane) >= s.c) return;
  A base = shared[threadIdx.x], a = 0, b = 0;
  for (u32 j = 0; j < slices; j++) a = mul_add(counts[j], shared[j * pitch + threadIdx.x] - base, a);
  A mean = base + a / (A)s.rows;
  for (u32 j = 0; j < slices; j++) {
    A d = shared[j * pitch + threadIdx.x] - mean;
    b += mul_add(counts[j] * d, d, shared[(slices + j) * pitch + threadIdx.x]);
  }
  finish(f, s.c, channel_of(s, k, lane), mean, b);
}

// Rows are taken in the opposite order to the statistics' pass: what that read last is still in the L2 cache.
KERNEL __launch_bounds__(APPLY, 4) bn_rows_apply(const T* x, const T* addend, T* y, Param mean, Param invstd, Param weight, Param bias, int relu, Rows s) {
  overlap();
  Place at = place(s);
  if (!at.on) return;
  Line line[V];
#pragma unroll
  for (int k = 0; k < V; k++) {
    u32 channel = at.group * V + k;
    line[k] = line_of(mean[channel], invstd[channel], weight, bias, channel);
  }
  for (u32 r = at.row; r < s.rows; r += 2 * at.step) {
    bool two = r + at.step < s.rows;
    u64 from[2] = {(u64)(s.rows - 1 - r) * s.c + at.group * V, two ? (u64)(s.rows - 1 - r - at.step) * s.c + at.group * V : 0};
    Values v[2], more[2];
    v[0] = load_vec<T, V>(x + from[0]);
    if (two) v[1] = load_vec<T, V>(x + from[1]);
    if (addend) {
      more[0] = load_vec<T, V>(addend + from[0]);
      if (two) more[1] = load_vec<T, V>(addend + from[1]);
    }
#pragma unroll
    for (int i = 0; i < 2; i++) {
      if (i && !two) break;
      Values out;
#pragma unroll
      for (int k = 0; k < V; k++) out.v[k] = activated(line[k](to_acc(v[i].v[k])), addend ? &more[i].v[k] : nullptr, relu);
      store_vec<T, V>(y + from[i], out);
    }
  }
}

// Operands of a backward pass; absent ones are null. With `keep` the masked gradient is written in the first pass and is
// `grad`, without relu, in the second, which knows no `grad2`.
struct Back {
  const T *grad, *grad2, *x, *result;
  Param mean, invstd, weight, bias;
  T* keep;
};
INLINE Line line_of(const Back& o, u32 channel) {
  return line_of(o.mean[channel], o.invstd[channel], o.weight, o.bias, channel);
}
template <int MASK, bool SUM, int N>
struct Loaded {
  Values grad[N], grad2[N], x[N], result[N];
  INLINE void load(const Back& o, int i, u64 at) {
    grad[i] = load_vec<T, V>(o.grad + at);
    x[i] = load_vec<T, V>(o.x + at);
    if (SUM && o.grad2) grad2[i] = load_vec<T, V>(o.grad2 + at);
    if (MASK == RESULT) result[i] = load_vec<T, V>(o.result + at);
  }
  INLINE A gradient(const Back& o, int i, int k, const Line& line) const {
    return masked<MASK>(grad[i].v[k], SUM && o.grad2, grad2[i].v[k], to_acc(x[i].v[k]), result[i].v[k], line);
  }
};

// Joins the blocks' sums of a tile, in the last of them.
INLINE void join_sums(const Rows& s, A* parts, A* shared, const Gradients& f) {
  u32 pitch = pitch_of(s), width = pitch / W, slices = blockDim.x / width, col = threadIdx.x % width, slice = threadIdx.x / width;
  if (slice < slices) {
    A p[W], q[W];
#pragma unroll
    for (int w = 0; w < W; w++) p[w] = q[w] = 0;
#pragma unroll 4
    for (u32 block = slice; block < gridDim.x; block += slices) {
      const A* part = part_of(s, parts, block) + col * W;
      Vec<A, W> a = load_vec<A, W>(part), b = load_vec<A, W>(part + pitch);
#pragma unroll
      for (int w = 0; w < W; w++) {
        p[w] += a.v[w];
        q[w] += b.v[w];
      }
    }
#pragma unroll
    for (int w = 0; w < W; w++) {
      shared[slice * pitch + col * W + w] = p[w];
      shared[(slices + slice) * pitch + col * W + w] = q[w];
    }
  }
  __syncthreads();
  u32 k = threadIdx.x / s.across, lane = threadIdx.x % s.across;
  if (k >= V || channel_of(s, k, lane) >= s.c) return;
  A p = 0, q = 0;
  for (u32 j = 0; j < slices; j++) {
    p += shared[j * pitch + threadIdx.x];
    q += shared[(slices + j) * pitch + threadIdx.x];
  }
  finish(f, s.c, channel_of(s, k, lane), p, q);
}

template <int MASK>
INLINE void rows_back_sums(const Back& o, A* parts, u32* counters, const Gradients& f, const Rows& s) {
  __shared__ A shared[SHARED];
  Place at = place(s);
  A p[V], q[V];
#pragma unroll
  for (int k = 0; k < V; k++) p[k] = q[k] = 0;
  if (at.on) {
    constexpr int N = MASK == RESULT ? 2 : 3;  // rows in flight, as registers allow
    Line line[V];
#pragma unroll
    for (int k = 0; k < V; k++) line[k] = line_of(o, at.group * V + k);
    for (u32 r = at.row; r < s.rows; r += N * at.step) {
      Loaded<MASK, true, N> v;
      u64 from[N];
#pragma unroll
      for (int i = 0; i < N; i++) {
        from[i] = (u64)(r + i * at.step) * s.c + at.group * V;
        if (r + i * at.step < s.rows) v.load(o, i, from[i]);
      }
#pragma unroll
      for (int i = 0; i < N; i++) {
        if (r + i * at.step >= s.rows) break;
        Values kept;
#pragma unroll
        for (int k = 0; k < V; k++) {
          A g = v.gradient(o, i, k, line[k]);
          p[k] += g;
          q[k] = mul_add(g, to_acc(v.x[i].v[k]) - line[k].mean, q[k]);
          kept.v[k] = from_acc<T>(g);
        }
        if (o.keep) store_vec<T, V>(o.keep + from[i], kept);
      }
    }
  }
  A sum, product;
  if (block_sums(s, p, q, shared, sum, product)) {
    A* part = part_of(s, parts, blockIdx.x);
    part[threadIdx.x] = sum;
    part[pitch_of(s) + threadIdx.x] = product;
  }
  if (last_block(counters + blockIdx.y, gridDim.x)) join_sums(s, parts, shared, f);
}

// dx = (g - mean of g - (x - mean) * factor) * invstd * weight
template <int MASK>
INLINE void rows_back_apply(const Back& o, T* dx, const A* back, const Rows& s) {
  Place at = place(s);
  if (!at.on) return;
  constexpr int N = 2;
  Line line[V];
  A of_grad[V], factor[V];
#pragma unroll
  for (int k = 0; k < V; k++) {
    u32 channel = at.group * V + k;
    line[k] = line_of(o, channel);
    of_grad[k] = back[channel];
    factor[k] = back[s.c + channel];
  }
  for (u32 r = at.row; r < s.rows; r += N * at.step) {
    Loaded<MASK, false, N> v;
    u64 from[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
      bool some = r + i * at.step < s.rows;
      from[i] = some ? (u64)(s.rows - 1 - r - i * at.step) * s.c + at.group * V : 0;
      if (some) v.load(o, i, from[i]);
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
      if (r + i * at.step >= s.rows) break;
      Values out;
#pragma unroll
      for (int k = 0; k < V; k++) {
        A g = v.gradient(o, i, k, line[k]) - of_grad[k];
        out.v[k] = from_acc<T>(mul_add(line[k].mean - to_acc(v.x[i].v[k]), factor[k], g) * line[k].scale);
      }
      store_vec<T, V>(dx + from[i], out);
    }
  }
}

// ---- planes -----------------------------------------------------------------------------------------------------------
// Blocks (split, channel): V values of a plane at a time, the splits in turns. `plane` counts groups of V.
struct Planes {
  u32 images, c, plane;
};
INLINE u64 plane_at(const Planes& s, u32 channel, u32 i) {
  u32 image = i / s.plane;
  return (((u64)image * s.c + channel) * s.plane + (i - image * s.plane)) * V;
}
// Groups of V that split `b` takes.
INLINE u32 groups_of(const Planes& s, u32 b, u32 splits) {
  u32 all = s.images * s.plane, step = splits * STATS, full = all / step, rest = all - full * step, from = b * STATS;
  return full * STATS + (rest > from ? min(rest - from, (u32)STATS) : 0);
}

KERNEL __launch_bounds__(STATS, 2) bn_planes_stats(const T* x, A* parts, Moments f, Planes s) {
  overlap();
  u32 channel = blockIdx.y, all = s.images * s.plane, step = gridDim.x * STATS;
  A pivot = to_acc(x[plane_at(s, channel, blockIdx.x * STATS)]), p = 0, q = 0;
#pragma unroll 4
  for (u32 i = blockIdx.x * STATS + threadIdx.x; i < all; i += step) {
    Values v = load_vec<T, V>(x + plane_at(s, channel, i));
#pragma unroll
    for (int k = 0; k < V; k++) {
      A d = to_acc(v.v[k]) - pivot;
      p += d;
      q = mul_add(d, d, q);
    }
  }
  p = block_sum(p);
  q = block_sum(q);
  if (threadIdx.x) return;
  A n = (A)groups_of(s, blockIdx.x, gridDim.x) * V, mean = pivot + p / n, centred = q - p * (p / n);
  if (centred < (A)0) centred = 0;
  if (gridDim.x == 1) {
    finish(f, s.c, channel, mean, centred);
  } else {
    parts[((u64)channel * gridDim.x + blockIdx.x) * 2] = mean;
    parts[((u64)channel * gridDim.x + blockIdx.x) * 2 + 1] = centred;
  }
}
// A thread joins the splits of a channel.
KERNEL bn_planes_finish(const A* parts, u32 splits, Moments f, Planes s) {
  overlap();
  u32 channel = global_thread();
  if (channel >= s.c) return;
  const A* part = parts + (u64)channel * splits * 2;
  A base = part[0], a = 0, b = 0;
  for (u32 j = 0; j < splits; j++) a = mul_add((A)groups_of(s, j, splits) * V, part[2 * j] - base, a);
  A mean = base + a / (A)f.n;
  for (u32 j = 0; j < splits; j++) {
    A d = part[2 * j] - mean;
    b += mul_add((A)groups_of(s, j, splits) * V * d, d, part[2 * j + 1]);
  }
  finish(f, s.c, channel, mean, b);
}
KERNEL __launch_bounds__(APPLY) bn_planes_apply(const T* x, const T* addend, T* y, Param mean, Param invstd, Param weight, Param bias, int relu, Planes s) {
  overlap();
  u32 channel = blockIdx.y, all = s.images * s.plane;
  Line line = line_of(mean[channel], invstd[channel], weight, bias, channel);
#pragma unroll 2
  for (u32 i = blockIdx.x * APPLY + threadIdx.x; i < all; i += gridDim.x * APPLY) {
    u64 at = plane_at(s, channel, i);
    Values v = load_vec<T, V>(x + at), more, out;
    if (addend) more = load_vec<T, V>(addend + at);
#pragma unroll
    for (int k = 0; k < V; k++) out.v[k] = activated(line(to_acc(v.v[k])), addend ? &more.v[k] : nullptr, relu);
    store_vec<T, V>(y + at, out);
  }
}
template <int MASK>
INLINE void planes_back_sums(const Back& o, A* parts, const Gradients& f, const Planes& s) {
  u32 channel = blockIdx.y, all = s.images * s.plane, step = gridDim.x * STATS;
  Line line = line_of(o, channel);
  A p = 0, q = 0;
#pragma unroll 2
  for (u32 i = blockIdx.x * STATS + threadIdx.x; i < all; i += step) {
    u64 at = plane_at(s, channel, i);
    Loaded<MASK, true, 1> v;
    v.load(o, 0, at);
    Values kept;
#pragma unroll
    for (int k = 0; k < V; k++) {
      A g = v.gradient(o, 0, k, line);
      p += g;
      q = mul_add(g, to_acc(v.x[0].v[k]) - line.mean, q);
      kept.v[k] = from_acc<T>(g);
    }
    if (o.keep) store_vec<T, V>(o.keep + at, kept);
  }
  p = block_sum(p);
  q = block_sum(q);
  if (threadIdx.x) return;
  if (gridDim.x == 1) {
    finish(f, s.c, channel, p, q);
  } else {
    parts[((u64)channel * gridDim.x + blockIdx.x) * 2] = p;
    parts[((u64)channel * gridDim.x + blockIdx.x) * 2 + 1] = q;
  }
}
KERNEL bn_planes_back_finish(const A* parts, u32 splits, Gradients f, Planes s) {
  overlap();
  u32 channel = global_thread();
  if (channel >= s.c) return;
  A p = 0, q = 0;
  for (u32 j = 0; j < splits; j++) {
    p += parts[((u64)channel * splits + j) * 2];
    q += parts[((u64)channel * splits + j) * 2 + 1];
  }
  finish(f, s.c, channel, p, q);
}
template <int MASK>
INLINE void planes_back_apply(const Back& o, T* dx, const A* back, const Planes& s) {
  u32 channel = blockIdx.y, all = s.images * s.plane;
  Line line = line_of(o, channel);
  A of_grad = back[channel], factor = back[s.c + channel];
#pragma unroll 2
  for (u32 i = blockIdx.x * APPLY + threadIdx.x; i < all; i += gridDim.x * APPLY) {
    u64 at = plane_at(s, channel, i);
    Loaded<MASK, false, 1> v;
    v.load(o, 0, at);
    Values out;
#pragma unroll
    for (int k = 0; k < V; k++) {
      A g = v.gradient(o, 0, k, line) - of_grad;
      out.v[k] = from_acc<T>(mul_add(line.mean - to_acc(v.x[0].v[k]), factor, g) * line.scale);
    }
    store_vec<T, V>(dx + at, out);
  }
}

#define BACKWARD(NAME, MASK)                                                                                          \
  KERNEL __launch_bounds__(STATS, 1) bn_rows_back_sums_##NAME(Back o, A* parts, u32* counters, Gradients f, Rows s) { \
    overlap();                                                                                                        \
    rows_back_sums<MASK>(o, parts, counters, f, s);                                                                   \
  }                                                                                                                   \
  KERNEL __launch_bounds__(APPLY, 3) bn_rows_back_apply_##NAME(Back o, T* dx, const A* back, Rows s) {                \
    overlap();                                                                                                        \
    rows_back_apply<MASK>(o, dx, back, s);                                                                            \
  }                                                                                                                   \
  KERNEL __launch_bounds__(STATS, 1) bn_planes_back_sums_##NAME(Back o, A* parts, Gradients f, Planes s) {            \
    overlap();                                                                                                        \
    planes_back_sums<MASK>(o, parts, f, s);                                                                           \
  }                                                                                                                   \
  KERNEL __launch_bounds__(APPLY) bn_planes_back_apply_##NAME(Back o, T* dx, const A* back, Planes s) {               \
    overlap();                                                                                                        \
    planes_back_apply<MASK>(o, dx, back, s);                                                                          \
  }
BACKWARD(all, ALL)
BACKWARD(input, INPUT)
BACKWARD(result, RESULT)
