// Gradient clipping, loss scaling and the optimisers, over ranges of flat buffers.
// Defines: ELEMENT float or double; WIDTH elements that a thread moves at a time (16 bytes, or 1 where ranges aren't aligned);
// PIECES ranges that one launch takes.
typedef ELEMENT T;
typedef Vec<T, WIDTH> V;
constexpr int THREADS = 256;

// The same bits as `Pieces` in optim/pieces.rs. Work is cut into chunks of one size; chunks `first` and up to the next piece's are
// piece i's. `at` is an element of every buffer where an update works on several, else an address.
struct Piece {
  u64 at, len, first;
};
struct Pieces {
  u32 count, chunks;
  Piece piece[PIECES];
};
INLINE const Piece& piece_of(const Pieces& p, u32 chunk) {
  u32 i = 0;
  if (PIECES > 1)
    while (i + 1 < p.count && chunk >= p.piece[i + 1].first) i++;
  return p.piece[i];
}

// ---- updates: one vector a thread -------------------------------------------------------------------------------------
// Where this thread's vector is; false beyond the piece, whose length is a multiple of WIDTH.
INLINE bool locate(const Pieces& pieces, u64& at) {
  const Piece& p = piece_of(pieces, blockIdx.x);
  u64 inside = ((blockIdx.x - p.first) * THREADS + threadIdx.x) * WIDTH;
  at = p.at + inside;
  return inside < p.len;
}
// After a wrong index nothing is updated until the host has been told.
INLINE bool skipped(const double* skip, const Fault* fault) {
  return (skip && *skip != 0) || fault->seen;
}

// The same bits as `Sgd` in optim.rs.
struct Sgd {
  Sc lr, momentum, dampening, decay;
  int nesterov, maximize, fresh;
  int heavy;  // momentum isn't 0, as far as is known at the launch: its buffer is loaded with the rest
};
KERNEL sgd(T* param, const T* grad, T* buffer, Pieces pieces, Sgd s, const double* skip, const Fault* fault) {
  overlap();
  u64 at;
  if (!locate(pieces, at)) return;
  V p = load_vec<T, WIDTH>(param + at), g = load_vec<T, WIDTH>(grad + at), m = {};
  if (s.heavy && !s.fresh) m = load_vec<T, WIDTH>(buffer + at);
  if (skipped(skip, fault)) return;
  T lr = (T)get(s.lr), momentum = (T)get(s.momentum), share = (T)(1 - get(s.dampening)), decay = (T)get(s.decay);
  T sign = s.maximize ? (T)-1 : (T)1;
  if (momentum == 0) {
#pragma unroll
    for (int i = 0; i < WIDTH; i++) p.v[i] -= lr * (g.v[i] * sign + decay * p.v[i]);
    store_vec<T, WIDTH>(param + at, p);
    return;
  }
  if (!s.heavy && !s.fresh) m = load_vec<T, WIDTH>(buffer + at);
#pragma unroll
  for (int i = 0; i < WIDTH; i++) {
    T d = g.v[i] * sign + decay * p.v[i];
    m.v[i] = s.fresh ? d : m.v[i] * momentum + d * share;
    p.v[i] -= lr * (s.nesterov ? d + m.v[i] * momentum : m.v[i]);
  }
  store_vec<T, WIDTH>(buffer + at, m);
  store_vec<T, WIDTH>(param + at, p);
}

// base^n. Squaring again and again takes a few dozen products where pow takes hundreds of instructions.
INLINE double power(double base, double exponent) {
  double r = 1;
  for (u64 n = (u64)(exponent + 0.5); n; n >>= 1) {
    if (n & 1) r *= base;
    base *= base;
  }
  return r;
}

