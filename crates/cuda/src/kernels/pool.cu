// 2-d pooling: maxima with their places, means, and the gradients of both, as sums over the windows that a pixel is in: no atomics.
// TYPE: an element. Planes have any strides; where channels are neighbours, a thread has several.
typedef acc_t<TYPE> Real;
constexpr int WIDTH = VEC_OF<TYPE>;

// Strides in elements.
struct Planes {
  u64 n, c, h, w;
};
struct Geometry {
  int kernel[2], stride[2], padding[2], dilation[2];
  int channels, in[2], out[2];
  // Threads go over [n, h, w, c] instead of [n, c, h, w].
  int inner_channels;
};
struct Spot {
  u64 n;
  int c, y, x;
};

INLINE u64 divide(u64& i, int by) {
  u64 q = i >> 32 ? i / (u64)by : (u64)((u32)i / (u32)by), rest = i - q * by;
  i = q;
  return rest;
}
// Spot `i` of [n, height, width, channels / V] or of [n, channels / V, height, width].
template <int V>
INLINE Spot spot(const Geometry& g, u64 i, int height, int width) {
  Spot s;
  if (g.inner_channels) {
    s.c = (int)divide(i, g.channels / V) * V;
    s.x = (int)divide(i, width);
    s.y = (int)divide(i, height);
  } else {
    s.x = (int)divide(i, width);
    s.y = (int)divide(i, height);
    s.c = (int)divide(i, g.channels / V) * V;
  }
  s.n = i;
  return s;
}
INLINE u64 offset(const Planes& p, const Spot& s) {
  return s.n * p.n + s.c * p.c + s.y * p.h + s.x * p.w;
}

// A window along one direction: its elements inside the plane are `first`, `first + dilation`, .. below `end`. For means `counted` are its
// elements and those of the padding; what hangs over the padding doesn't count.
struct Window {
  int first, end, counted;
};
INLINE Window window(const Geometry& g, int d, int i) {
  int start = i * g.stride[d], pad = g.padding[d], step = g.dilation[d];
  int stop = min(start + (g.kernel[d] - 1) * step + 1, g.in[d] + 2 * pad);
  int first = start >= pad ? start - pad : (pad - start + step - 1) / step * step + start - pad;
  return Window{first, min(stop - pad, g.in[d]), max(stop - start, 0)};
}
// The windows that may hold an element of `from..=to`.
struct Around {
  int first, end;
};
INLINE Around around(const Geometry& g, int d, int from, int to) {
  int reach = (g.kernel[d] - 1) * g.dilation[d], low = from + g.padding[d] - reach;
  return Around{low <= 0 ? 0 : (low + g.stride[d] - 1) / g.stride[d], min((to + g.padding[d]) / g.stride[d] + 1, g.out[d])};
}

template <int V>
INLINE void store_places(i64* to, const int (&at)[V]) {
#pragma unroll
  for (int i = 0; i + 1 < V; i += 2) store_vec<i64, 2>(to + i, Vec<i64, 2>{{at[i], at[i + 1]}});
  if (V == 1) to[0] = at[0];
}
template <int V>
INLINE void load_places(const i64* from, int (&at)[V]) {
#pragma unroll
  for (int i = 0; i + 1 < V; i += 2) {
    Vec<i64, 2> two = load_vec<i64, 2>(from + i);
    at[i] = (int)two.v[0];
    at[i + 1] = (int)two.v[1];
  }
  if (V == 1) at[0] = (int)from[0];
}

// PyTorch's rule: later elements win if they are greater or NaN.
template <int V>
INLINE void max_pool(const TYPE* x, TYPE* y, i64* places, const Planes& from, const Planes& to, const Planes& at, const Geometry& g, u64 count) {
  u64 unit = global_thread();
  if (unit >= count) return;
  Spot s = spot<V>(g, unit, g.out[0], g.out[1]);
  Window rows = window(g, 0, s.y), columns = window(g, 1, s.x);
  x += s.n * from.n + s.c * from.c;
  Real best[V];
  int place[V];
#pragma unroll
  for (int i = 0; i < V; i++) {
    best[i] = Limits<Real>::lowest();
    place[i] = rows.first * g.in[1] + columns.first;
  }
  for (int iy = rows.first; iy < rows.end; iy += g.dilation[0]) {
    for (int ix = columns.first; ix < columns.end; ix += g.dilation[1]) {
      Vec<TYPE, V> v = load_vec<TYPE, V>(x + iy * from.h + ix * from.w);
#pragma unroll
      for (int i = 0; i < V; i++) {
        Real a = to_acc(v.v[i]);
        if (a > best[i] || is_nan(a)) {
          best[i] = a;
          place[i] = iy * g.in[1] + ix;
        }
      }
    }
  }
  Vec<TYPE, V> result;
#pragma unroll
  for (int i = 0; i < V; i++) result.v[i] = from_acc<TYPE>(best[i]);
  store_vec<TYPE, V>(y + offset(to, s), result);
  store_places<V>(places + offset(at, s), place);
}

