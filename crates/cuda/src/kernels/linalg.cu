// Products of small, odd or integer matrices, with any strides: what cuBLASLt is slow at or doesn't do.
// Defines: ELEMENT type; TILE side of the square of the result that a block computes (8, 16 or 32).
//
// A block's threads are cut into teams. All teams compute the same tile, each over every TEAMS-th element of k, and are added up
// at the end in a fixed order: so even a tiny result keeps a whole block busy, and its bits don't depend on anything but shapes.

typedef ELEMENT T;

// What products of T are added in. Integers wrap, which only unsigned ones may.
template <class A>
struct Sum {
  typedef acc_t<A> type;
};
template <>
struct Sum<int> {
  typedef u32 type;
};
template <>
struct Sum<u8> {
  typedef u32 type;
};
template <>
struct Sum<i64> {
  typedef u64 type;
};
typedef Sum<T>::type S;

constexpr int THREADS = 256;
constexpr int SIDE = TILE == 8 ? 2 : 4;  // side of the square that one thread computes
constexpr int ACROSS = TILE / SIDE;
constexpr int TEAM = ACROSS * ACROSS;
constexpr int TEAMS = THREADS / TEAM;
constexpr int DEPTH = TILE == 32 ? 64 : 128;  // elements of k in shared memory at a time
constexpr int PITCH = TILE + 1;               // odd: neither rows nor columns meet in one bank
constexpr int LOADS = TILE * DEPTH / THREADS;
constexpr int STAGE = 2 * DEPTH * PITCH, PARTS = TEAMS * TILE * TILE;

// The same bits as `Operand` in blas/small.rs: strides in elements; `side` steps along m or n.
struct Operand {
  const T* data;
  u64 side, k, outer, inner;
};

// A thread's elements of slabs [TILE, DEPTH]: the first and the way to the next. Neighbours read along the shorter stride.
struct Walk {
  const T* at;
  u64 step, slab;
  int i, p, di, dp;
  INLINE Walk(const Operand& x, const T* data, u64 from) {
    bool along_k = x.k <= x.side;
    i = along_k ? threadIdx.x / DEPTH : threadIdx.x % TILE;
    p = along_k ? threadIdx.x % DEPTH : threadIdx.x / TILE;
    di = along_k ? THREADS / DEPTH : 0;
    dp = along_k ? 0 : THREADS / TILE;
    at = data + (from + i) * x.side + p * x.k;
    step = di * x.side + dp * x.k;
    slab = DEPTH * x.k;
  }
  // The next slab, of which `sides` by `k` are in the matrix; zero beyond.
  INLINE void fetch(i64 sides, i64 k, S (&value)[LOADS]) {
#pragma unroll
    for (int j = 0; j < LOADS; j++) value[j] = i + j * di < sides && p + j * dp < k ? (S)to_acc(at[j * step]) : (S)0;
    at += slab;
  }
  INLINE void stage(const S (&value)[LOADS], S* to) const {
#pragma unroll
    for (int j = 0; j < LOADS; j++) to[(p + j * dp) * PITCH + i + j * di] = value[j];
  }
};

struct Problem {
  u64 m, n, k, batches, inner;  // batch z is (z / inner, z % inner)
  u64 ldo, out_outer, out_inner;
  const T* bias;  // of n, or null
  u64 bias_stride;
  const T* mask;  // lies as the result, which is one matrix, or null
  int relu, accumulate;
};