// The same bits as `AdamW` in optim.rs.
struct AdamW {
  Sc lr, beta1, beta2, eps, decay, step;
  int maximize;
};
KERNEL adamw(T* param, const T* grad, T* first, T* second, Pieces pieces, AdamW s, const double* skip, const Fault* fault) {
  overlap();
  __shared__ T size, unbias;
  u64 at;
  bool inside = locate(pieces, at);
  V p = {}, g = {}, m = {}, v = {};
  if (inside) {
    p = load_vec<T, WIDTH>(param + at);
    g = load_vec<T, WIDTH>(grad + at);
    m = load_vec<T, WIDTH>(first + at);
    v = load_vec<T, WIDTH>(second + at);
  }
  // In double, which many devices have little of: two threads do it while the loads are under way.
  double lr = get(s.lr), step = get(s.step), beta1 = get(s.beta1), beta2 = get(s.beta2);
  if (threadIdx.x == 0) size = (T)(lr / (1 - power(beta1, step)));
  if (threadIdx.x == 32) unbias = (T)(1 / sqrt(1 - power(beta2, step)));
  T shrink = (T)(1 - lr * get(s.decay)), share1 = (T)(1 - beta1), keep2 = (T)beta2, share2 = (T)(1 - beta2), eps = (T)get(s.eps);
  T sign = s.maximize ? (T)-1 : (T)1;
  __syncthreads();
  if (!inside || skipped(skip, fault)) return;
#pragma unroll
  for (int i = 0; i < WIDTH; i++) {
    T d = g.v[i] * sign;
    m.v[i] += (d - m.v[i]) * share1;
    v.v[i] = v.v[i] * keep2 + d * d * share2;
    p.v[i] = p.v[i] * shrink - size * (m.v[i] / (sqrt(v.v[i]) * unbias + eps));
  }
  store_vec<T, WIDTH>(param + at, p);
  store_vec<T, WIDTH>(first + at, m);
  store_vec<T, WIDTH>(second + at, v);
}

// ---- gradients: chunks of several vectors a thread, of several buffers ------------------------------------------------
constexpr int DEEP = WIDTH == 1 ? 16 : 4;
constexpr int CHUNK = THREADS * WIDTH * DEEP;

INLINE void chunk_of(const Pieces& pieces, u32 chunk, T*& data, u64& left) {
  const Piece& p = piece_of(pieces, chunk);
  u64 from = (chunk - p.first) * CHUNK;
  data = (T*)p.at + from;
  left = p.len - from;
}
INLINE int lane_at(int d) {
  return (d * THREADS + threadIdx.x) * WIDTH;
}
// This thread's vectors of a chunk; zero beyond the piece.
INLINE void load_chunk(const T* data, u64 left, V (&v)[DEEP]) {
#pragma unroll
  for (int d = 0; d < DEEP; d++) v[d] = lane_at(d) < left ? load_vec<T, WIDTH>(data + lane_at(d)) : V{};
}
INLINE void store_chunk(T* data, u64 left, const V (&v)[DEEP]) {
#pragma unroll
  for (int d = 0; d < DEEP; d++)
    if (lane_at(d) < left) store_vec<T, WIDTH>(data + lane_at(d), v[d]);
}

