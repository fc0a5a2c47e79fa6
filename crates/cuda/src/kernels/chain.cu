// The kernel of every pointwise op and fused chain. chain.rs says by macros what it reads, computes and writes:
//   INPUTS  IN(number, dtype, how, slot) ..            OUTPUTS  OUT(number, dtype, how, slot, step) ..
//   SCALARS SCALAR|CLAMP|KEEP|RANDOM|RANGE(step, dtype, word) ..    STEPS  STEP(step, value) ..
// Operands are read V elements at a time, in the order in which the result lies in memory; a thread has U such vectors in
// flight. Elements are numbered in that order too, in a space of RANK dimensions, or as they lie if RANK is 0.
#ifndef LOGICAL
#define LOGICAL -1
#endif
constexpr int THREADS = 128;

// The 8-byte words that the kernel gets: addresses of the inputs and outputs, scalars (two words each), RANK dimensions
// (two words each: size and magic number, shift), WALKS * RANK strides in elements, the step of row-major numbers within a
// vector, and the count of elements.
struct Args {
  u64 w[WORDS];
};

// How an operand is read: element `e` at offset `e`; at the offset of its slot; the same one for a whole vector, at the
// offset of its slot; one for all.
enum How { LINEAR, WALK, SPREAD, ONE };

template <class D, How H>
struct Input {
  typedef Vec<typename D::S, V> Pack;
  Pack x[H == ONE ? 1 : U];
  INLINE void load_one(u64 address) {
    if (H == ONE) x[0].v[0] = *reinterpret_cast<const typename D::S*>(address);
  }
  INLINE void load(int u, u64 address, u64 offset) {
    const typename D::S* from = reinterpret_cast<const typename D::S*>(address) + offset;
    if (H == SPREAD) x[u].v[0] = *from;
    else if (H != ONE) x[u] = load_vec<typename D::S, V>(from);
  }
  INLINE typename D::R operator()(int u, int k) const {
    return D::load(x[H == ONE ? 0 : u].v[H == ONE || H == SPREAD ? 0 : k]);
  }
};

template <class D>
struct Output {
  Vec<typename D::S, V> x;
  INLINE void put(int k, typename D::R value) { x.v[k] = D::store(value); }
  INLINE void store(u64 address, u64 offset, u64 left) const {
    typename D::S* to = reinterpret_cast<typename D::S*>(address) + offset;
    if (RANK > 0 || left >= V) {
      store_vec<typename D::S, V>(to, x);
    } else {
#pragma unroll
      for (int k = 0; k < V; k++)
        if (k < left) to[k] = x.v[k];
    }
  }
};

INLINE double number(const Args& a, int word) {
  return get(Sc{__longlong_as_double(a.w[word]), reinterpret_cast<const double*>(a.w[word + 1])});
}

// Offsets of vector `i` for each slot. Dimensions stand innermost first. INDEX is u32 where offsets fit into 31 bits: then a
// division is a product with the divisor's magic number.
#if RANK > 0 && WALKS > 0
INLINE void locate(const Args& a, INDEX i, INDEX (&offset)[WALKS]) {
  constexpr int STRIDES = SPACE + 2 * RANK;
#pragma unroll
  for (int n = 0; n < WALKS; n++) offset[n] = 0;
#pragma unroll
  for (int d = 0; d < RANK; d++) {
    INDEX at = i;
    if (d < RANK - 1) {
      INDEX size, quotient;
      if (sizeof(INDEX) == 4) {
        u32 magic = (u32)(a.w[SPACE + 2 * d] >> 32);
        size = (u32)a.w[SPACE + 2 * d];
        quotient = (__umulhi(magic, (u32)i) + (u32)i) >> (u32)a.w[SPACE + 2 * d + 1];
      } else {
        size = (INDEX)a.w[SPACE + 2 * d];
        quotient = i / size;
      }
      at = i - quotient * size;
      i = quotient;
    }
#pragma unroll
    for (int n = 0; n < WALKS; n++) offset[n] += at * (INDEX)a.w[STRIDES + n * RANK + d];
  }
}
#endif

extern "C" __global__ void __launch_bounds__(THREADS) chain(const __grid_constant__ Args a) {
  overlap();
  const u64 count = a.w[WORDS - 1];
  const u64 vectors = (count + V - 1) / V, first = (u64)blockIdx.x * (THREADS * U) + threadIdx.x;

#define SCALAR(s, D, word) const D::R c##s = D::from(number(a, word));
#define CLAMP(s, D, word) const D::R low##s = D::from(number(a, word)), high##s = D::from(number(a, word + 2));
#define KEEP(s, D, word) const Keep<D> k##s(number(a, word), number(a, word + 2), number(a, word + 4));
#define RANDOM(s, D, normal, word) const Source<D, normal> r##s(number(a, word), number(a, word + 2));
#define RANGE(s, D, word) const double first##s = number(a, word), step##s = number(a, word + 2);
  SCALARS
#undef KEEP
#undef RANDOM
#define IN(j, D, how, slot) \
  Input<D, how> i##j;       \
  i##j.load_one(a.w[j]);
  INPUTS
#undef IN

#if RANK > 0 && WALKS > 0
  INDEX offset[U][WALKS];
#define OFFSET(how, slot) (how == LINEAR || how == ONE ? e : (u64)offset[u][slot])
#else
#define OFFSET(how, slot) e
#endif
#pragma unroll
  for (int u = 0; u < U; u++) {
    // No branch: loads of all u are under way before the first value is used. The last vector may reach beyond the end, but an
    // aligned vector does not leave the page that its first element is in, and what it holds too much is not stored.
    const u64 vector = min(first + u * THREADS, vectors - 1);
    [[maybe_unused]] const u64 e = vector * V;
#if RANK > 0 && WALKS > 0
    locate(a, (INDEX)vector, offset[u]);
#endif
#define IN(j, D, how, slot) i##j.load(u, a.w[j], OFFSET(how, slot));
    INPUTS
  }

#pragma unroll
  for (int u = 0; u < U; u++) {
    const u64 vector = first + u * THREADS, e = vector * V;
    if (vector >= vectors) break;
    [[maybe_unused]] const Numbers numbers = LOGICAL < 0 ? Numbers{e, 1} : Numbers{OFFSET(WALK, (LOGICAL < 0 ? 0 : LOGICAL)), a.w[WORDS - 2]};
#undef SCALAR
#undef CLAMP
#undef RANGE
#define SCALAR(s, D, word)
#define CLAMP(s, D, word)
#define RANGE(s, D, word)
#define KEEP(s, D, word) \
  u32 w##s[V];           \
  k##s.draw<NEIGHBOURS>(numbers, w##s);
#define RANDOM(s, D, normal, word) \
  D::R w##s[V];                    \
  r##s.draw<NEIGHBOURS>(numbers, w##s);
    SCALARS
#define OUT(n, D, how, slot, step) Output<D> o##n;
    OUTPUTS
#undef OUT
#pragma unroll
    for (int k = 0; k < V; k++) {
#define STEP(n, ...) const auto s##n = __VA_ARGS__;
      STEPS
#define OUT(n, D, how, slot, step) o##n.put(k, s##step);
      OUTPUTS
#undef OUT
    }
#define OUT(n, D, how, slot, step) o##n.store(a.w[FIRST_OUT + n], OFFSET(how, slot), count - e);
    OUTPUTS
  }
}
