// Elements picked by number, joined, and put into a part of a tensor. TYPE: an unsigned number as wide as an element.
constexpr int WIDTH = VEC_OF<TYPE>;

// out[..] = x[.., index[..], ..]; `space`: x without the indexed dimension, the index, the result. That dimension has `size` elements,
// `step` apart. A number outside of it gives 0 and is reported.
template <int V>
INLINE void pick(const TYPE* x, const i64* index, TYPE* out, const Space<3>& space, u64 size, u64 step, Fault* fault) {
  u64 first = global_thread() * V, at[3];
  if (first >= space.numel) return;
  space.locate(first, at);
  u64 i = (u64)index[at[1]];
  Vec<TYPE, V> v = {};
  if (i < size) v = load_vec<TYPE, V>(x + at[0] + i * step);
  else raise(fault);
  store_vec<TYPE, V>(out + at[2], v);
}
extern "C" __global__ void __launch_bounds__(256) pick_one(const TYPE* x, const i64* index, TYPE* out, Space<3> space, u64 size, u64 step, Fault* fault) {
  overlap();
  pick<1>(x, index, out, space, size, step, fault);
}
extern "C" __global__ void __launch_bounds__(256) pick_wide(const TYPE* x, const i64* index, TYPE* out, Space<3> space, u64 size, u64 step, Fault* fault) {
  overlap();
  pick<WIDTH>(x, index, out, space, size, step, fault);
}

// Copies one strided tensor into another.
template <int V>
INLINE void move(const TYPE* from, TYPE* to, const Space<2>& space) {
  u64 first = global_thread() * V, at[2];
  if (first >= space.numel) return;
  space.locate(first, at);
  store_vec<TYPE, V>(to + at[1], load_vec<TYPE, V>(from + at[0]));
}
extern "C" __global__ void __launch_bounds__(256) move_one(const TYPE* from, TYPE* to, Space<2> space) {
  overlap();
  move<1>(from, to, space);
}
extern "C" __global__ void __launch_bounds__(256) move_wide(const TYPE* from, TYPE* to, Space<2> space) {
  overlap();
  move<WIDTH>(from, to, space);
}

// Row-major tensors to be joined: piece i has columns `start[i]..start[i + 1]` of every row, counted in vectors.
constexpr int PIECES = 32;
struct Pieces {
  const TYPE* from[PIECES];
  u64 start[PIECES + 1];
};
// `stride`: elements between rows of the result.
template <int V>
INLINE void join(TYPE* out, const Pieces& pieces, u32 count, u64 rows, u64 stride) {
  u64 unit = global_thread(), width = pieces.start[count];
  if (unit >= rows * width) return;
  u64 row = (unit | width) >> 32 ? unit / width : (u64)((u32)unit / (u32)width), column = unit - row * width;
  u32 i = 0;
  while (column >= pieces.start[i + 1]) i++;
  u64 own = pieces.start[i + 1] - pieces.start[i];
  store_vec<TYPE, V>(out + row * stride + column * V, load_vec<TYPE, V>(pieces.from[i] + (row * own + column - pieces.start[i]) * V));
}
extern "C" __global__ void __launch_bounds__(256) join_one(TYPE* out, Pieces pieces, u32 count, u64 rows, u64 stride) {
  overlap();
  join<1>(out, pieces, count, rows, stride);
}
extern "C" __global__ void __launch_bounds__(256) join_wide(TYPE* out, Pieces pieces, u32 count, u64 rows, u64 stride) {
  overlap();
  join<WIDTH>(out, pieces, count, rows, stride);
}