// Sums of squares by block, from parts[offset] on. If `finish`, the last block adds up all `offset + gridDim.x` of them, those of earlier
// launches too, writes the norm (double if `wide`, else float) and what gradients are to be multiplied by.
KERNEL sum_of_squares(Pieces pieces, double* parts, u32 offset, int finish, u32* done, void* norm, int wide, Sc max, double* scale) {
  overlap();
  double sum = 0;
  for (u32 c = blockIdx.x; c < pieces.chunks; c += gridDim.x) {
    T* data;
    u64 left;
    chunk_of(pieces, c, data, left);
    V v[DEEP];
    load_chunk(data, left, v);
    T squares = 0;
#pragma unroll
    for (int d = 0; d < DEEP; d++)
#pragma unroll
      for (int i = 0; i < WIDTH; i++) squares += v[d].v[i] * v[d].v[i];
    sum += squares;
  }
  sum = block_sum(sum);
  u32 all = offset + gridDim.x;
  if (all > 1 || !finish) {
    if (threadIdx.x == 0) parts[offset + blockIdx.x] = sum;
    if (!finish || !last_block(done, gridDim.x)) return;
    sum = 0;
    for (u32 i = threadIdx.x; i < all; i += THREADS) sum += ((volatile double*)parts)[i];
    sum = block_sum(sum);
  }
  if (!finish || threadIdx.x) return;
  // In the norm's type, as in PyTorch: an infinite norm makes every gradient 0 or NaN, a NaN norm makes all of them NaN.
  if (wide) {
    double total = sqrt(sum);
    *(double*)norm = total;
    *scale = get(max) / (total + 1e-6);
  } else {
    float total = (float)sqrt(sum);
    *(float*)norm = total;
    *scale = (float)get(max) / (total + 1e-6f);
  }
}

KERNEL scale_chunks(Pieces pieces, const double* scale) {
  overlap();
  double by = *scale;
  if (by >= 1) return;
  T *data, s = (T)by;
  u64 left;
  chunk_of(pieces, blockIdx.x, data, left);
  V v[DEEP];
  load_chunk(data, left, v);
#pragma unroll
  for (int d = 0; d < DEEP; d++)
#pragma unroll
    for (int i = 0; i < WIDTH; i++) v[d].v[i] *= s;
  store_chunk(data, left, v);
}

KERNEL clip_value(Pieces pieces, Sc max) {
  overlap();
  T *data, high = (T)get(max), low = -high;
  u64 left;
  chunk_of(pieces, blockIdx.x, data, left);
  V v[DEEP];
  load_chunk(data, left, v);
#pragma unroll
  for (int d = 0; d < DEEP; d++)
#pragma unroll
    for (int i = 0; i < WIDTH; i++) {
      T x = v[d].v[i];  // a NaN stays
      x = x < low ? low : x;
      v[d].v[i] = x > high ? high : x;
    }
  store_chunk(data, left, v);
}

// ---- loss scaling -----------------------------------------------------------------------------------------------------
// Gradients divided by the scale. `flag` gathers over launches whether one wasn't finite; if `finish`, the last block writes it to `found`.
// Both counters are left at zero.
KERNEL unscale(Pieces pieces, const float* scale, u32* done, u32* flag, int finish, double* found) {
  overlap();
  T inverse = (T)(1.0 / (double)*scale);
  int bad = 0;
  if (blockIdx.x < pieces.chunks) {
    T* data;
    u64 left;
    chunk_of(pieces, blockIdx.x, data, left);
    V v[DEEP];
    load_chunk(data, left, v);
#pragma unroll
    for (int d = 0; d < DEEP; d++)
#pragma unroll
      for (int i = 0; i < WIDTH; i++) {
        // Of a number that isn't finite, the difference to itself is NaN.
        bad |= v[d].v[i] - v[d].v[i] != 0;
        v[d].v[i] *= inverse;
      }
    store_chunk(data, left, v);
  }
  if (__syncthreads_or(bad) && threadIdx.x == 0) atomicOr(flag, 1);
  if (!finish || !last_block(done, gridDim.x)) return;
  if (threadIdx.x == 0) *found = atomicExch(flag, 0) ? 1 : 0;
}

// PyTorch's rule for the next scale. One thread.
KERNEL update_scale(float* scale, int* tracker, const double* found, Sc growth, Sc backoff, Sc interval) {
  overlap();
  if (*found != 0) {
    *scale = (float)(*scale * get(backoff));
    *tracker = 0;
    return;
  }
  int good = *tracker + 1;
  if (good == (int)get(interval)) {
    float grown = (float)(*scale * get(growth));
    if (grown - grown == 0) *scale = grown;
    good = 0;
  }
  *tracker = good;
}
