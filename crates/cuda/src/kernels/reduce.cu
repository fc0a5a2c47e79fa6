// Reductions over any set of dimensions of any strided input. TYPE: an element, RESULT: a result, KIND: what is done.
// Rows are results whose elements lie side by side; columns are results that lie side by side themselves.
// The order of additions depends on the shapes and the launch alone.
enum Kind { SUM, MEAN, PROD, AMAX, AMIN, ARGMAX, ARGMIN, ANY, ALL };

typedef wide_t<TYPE> Number;

// An element and its place among those of its result, in row-major order.
struct Best {
  Number value;
  i64 index;
};
template <bool PLACE>
struct Choice {
  typedef Number type;
};
template <>
struct Choice<true> {
  typedef Best type;
};
constexpr bool LARGEST = KIND == AMAX || KIND == ARGMAX;
typedef Choice<KIND == ARGMAX || KIND == ARGMIN>::type State;

// Elements loaded at a time; more than eight would take too many registers.
constexpr int WIDTH = sizeof(TYPE) == 1 ? 8 : VEC_OF<TYPE>;
constexpr int THREADS = 256;

INLINE Number neutral() {
  if constexpr (KIND == PROD || KIND == ALL) return (Number)1;
  else if constexpr (KIND == AMAX || KIND == ARGMAX) return Limits<Number>::lowest();
  else if constexpr (KIND == AMIN || KIND == ARGMIN) return Limits<Number>::highest();
  else return (Number)0;
}
INLINE void start(Number& a) {
  a = neutral();
}
INLINE void start(Best& a) {
  a.value = neutral();
  a.index = Limits<i64>::highest();
}

INLINE void join(Number& a, Number b) {
  if constexpr (KIND == SUM || KIND == MEAN) a += b;
  else if constexpr (KIND == PROD) a *= b;
  else if constexpr (KIND == ANY) a = a != 0 || b != 0;
  else if constexpr (KIND == ALL) a = a != 0 && b != 0;
  else a = is_nan(b) || (LARGEST ? b > a : b < a) ? b : a;
}
// The first of equals; a NaN is the most extreme.
INLINE void join(Best& a, const Best& b) {
  bool tie = a.value == b.value || (is_nan(a.value) && is_nan(b.value));
  bool more = !is_nan(a.value) && (is_nan(b.value) || (LARGEST ? b.value > a.value : b.value < a.value));
  if (tie ? b.index < a.index : more) a = b;
}
INLINE void take(Number& a, TYPE x, u64) {
  join(a, (Number)to_acc(x));
}
INLINE void take(Best& a, TYPE x, u64 index) {
  join(a, Best{(Number)to_acc(x), (i64)index});
}
INLINE Number shuffle(Number a, int mask) {
  return __shfl_xor_sync(FULL_WARP, a, mask);
}
INLINE Best shuffle(const Best& a, int mask) {
  return Best{__shfl_xor_sync(FULL_WARP, a.value, mask), __shfl_xor_sync(FULL_WARP, a.index, mask)};
}
template <class R>
INLINE R finish(Number a, double count) {
  if constexpr (KIND == MEAN) return from_acc<R>(a / (Number)count);
  else return from_acc<R>(a);
}
template <class R>
INLINE R finish(const Best& a, double) {
  return (R)a.index;
}

// Space::offsets as a loop: it is called in many places here.
template <int N>
INLINE void locate(const Space<N>& space, u64 index, u64 (&at)[N]) {
#pragma unroll
  for (int k = 0; k < N; k++) at[k] = 0;
#pragma unroll 1
  for (int d = space.rank - 1; d >= 0; d--) {
    u64 size = space.sizes[d], rest = 0;
    if (d > 0) rest = (index | size) >> 32 ? index / size : (u64)((u32)index / (u32)size);
#pragma unroll
    for (int k = 0; k < N; k++) at[k] += (index - rest * size) * space.strides[k][d];
    index = rest;
  }
}
INLINE u64 place(const Space<1>& space, u64 index) {
  u64 at[1];
  locate(space, index, at);
  return at[0];
}
// The same for the common spaces: one dimension, or two of fewer than 2^31 elements.
INLINE bool is_plain(const Space<1>& space) {
  return space.rank <= 1 || (space.rank == 2 && space.numel >> 31 == 0);
}
INLINE u64 plain_place(const Space<1>& space, u64 index) {
  if (space.rank <= 1) return index * space.strides[0][0];
  u32 size = (u32)space.sizes[1], outer = (u32)index / size;
  return outer * space.strides[0][0] + ((u32)index - outer * size) * space.strides[0][1];
}