// A thread has two by two pixels (and V channels), so that it reads a window that they share once.
template <int V>
INLINE void max_pool_grad(const TYPE* grad, const i64* places, TYPE* out, const Planes& from, const Planes& at, const Planes& to,
                          const Geometry& g, u64 count) {
  u64 unit = global_thread();
  if (unit >= count) return;
  Spot s = spot<V>(g, unit, (g.in[0] + 1) / 2, (g.in[1] + 1) / 2);
  s.y *= 2;
  s.x *= 2;
  bool lower = s.y + 1 < g.in[0], right = s.x + 1 < g.in[1];
  Around rows = around(g, 0, s.y, s.y + 1), columns = around(g, 1, s.x, s.x + 1);
  grad += s.n * from.n + s.c * from.c;
  places += s.n * at.n + s.c * at.c;
  int corner = s.y * g.in[1] + s.x;
  Real sum[4][V] = {};
  for (int oy = rows.first; oy < rows.end; oy++) {
    for (int ox = columns.first; ox < columns.end; ox++) {
      int place[V];
      load_places<V>(places + oy * at.h + ox * at.w, place);
      Vec<TYPE, V> v = load_vec<TYPE, V>(grad + oy * from.h + ox * from.w);
#pragma unroll
      for (int i = 0; i < V; i++) {
        Real a = to_acc(v.v[i]);
        int d = place[i] - corner;
        if (d == 0) sum[0][i] += a;
        if (d == 1 && right) sum[1][i] += a;
        if (d == g.in[1]) sum[2][i] += a;
        if (d == g.in[1] + 1 && right) sum[3][i] += a;
      }
    }
  }
  out += offset(to, s);
#pragma unroll
  for (int p = 0; p < 4; p++) {
    if ((p & 1 && !right) || (p & 2 && !lower)) continue;
    Vec<TYPE, V> v;
#pragma unroll
    for (int i = 0; i < V; i++) v.v[i] = from_acc<TYPE>(sum[p][i]);
    store_vec<TYPE, V>(out + (p >> 1) * to.h + (p & 1) * to.w, v);
  }
}

template <int V>
INLINE void mean_pool(const TYPE* x, TYPE* y, const Planes& from, const Planes& to, const Geometry& g, u64 count) {
  u64 unit = global_thread();
  if (unit >= count) return;
  Spot s = spot<V>(g, unit, g.out[0], g.out[1]);
  Window rows = window(g, 0, s.y), columns = window(g, 1, s.x);
  x += s.n * from.n + s.c * from.c;
  Real sum[V] = {};
  for (int iy = rows.first; iy < rows.end; iy++) {
    for (int ix = columns.first; ix < columns.end; ix++) {
      Vec<TYPE, V> v = load_vec<TYPE, V>(x + iy * from.h + ix * from.w);
#pragma unroll
      for (int i = 0; i < V; i++) sum[i] += to_acc(v.v[i]);
    }
  }
  Real counted = (Real)((i64)rows.counted * columns.counted);
  Vec<TYPE, V> result;
#pragma unroll
  for (int i = 0; i < V; i++) result.v[i] = from_acc<TYPE>(sum[i] / counted);
  store_vec<TYPE, V>(y + offset(to, s), result);
}

template <int V>
INLINE void mean_pool_grad(const TYPE* grad, TYPE* out, const Planes& from, const Planes& to, const Geometry& g, u64 count) {
  u64 unit = global_thread();
  if (unit >= count) return;
  Spot s = spot<V>(g, unit, g.in[0], g.in[1]);
  Around rows = around(g, 0, s.y, s.y), columns = around(g, 1, s.x, s.x);
  grad += s.n * from.n + s.c * from.c;
  Real sum[V] = {};
  for (int oy = rows.first; oy < rows.end; oy++) {
    int height = window(g, 0, oy).counted;
    for (int ox = columns.first; ox < columns.end; ox++) {
      Real counted = (Real)((i64)height * window(g, 1, ox).counted);
      Vec<TYPE, V> v = load_vec<TYPE, V>(grad + oy * from.h + ox * from.w);
#pragma unroll
      for (int i = 0; i < V; i++) sum[i] += to_acc(v.v[i]) / counted;
    }
  }
  Vec<TYPE, V> result;
#pragma unroll
  for (int i = 0; i < V; i++) result.v[i] = from_acc<TYPE>(sum[i]);
  store_vec<TYPE, V>(out + offset(to, s), result);
}

// `count`: threads with work. Planes are those of the operands in the same order.
#define KERNELS(V, NAME)                                                                                                                      \
  extern "C" __global__ void __launch_bounds__(256)                                                                                           \
      max_pool_##NAME(const TYPE* x, TYPE* y, i64* places, Planes from, Planes to, Planes at, Geometry g, u64 count) {                        \
    overlap();                                                                                                                                \
    max_pool<V>(x, y, places, from, to, at, g, count);                                                                                        \
  }                                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256)                                                                                           \
      max_pool_grad_##NAME(const TYPE* grad, const i64* places, TYPE* out, Planes from, Planes at, Planes to, Geometry g, u64 count) {        \
    overlap();                                                                                                                                \
    max_pool_grad<V>(grad, places, out, from, at, to, g, count);                                                                              \
  }                                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256) mean_pool_##NAME(const TYPE* x, TYPE* y, Planes from, Planes to, Geometry g, u64 count) { \
    overlap();                                                                                                                                \
    mean_pool<V>(x, y, from, to, g, count);                                                                                                   \
  }                                                                                                                                           \
  extern "C" __global__ void __launch_bounds__(256)                                                                                           \
      mean_pool_grad_##NAME(const TYPE* grad, TYPE* out, Planes from, Planes to, Geometry g, u64 count) {                                     \
    overlap();                                                                                                                                \
    mean_pool_grad<V>(grad, out, from, to, g, count);                                                                                         \
  }
KERNELS(1, one)
KERNELS(WIDTH, wide)
