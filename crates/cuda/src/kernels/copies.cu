// Copies and casts of many buffers in one launch, many counters in one, rows gathered by number, and a plan's parameters. Everything
// travels by value.

#ifdef COPY
// One piece of work: `count` units (bytes for a copy, elements for a cast).
struct Segment {
  u64 from, to, count;
};
// Blocks [first[i], first[i + 1]) work on segment i.
struct Segments {
  u32 count;
  u32 first[SEGMENTS + 1];
  Segment segment[SEGMENTS];
};
constexpr int THREADS = 256;

// The segment of a block: the last one that begins at or before it.
INLINE int segment_of(const Segments& s, u32 block) {
  int low = 0, high = (int)s.count;
  while (high - low > 1) {
    int middle = (low + high) / 2;
    if (s.first[middle] <= block) low = middle;
    else high = middle;
  }
  return low;
}

// Bytes [begin, end) of a segment in units of T; both addresses and both ends are multiples of its size.
template <class T>
INLINE void copy_units(const Segment& s, u64 begin, u64 end) {
  const T* from = reinterpret_cast<const T*>(s.from);
  T* to = reinterpret_cast<T*>(s.to);
  u64 i = begin / sizeof(T) + threadIdx.x, stop = end / sizeof(T);
  for (; i + 3 * THREADS < stop; i += 4 * THREADS) {
    T a = from[i], b = from[i + THREADS], c = from[i + 2 * THREADS], d = from[i + 3 * THREADS];
    to[i] = a;
    to[i + THREADS] = b;
    to[i + 2 * THREADS] = c;
    to[i + 3 * THREADS] = d;
  }
  for (; i < stop; i += THREADS) to[i] = from[i];
}

KERNEL copy_many(const __grid_constant__ Segments all) {
  overlap();
  int k = segment_of(all, blockIdx.x);
  Segment s = all.segment[k];
  u64 begin = (u64)(blockIdx.x - all.first[k]) * UNITS;
  u64 end = begin + UNITS < s.count ? begin + UNITS : s.count;
  u64 both = s.from | s.to;
  // Whole vectors, and the last bytes of the segment one by one; UNITS is a multiple of 16.
  if (both % 16 == 0) {
    u64 whole = end / 16 * 16;
    copy_units<Vec<u32, 4>>(s, begin, whole);
    copy_units<u8>(s, whole, end);
  } else if (both % 4 == 0) {
    u64 whole = end / 4 * 4;
    copy_units<u32>(s, begin, whole);
    copy_units<u8>(s, whole, end);
  } else {
    copy_units<u8>(s, begin, end);
  }
}

#ifdef FROM
constexpr int WIDE = sizeof(FROM) > sizeof(TO) ? VEC_OF<FROM> : VEC_OF<TO>;

INLINE TO convert(FROM v) {
  return from_acc<TO>(to_acc(v));
}

KERNEL cast_many(const __grid_constant__ Segments all) {
  overlap();
  int k = segment_of(all, blockIdx.x);
  Segment s = all.segment[k];
  const FROM* from = reinterpret_cast<const FROM*>(s.from);
  TO* to = reinterpret_cast<TO*>(s.to);
  u64 begin = (u64)(blockIdx.x - all.first[k]) * UNITS;
  u64 end = begin + UNITS < s.count ? begin + UNITS : s.count;
  u64 i = begin + threadIdx.x;
  if (s.from % (WIDE * sizeof(FROM)) == 0 && s.to % (WIDE * sizeof(TO)) == 0) {
    u64 v = begin / WIDE + threadIdx.x, stop = end / WIDE;
    for (; v + THREADS < stop; v += 2 * THREADS) {
      Vec<FROM, WIDE> a = load_vec<FROM, WIDE>(from + v * WIDE), b = load_vec<FROM, WIDE>(from + (v + THREADS) * WIDE);
      Vec<TO, WIDE> x, y;
#pragma unroll
      for (int j = 0; j < WIDE; j++) {
        x.v[j] = convert(a.v[j]);
        y.v[j] = convert(b.v[j]);
      }
      store_vec(to + v * WIDE, x);
      store_vec(to + (v + THREADS) * WIDE, y);
    }
    if (v < stop) {
      Vec<FROM, WIDE> a = load_vec<FROM, WIDE>(from + v * WIDE);
      Vec<TO, WIDE> x;
#pragma unroll
      for (int j = 0; j < WIDE; j++) x.v[j] = convert(a.v[j]);
      store_vec(to + v * WIDE, x);
    }
    i = stop * WIDE + threadIdx.x;
  }
  for (; i < end; i += THREADS) to[i] = convert(from[i]);
}
#endif
#endif

#ifdef COUNT
struct Counters {
  i64* at[COUNTERS];
  Sc by[COUNTERS];
};
// Numbers that may be the same one are not in one launch.
KERNEL count(u32 count, const __grid_constant__ Counters all) {
  overlap();
  if (threadIdx.x >= count) return;
  double by = get(all.by[threadIdx.x]);
  i64* at = all.at[threadIdx.x];
  // Rust's `as`: NaN gives 0; integers wrap.
  *at = (i64)((u64)*at + (u64)(by == by ? __double2ll_rz(by) : 0));
}
#endif

#ifdef GATHER
// A tensor's rows: `units` units of `size` bytes each.
struct GatherSource {
  u64 source, to, units, size;
};
struct Gather {
  GatherSource of[SOURCES];
  u32 count;
  u32 row[ROWS];
};
template <class T>
INLINE void gather(const Gather& all, const GatherSource& s) {
  const T* source = reinterpret_cast<const T*>(s.source);
  T* to = reinterpret_cast<T*>(s.to);
  u64 total = s.units * all.count;
  for (u64 i = (u64)blockIdx.x * blockDim.x + threadIdx.x; i < total; i += (u64)gridDim.x * blockDim.x) {
    u64 row = i / s.units;
    to[i] = source[(u64)all.row[row] * s.units + (i - row * s.units)];
  }
}
// Result row i of each tensor is source row `row[i]`; blockIdx.y is the tensor.
KERNEL gather_rows(const __grid_constant__ Gather all) {
  overlap();
  const GatherSource& s = all.of[blockIdx.y];
  switch (s.size) {
    case 16: return gather<Vec<u32, 4>>(all, s);
    case 8: return gather<u64>(all, s);
    case 4: return gather<u32>(all, s);
    case 2: return gather<u16>(all, s);
    default: return gather<u8>(all, s);
  }
}
#endif

#ifdef PARAMS
struct Changes {
  u32 index[CHANGES];
  double value[CHANGES];
};
KERNEL set_params(double* params, u32 count, const __grid_constant__ Changes changes) {
  overlap();
  if (threadIdx.x < count) params[changes.index[threadIdx.x]] = changes.value[threadIdx.x];
}
#endif
