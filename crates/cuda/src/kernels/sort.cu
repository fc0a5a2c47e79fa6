// Stable sorting along one dimension. TYPE: an element.
// An element is sorted as a pair of its key (an unsigned number in the elements' order, NaN on top) and its place. No two pairs are
// equal, so any way of sorting is a stable one. Short rows are sorted in shared memory; long ones in tiles, which are merged.
template <class T>
INLINE u64 float_key(u64 bits, bool nan, bool zero) {
  constexpr u64 SIGN = 1ull << (sizeof(T) * 8 - 1), ALL = SIGN | (SIGN - 1);
  if (nan) return ALL;
  if (zero) return SIGN;  // -0 is 0
  return bits & SIGN ? ~bits & ALL : bits | SIGN;
}
INLINE u64 key_of(u8 x) {
  return x;
}
INLINE u64 key_of(int x) {
  return (u32)x ^ 0x80000000u;
}
INLINE u64 key_of(i64 x) {
  return (u64)x ^ 1ull << 63;
}
INLINE u64 key_of(half_t x) {
  u32 size = x.bits & 0x7fffu;
  return float_key<half_t>(x.bits, size > 0x7c00u, size == 0);
}
INLINE u64 key_of(bf16_t x) {
  u32 size = x.bits & 0x7fffu;
  return float_key<bf16_t>(x.bits, size > 0x7f80u, size == 0);
}
INLINE u64 key_of(float x) {
  return float_key<float>(__float_as_uint(x), x != x, x == 0);
}
INLINE u64 key_of(double x) {
  return float_key<double>((u64)__double_as_longlong(x), x != x, x == 0);
}

// Keys of up to 32 bits share a word with the place.
struct Narrow {
  u64 word;
  INLINE static Narrow make(u64 key, u64 place) {
    return Narrow{key << 32 | place};
  }
  INLINE static Narrow last() {
    return Narrow{~0ull};
  }
  INLINE u64 place() const {
    return word & 0xffffffffull;
  }
  INLINE bool before(const Narrow& o) const {
    return word < o.word;
  }
};
struct alignas(16) WidePair {
  u64 key, at;
  INLINE static WidePair make(u64 key, u64 place) {
    return WidePair{key, place};
  }
  INLINE static WidePair last() {
    return WidePair{~0ull, ~0ull};
  }
  INLINE u64 place() const {
    return at;
  }
  INLINE bool before(const WidePair& o) const {
    return key < o.key || (key == o.key && at < o.at);
  }
};
template <bool WIDE>
struct PairOf {
  typedef Narrow type;
};
template <>
struct PairOf<true> {
  typedef WidePair type;
};
typedef PairOf<sizeof(TYPE) == 8>::type Pair;

constexpr u32 TILE = 32768 / sizeof(Pair);
constexpr u32 THREADS = 512;
constexpr u32 ITEMS = TILE / THREADS;

// Rows of `length` elements; where they begin in the input and in both results, and the elements between neighbours in each.
struct Rows {
  Space<3> at;
  u64 length, x_step, value_step, index_step;
};
struct Row {
  const TYPE* x;
  TYPE* values;
  i64* indices;
};
INLINE Row row_at(const Rows& rows, u64 row, const TYPE* x, TYPE* values, i64* indices) {
  u64 at[3];
  rows.at.offsets(row, at);
  return Row{x + at[0], values + at[1], indices + at[2]};
}
INLINE Pair pair_at(const Row& row, const Rows& rows, u64 i, bool descending) {
  u64 key = key_of(row.x[i * rows.x_step]);
  if (descending) key = ~key & (~0ull >> (64 - 8 * sizeof(TYPE)));
  return Pair::make(key, i);
}
// Element `place` of the row is the `i`-th; values keep their bits.
INLINE void put(const Row& row, const Rows& rows, u64 i, u64 place) {
  row.values[i * rows.value_step] = row.x[place * rows.x_step];
  row.indices[i * rows.index_step] = (i64)place;
}

// Bitonic sort of consecutive stretches of `size` (a power of two) of `count` pairs.
INLINE void sort_shared(Pair* pairs, u32 size, u32 count) {
  for (u32 k = 2; k <= size; k *= 2) {
    for (u32 j = k / 2; j > 0; j /= 2) {
      __syncthreads();
      for (u32 t = threadIdx.x; t < count / 2; t += blockDim.x) {
        u32 a = (t & ~(j - 1)) * 2 + (t & (j - 1)), b = a + j;
        bool up = (a & (size - 1) & k) == 0;
        Pair p = pairs[a], q = pairs[b];
        if (q.before(p) == up) {
          pairs[a] = q;
          pairs[b] = p;
        }
      }
    }
  }
  __syncthreads();
}