// out = relu(out? + a b + bias?), 0 where the mask isn't above 0. Grid: (tiles, batches up to 65535). Block: THREADS.
extern "C" __global__ void __launch_bounds__(THREADS, 2) product(Operand a, Operand b, T* out, Problem p) {
  overlap();
  __shared__ S memory[STAGE > PARTS ? STAGE : PARTS];
  S *slab_a = memory, *slab_b = memory + DEPTH * PITCH;
  int t = threadIdx.x, team = t / TEAM, row = t % TEAM / ACROSS * SIDE, col = t % ACROSS * SIDE;
  u64 tiles_n = (p.n + TILE - 1) / TILE;
  u64 i0 = blockIdx.x / tiles_n * TILE, j0 = blockIdx.x % tiles_n * TILE;
  for (u64 z = blockIdx.y; z < p.batches; z += gridDim.y) {
    u64 outer = z / p.inner, inner = z % p.inner;
    const T* data_a = a.data + outer * a.outer + inner * a.inner;
    const T* data_b = b.data + outer * b.outer + inner * b.inner;
    S sum[SIDE][SIDE] = {}, next_a[LOADS], next_b[LOADS];
    Walk walk_a(a, data_a, i0), walk_b(b, data_b, j0);
    if (p.k) {
      walk_a.fetch(p.m - i0, p.k, next_a);
      walk_b.fetch(p.n - j0, p.k, next_b);
    }
    for (i64 left = p.k; left > 0; left -= DEPTH) {
      walk_a.stage(next_a, slab_a);
      walk_b.stage(next_b, slab_b);
      __syncthreads();
      if (left > DEPTH) {  // on their way while this slab is multiplied
        walk_a.fetch(p.m - i0, left - DEPTH, next_a);
        walk_b.fetch(p.n - j0, left - DEPTH, next_b);
      }
      int depth = left < DEPTH ? (int)left : DEPTH;
#pragma unroll 4
      for (int d = team; d < depth; d += TEAMS) {
        S x[SIDE], y[SIDE];
#pragma unroll
        for (int r = 0; r < SIDE; r++) x[r] = slab_a[d * PITCH + row + r];
#pragma unroll
        for (int c = 0; c < SIDE; c++) y[c] = slab_b[d * PITCH + col + c];
#pragma unroll
        for (int r = 0; r < SIDE; r++)
#pragma unroll
          for (int c = 0; c < SIDE; c++) sum[r][c] += x[r] * y[c];
      }
      __syncthreads();
    }
#pragma unroll
    for (int r = 0; r < SIDE; r++)
#pragma unroll
      for (int c = 0; c < SIDE; c++) memory[team * TILE * TILE + (row + r) * TILE + col + c] = sum[r][c];
    __syncthreads();
    T* to = out + outer * p.out_outer + inner * p.out_inner;
    for (int e = t; e < TILE * TILE; e += THREADS) {
      u64 i = i0 + e / TILE, j = j0 + e % TILE;
      if (i >= p.m || j >= p.n) continue;
      S v = 0;
#pragma unroll
      for (int s = 0; s < TEAMS; s++) v += memory[s * TILE * TILE + e];
      if (p.accumulate) v += (S)to_acc(to[i * p.ldo + j]);
      if (p.bias) v += (S)to_acc(p.bias[j * p.bias_stride]);
      if (p.relu) v = v < (S)0 ? (S)0 : v;  // a NaN stays
      if (p.mask && !(to_acc(p.mask[i * p.ldo + j]) > (acc_t<T>)0)) v = 0;
      to[i * p.ldo + j] = from_acc<T>(v);
    }
    __syncthreads();  // the parts have been read before the next batch's slabs overwrite them
  }
}

// x where y is above 0, else 0: a relu's derivative on what the library has computed.
KERNEL mask_in_place(T* x, const T* y, u64 count) {
  overlap();
  for (u64 i = global_thread(); i < count; i += global_threads()) {
    if (!(to_acc(y[i]) > (acc_t<T>)0)) x[i] = from_acc<T>((acc_t<T>)0);
  }
}

// x = relu(x), where a product's own epilogue can't.
KERNEL relu_in_place(T* x, u64 count) {
  overlap();
  for (u64 i = global_thread(); i < count; i += global_threads()) {
    acc_t<T> v = to_acc(x[i]);
    x[i] = v < (acc_t<T>)0 ? from_acc<T>((acc_t<T>)0) : x[i];
  }
}