// Takes groups `from`, `from + step`, .. below `to` into the lanes: V elements along a row (ALONG), or one of each of V columns.
template <int V, bool ALONG>
INLINE void fold(State (&lane)[V], const TYPE* x, const Space<1>& reduced, u64 from, u64 to, u64 step) {
  constexpr int DEEP = V * sizeof(TYPE) >= 16 ? 4 : 8;
  constexpr int SCALE = ALONG ? V : 1;
  u64 i = from;
  for (; is_plain(reduced) && i + (DEEP - 1) * step < to; i += DEEP * step) {
    Vec<TYPE, V> group[DEEP];
#pragma unroll
    for (int u = 0; u < DEEP; u++) group[u] = load_vec<TYPE, V>(x + plain_place(reduced, (i + u * step) * SCALE));
#pragma unroll
    for (int u = 0; u < DEEP; u++) {
#pragma unroll
      for (int v = 0; v < V; v++) take(lane[v], group[u].v[v], (i + u * step) * SCALE + (ALONG ? v : 0));
    }
  }
#pragma unroll 1
  for (; i < to; i += step) {
    Vec<TYPE, V> group = load_vec<TYPE, V>(x + (is_plain(reduced) ? plain_place(reduced, i * SCALE) : place(reduced, i * SCALE)));
#pragma unroll
    for (int v = 0; v < V; v++) take(lane[v], group.v[v], i * SCALE + (ALONG ? v : 0));
  }
}

// Thread `thread` of `threads` over vectors `from..to` of a row; with `last` also what is left behind the last whole vector.
template <int V>
INLINE State fold_row(const TYPE* x, const Space<1>& reduced, u64 from, u64 to, bool last, u32 thread, u32 threads) {
  State lane[V];
#pragma unroll
  for (int v = 0; v < V; v++) start(lane[v]);
  fold<V, true>(lane, x, reduced, from + thread, to, threads);
  if (V > 1 && last) {
#pragma unroll 1
    for (u64 e = reduced.numel / V * V + thread; e < reduced.numel; e += threads) take(lane[0], x[place(reduced, e)], e);
  }
#pragma unroll
  for (int v = 1; v < V; v++) join(lane[0], lane[v]);
  return lane[0];
}

// `lanes` (a power of two, at most 32) threads a row.
template <int V>
INLINE void short_rows(const TYPE* x, RESULT* out, const Space<2>& kept, const Space<1>& reduced, u32 lanes, double count) {
  u64 row = (u64)blockIdx.x * (THREADS / lanes) + threadIdx.x / lanes;
  u32 lane = threadIdx.x & (lanes - 1);
  bool live = row < kept.numel;
  u64 at[2] = {0, 0};
  State total;
  start(total);
  if (live) {
    locate(kept, row, at);
    total = fold_row<V>(x + at[0], reduced, 0, reduced.numel / V, true, lane, lanes);
  }
  for (u32 o = lanes / 2; o; o /= 2) join(total, shuffle(total, o));
  if (live && lane == 0) out[at[1]] = finish<RESULT>(total, count);
}

// A block a row, or (gridDim.y > 1) a piece of a row of `step` vectors.
template <int V>
INLINE void long_rows(const TYPE* x, RESULT* out, State* partial, const Space<2>& kept, const Space<1>& reduced, u64 step, double count) {
  __shared__ State part[THREADS / 32];
  u64 at[2];
  locate(kept, (u64)blockIdx.x, at);
  u64 from = blockIdx.y * step, vectors = reduced.numel / V, to = from + step < vectors ? from + step : vectors;
  State total = fold_row<V>(x + at[0], reduced, from, to, blockIdx.y == gridDim.y - 1, threadIdx.x, THREADS);
#pragma unroll
  for (int o = 16; o; o /= 2) join(total, shuffle(total, o));
  if ((threadIdx.x & 31) == 0) part[threadIdx.x / 32] = total;
  __syncthreads();
  if (threadIdx.x) return;
#pragma unroll
  for (int w = 1; w < THREADS / 32; w++) join(total, part[w]);
  if (gridDim.y == 1) out[at[1]] = finish<RESULT>(total, count);
  else partial[blockIdx.y * kept.numel + blockIdx.x] = total;
}