// Rows of at most `size` (a power of two, at most TILE) elements, blockDim.x >= 32, `group` rows a block.
extern "C" __global__ void __launch_bounds__(THREADS) sort_rows(const TYPE* x, TYPE* values, i64* indices, Rows rows, u32 size, u32 group, bool descending) {
  overlap();
  extern __shared__ __align__(16) unsigned char memory[];
  Pair* pairs = reinterpret_cast<Pair*>(memory);
  u64 first = (u64)blockIdx.x * group;
  for (u32 t = threadIdx.x; t < size * group; t += blockDim.x) {
    u64 row = first + t / size;
    u32 i = t & (size - 1);
    bool real = row < rows.at.numel && i < rows.length;
    pairs[t] = real ? pair_at(row_at(rows, row, x, values, indices), rows, i, descending) : Pair::last();
  }
  sort_shared(pairs, size, size * group);
  for (u32 t = threadIdx.x; t < size * group; t += blockDim.x) {
    u64 row = first + t / size;
    u32 i = t & (size - 1);
    if (row < rows.at.numel && i < rows.length) put(row_at(rows, row, x, values, indices), rows, i, pairs[t].place());
  }
}

// Sorts tile blockIdx.x % tiles of row `first` + blockIdx.x / tiles; pairs of a batch's rows lie one after the other.
extern "C" __global__ void __launch_bounds__(THREADS) sort_tiles(const TYPE* x, Pair* to, Rows rows, u64 first, u32 tiles, bool descending) {
  overlap();
  __shared__ Pair pairs[TILE];
  u64 row = blockIdx.x / tiles, start = (u64)(blockIdx.x % tiles) * TILE;
  Row r = row_at(rows, first + row, x, (TYPE*)0, (i64*)0);
  for (u32 t = threadIdx.x; t < TILE; t += THREADS) {
    pairs[t] = start + t < rows.length ? pair_at(r, rows, start + t, descending) : Pair::last();
  }
  sort_shared(pairs, TILE, TILE);
  to += row * rows.length + start;
  for (u32 t = threadIdx.x; t < TILE && start + t < rows.length; t += THREADS) to[t] = pairs[t];
}

// Of the first `n` pairs of two sorted runs merged, how many come from `a`.
INLINE u64 taken(const Pair* a, u64 a_count, const Pair* b, u64 b_count, u64 n) {
  u64 low = n > b_count ? n - b_count : 0, high = n < a_count ? n : a_count;
  while (low < high) {
    u64 middle = (low + high) / 2;
    if (a[middle].before(b[n - 1 - middle])) low = middle + 1;
    else high = middle;
  }
  return low;
}

// Merges sorted runs of `run` pairs (a multiple of TILE), two by two: a block makes TILE of the result. The last pass writes the results.
extern "C" __global__ void __launch_bounds__(THREADS)
    merge(const Pair* from, Pair* to, const TYPE* x, TYPE* values, i64* indices, Rows rows, u64 first, u32 tiles, u64 run, bool last) {
  overlap();
  __shared__ Pair pairs[TILE];
  __shared__ u64 cut[2];
  u64 row = blockIdx.x / tiles, start = (u64)(blockIdx.x % tiles) * TILE, length = rows.length;
  u64 base = start / (2 * run) * (2 * run);
  u64 middle = base + run < length ? base + run : length, end = middle + run < length ? middle + run : length;
  from += row * length;
  const Pair *a = from + base, *b = from + middle;
  u64 a_count = middle - base, b_count = end - middle, n = start - base;
  u64 stop = n + TILE < a_count + b_count ? n + TILE : a_count + b_count;
  if (threadIdx.x < 2) cut[threadIdx.x] = taken(a, a_count, b, b_count, threadIdx.x ? stop : n);
  __syncthreads();
  u32 count = (u32)(stop - n), here = (u32)(cut[1] - cut[0]);
  a += cut[0];
  b += n - cut[0];
  for (u32 t = threadIdx.x; t < count; t += THREADS) pairs[t] = t < here ? a[t] : b[t - here];
  __syncthreads();
  u32 begin = threadIdx.x * ITEMS < count ? threadIdx.x * ITEMS : count;
  u32 i = (u32)taken(pairs, here, pairs + here, count - here, begin), j = here + begin - i;
  Pair merged[ITEMS];
#pragma unroll
  for (u32 k = 0; k < ITEMS; k++) {
    if (begin + k < count) {
      bool left = j >= count || (i < here && pairs[i].before(pairs[j]));
      merged[k] = left ? pairs[i++] : pairs[j++];
    }
  }
  __syncthreads();
#pragma unroll
  for (u32 k = 0; k < ITEMS; k++) {
    if (begin + k < count) pairs[begin + k] = merged[k];
  }
  __syncthreads();
  if (last) {
    Row r = row_at(rows, first + row, x, values, indices);
    for (u32 t = threadIdx.x; t < count; t += THREADS) put(r, rows, start + t, pairs[t].place());
  } else {
    to += row * length + start;
    for (u32 t = threadIdx.x; t < count; t += THREADS) to[t] = pairs[t];
  }
}
