// Elements and rows added at numbered places. TYPE: an element. Sums are float for 16-bit floats and int64, which wraps, for integers; of
// bools the sum is or. But for `add_atomically` on floats every result is the sum in the index's order.
typedef wide_t<TYPE> Sum;
constexpr int WIDTH = VEC_OF<TYPE>;

template <int V>
INLINE void add(Sum (&sum)[V], const Vec<TYPE, V>& v) {
#pragma unroll
  for (int i = 0; i < V; i++) sum[i] += (Sum)to_acc(v.v[i]);
}
template <int V>
INLINE void add(Sum (&sum)[V], const TYPE* p) {
  add<V>(sum, load_vec<TYPE, V>(p));
}
template <int V>
INLINE void put(TYPE* to, const Sum (&sum)[V]) {
  Vec<TYPE, V> v;
#pragma unroll
  for (int i = 0; i < V; i++) v.v[i] = from_acc<TYPE>(sum[i]);
  store_vec<TYPE, V>(to, v);
}

// Where an index has few numbers along its dimension: the first of equal ones adds them all. `space`: the index's lines, a number's
// place in its line, the result without the dimension, the source.
struct Line {
  u64 length, index_step, size, out_step, src_step;
};
template <int V>
INLINE void add_few(const TYPE* src, const i64* index, TYPE* out, const Space<4>& space, const Line& line, Fault* fault) {
  u64 first = global_thread() * V, at[4];
  if (first >= space.numel) return;
  space.locate(first, at);
  index += at[0];
  u64 own = at[1];
  i64 i = index[own * line.index_step];
  if ((u64)i >= line.size) {
    raise(fault);
    return;
  }
  for (u64 k = 0; k < own; k++) {
    if (index[k * line.index_step] == i) return;
  }
  src += at[3];
  out += at[2] + i * line.out_step;
  Sum sum[V] = {};
  add<V>(sum, out);
  add<V>(sum, src);
  for (u64 k = own + 1; k < line.length; k++) {
    if (index[k * line.index_step] == i) add<V>(sum, src + (k - own) * line.src_step);
  }
  put<V>(out, sum);
}
#define FEW const TYPE *src, const i64 *index, TYPE *out, Space<4> space, Line line, Fault *fault
extern "C" __global__ void __launch_bounds__(256) add_few_one(FEW) {
  overlap();
  add_few<1>(src, index, out, space, line, fault);
}
extern "C" __global__ void __launch_bounds__(256) add_few_wide(FEW) {
  overlap();
  add_few<WIDTH>(src, index, out, space, line, fault);
}

// The place in the result of every element of the source, in row-major order; -1 where there is none. `space`: the result without the
// dimension, the element's number.
extern "C" __global__ void __launch_bounds__(256) targets(const i64* index, i64* to, Space<2> space, u64 size, u64 out_step, Fault* fault) {
  overlap();
  u64 t = global_thread(), at[2];
  if (t >= space.numel) return;
  space.locate(t, at);
  u64 i = (u64)index[at[1]];
  to[at[1]] = i < size ? (i64)(at[0] + i * out_step) : -1;
  if (i >= size) raise(fault);
}

// Adds by sorted keys: the first of equal ones adds what belongs to all. `key_step`: elements of the result a key stands for; `along`:
// where in the source that is which stood at a place before the sort (and, unused, the place); `kept`: the rest of source and result.
template <int V>
INLINE void add_sorted(const i64* keys, const i64* places, u64 count, u64 limit, u64 key_step, const TYPE* src, TYPE* out,
                       const Space<2>& along, const Space<2>& kept, Fault* fault) {
  u64 t = global_thread(), units = kept.numel / V;
  u64 p = (t | units) >> 32 ? t / units : (u64)((u32)t / (u32)units);
  if (p >= count) return;
  i64 key = keys[p];
  if ((u64)key >= limit) {
    raise(fault);
    return;
  }
  if (p && keys[p - 1] == key) return;
  u64 at[2];
  kept.locate((t - p * units) * V, at);
  src += at[0];
  out += at[1] + key * key_step;
  Sum sum[V] = {};
  add<V>(sum, out);
  constexpr int DEEP = 4;
  for (; p + DEEP <= count && keys[p + DEEP - 1] == key; p += DEEP) {
    Vec<TYPE, V> v[DEEP];
#pragma unroll
    for (int u = 0; u < DEEP; u++) {
      along.locate((u64)places[p + u], at);
      v[u] = load_vec<TYPE, V>(src + at[0]);
    }
#pragma unroll
    for (int u = 0; u < DEEP; u++) add<V>(sum, v[u]);
  }
  for (; p < count && keys[p] == key; p++) {
    along.locate((u64)places[p], at);
    add<V>(sum, src + at[0]);
  }
  put<V>(out, sum);
}
#define SORTED                                                                                                          \
  const i64 *keys, const i64 *places, u64 count, u64 limit, u64 key_step, const TYPE *src, TYPE *out, Space<2> along, \
      Space<2> kept, Fault *fault
extern "C" __global__ void __launch_bounds__(256) add_sorted_one(SORTED) {
  overlap();
  add_sorted<1>(keys, places, count, limit, key_step, src, out, along, kept, fault);
}
extern "C" __global__ void __launch_bounds__(256) add_sorted_wide(SORTED) {
  overlap();
  add_sorted<WIDTH>(keys, places, count, limit, key_step, src, out, along, kept, fault);
}

#ifdef ATOMIC
INLINE void atomic_add(i64* to, i64 v) {
  atomicAdd((u64*)to, (u64)v);
}
INLINE void atomic_add(int* to, int v) {
  atomicAdd(to, v);
}
INLINE void atomic_add(float* to, float v) {
  atomicAdd(to, v);
}
INLINE void atomic_add(double* to, double v) {
  atomicAdd(to, v);
}
// `space`: the index, the result without the dimension, the source.
extern "C" __global__ void __launch_bounds__(256)
    add_atomically(const TYPE* src, const i64* index, TYPE* out, Space<3> space, u64 size, u64 out_step, Fault* fault) {
  overlap();
  u64 t = global_thread(), at[3];
  if (t >= space.numel) return;
  space.locate(t, at);
  u64 i = (u64)index[at[0]];
  if (i < size) atomic_add(out + at[1] + i * out_step, src[at[2]]);
  else raise(fault);
}
#endif