// A block's place in a grid of `pieces` pieces, and a thread's in a block of `across` by `down`.
struct Spot {
  u64 block, piece, pieces;
  u32 x, y, across, down;
};
// Threads along x take V columns each, threads along y every down-th row of a piece of `step` rows.
template <int V>
INLINE void columns(const TYPE* x, RESULT* out, State* partial, const Space<2>& kept, const Space<1>& reduced, u64 step, double count, const Spot& s) {
  __shared__ State part[THREADS * V];
  State lane[V];
#pragma unroll
  for (int v = 0; v < V; v++) start(lane[v]);
  u64 first = (s.block * s.across + s.x) * V, at[2];
  if (first < kept.numel) {
    locate(kept, first, at);
    u64 from = s.piece * step, to = from + step < reduced.numel ? from + step : reduced.numel;
    fold<V, false>(lane, x + at[0], reduced, from + s.y, to, s.down);
  }
  u32 width = s.across * V;
#pragma unroll
  for (int v = 0; v < V; v++) part[s.y * width + s.x * V + v] = lane[v];
  __syncthreads();
  for (u32 i = s.y * s.across + s.x; i < width; i += THREADS) {
    u64 result = s.block * width + i;
    if (result >= kept.numel) break;
    State total = part[i];
    for (u32 y = 1; y < s.down; y++) join(total, part[y * width + i]);
    if (s.pieces > 1) {
      partial[s.piece * kept.numel + result] = total;
    } else {
      locate(kept, result, at);
      out[at[1]] = finish<RESULT>(total, count);
    }
  }
}

INLINE Spot spot() {
  return Spot{blockIdx.x, blockIdx.y, gridDim.y, threadIdx.x, threadIdx.y, blockDim.x, blockDim.y};
}
#define ROWS const TYPE *x, RESULT *out, State *partial, Space<2> kept, Space<1> reduced, u64 step, double count
extern "C" __global__ void __launch_bounds__(THREADS) short_rows_one(const TYPE* x, RESULT* out, Space<2> kept, Space<1> reduced, u32 lanes, double count) {
  overlap();
  short_rows<1>(x, out, kept, reduced, lanes, count);
}
extern "C" __global__ void __launch_bounds__(THREADS) short_rows_wide(const TYPE* x, RESULT* out, Space<2> kept, Space<1> reduced, u32 lanes, double count) {
  overlap();
  short_rows<WIDTH>(x, out, kept, reduced, lanes, count);
}
extern "C" __global__ void __launch_bounds__(THREADS) long_rows_one(ROWS) {
  overlap();
  long_rows<1>(x, out, partial, kept, reduced, step, count);
}
extern "C" __global__ void __launch_bounds__(THREADS) long_rows_wide(ROWS) {
  overlap();
  long_rows<WIDTH>(x, out, partial, kept, reduced, step, count);
}
extern "C" __global__ void __launch_bounds__(THREADS) columns_one(ROWS) {
  overlap();
  columns<1>(x, out, partial, kept, reduced, step, count, spot());
}
extern "C" __global__ void __launch_bounds__(THREADS) columns_wide(ROWS) {
  overlap();
  columns<WIDTH>(x, out, partial, kept, reduced, step, count, spot());
}

// Columns of several tensors, all of a column in one piece. Blocks [first[i], first[i + 1]) work on number i.
constexpr int MANY = 8;
struct Columns {
  const TYPE* x;
  RESULT* out;
  Space<2> kept;
  Space<1> reduced;
  u32 across, down;
};
struct Many {
  u32 count;
  u32 first[MANY + 1];
  Columns each[MANY];
};
template <int V>
INLINE void many_columns(const Many& all) {
  u32 i = 0;
  while (i + 1 < all.count && all.first[i + 1] <= blockIdx.x) i++;
  const Columns& c = all.each[i];
  Spot s{blockIdx.x - all.first[i], 0, 1, threadIdx.x % c.across, threadIdx.x / c.across, c.across, c.down};
  columns<V>(c.x, c.out, nullptr, c.kept, c.reduced, c.reduced.numel, (double)c.reduced.numel, s);
}
extern "C" __global__ void __launch_bounds__(THREADS) many_columns_one(const __grid_constant__ Many all) {
  overlap();
  many_columns<1>(all);
}
extern "C" __global__ void __launch_bounds__(THREADS) many_columns_wide(const __grid_constant__ Many all) {
  overlap();
  many_columns<WIDTH>(all);
}

// Joins the pieces of 32 results: block 32 x 32.
extern "C" __global__ void __launch_bounds__(1024) join_pieces(const State* partial, RESULT* out, Space<2> kept, u32 pieces, double count) {
  overlap();
  __shared__ State part[32][33];
  u64 result = (u64)blockIdx.x * 32 + threadIdx.x;
  State total;
  start(total);
  if (result < kept.numel) {
    for (u32 p = threadIdx.y; p < pieces; p += 32) join(total, partial[p * kept.numel + result]);
  }
  part[threadIdx.y][threadIdx.x] = total;
  __syncthreads();
  total = part[threadIdx.x][threadIdx.y];
#pragma unroll
  for (int o = 16; o; o /= 2) join(total, shuffle(total, o));
  result = (u64)blockIdx.x * 32 + threadIdx.y;
  if (threadIdx.x == 0 && result < kept.numel) {
    u64 at[2];
    locate(kept, result, at);
    out[at[1]] = finish<RESULT>(total, count);
  }
}
