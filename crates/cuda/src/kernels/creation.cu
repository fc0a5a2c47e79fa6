// Values that depend on an element's number and no input: ranges, random numbers and dropout's masks. Element numbers are
// row-major, whatever the order of memory.

// The numbers of a thread's V elements: first, first + step, ..
struct Numbers {
  u64 first, step;
};

// `make(counter, lane)` for each number: SERIES says that the numbers follow each other and V or 4 of them, whichever is less,
// begin at a multiple of that, so that one counter serves up to four elements.
template <bool SERIES, class W, class F>
INLINE void by_counter(u64 offset, Numbers at, W (&out)[V], F make) {
  if (SERIES) {
#pragma unroll
    for (int k = 0; k < V; k += 4) {
      W lanes[4];
      make(offset + (at.first + k) / 4, lanes);
      u32 skip = V < 4 ? (u32)(at.first & 3) : 0;
#pragma unroll
      for (int j = 0; j < 4; j++) {
        // V < 4: the lanes from `skip` on, chosen without an index, which would need memory.
        if (V >= 4) out[(k + j) % V] = lanes[j];
        else if (j >= skip && j - skip < V) out[V == 1 ? 0 : j % V] = lanes[j];
      }
    }
  } else {
#pragma unroll
    for (int k = 0; k < V; k++) {
      u64 number = at.first + k * at.step;
      W lanes[4];
      make(offset + number / 4, lanes);
#pragma unroll
      for (int j = 0; j < 4; j++)
        if ((number & 3) == j) out[k] = lanes[j];
    }
  }
}

// ---- dropout ----------------------------------------------------------------------------------------------------------
template <class D>
struct Keep {
  u64 seed, offset;
  u32 threshold;
  typename D::R scale;
  INLINE Keep(double p, double seed, double offset)
      // uniform >= p for a uniform number of 24 bits, in every dtype.
      : seed(seed_bits(seed)), offset((u64)offset), threshold((u32)::ceil(__dmul_rn(p, 16777216.0))),
        scale(scale_of(p)) {}
  INLINE static typename D::R scale_of(double p) {
    double scale = p < 1 ? __ddiv_rn(1.0, __dsub_rn(1.0, p)) : 0.0;
    return (typename D::R)scale;
  }
  template <bool SERIES>
  INLINE void draw(Numbers at, u32 (&words)[V]) const {
    by_counter<SERIES>(offset, at, words, [this](u64 counter, u32 (&lanes)[4]) {
      Words w = philox(seed, counter, 0);
      for (int j = 0; j < 4; j++) lanes[j] = w.w[j];
    });
  }
  INLINE typename D::R apply(typename D::R x, u32 word) const {
    return word >> 8 >= threshold ? op::mul(x, scale) : (typename D::R)0;
  }
};

// ---- random numbers ---------------------------------------------------------------------------------------------------
// Uniform numbers of as many bits as the significand has: a narrow type rounds none of them up to 1.
template <class D>
constexpr int UNIFORM_BITS = 24;
template <>
constexpr int UNIFORM_BITS<F16> = 11;
template <>
constexpr int UNIFORM_BITS<BF16> = 8;

INLINE double bits53(u32 high, u32 low) {
  return __dmul_rn((double)(((u64)high << 32 | low) >> 11), 1.0 / 9007199254740992.0);
}
template <class D>
INLINE void uniform_lanes(u64 seed, u64 counter, float (&lanes)[4]) {
  constexpr int bits = UNIFORM_BITS<D>;
  Words w = philox(seed, counter, 0);
#pragma unroll
  for (int j = 0; j < 4; j++) lanes[j] = __fmul_rn((float)(int)(w.w[j] >> (32 - bits)), 1.0f / (1 << bits));
}
template <class D>
INLINE void uniform_lanes(u64 seed, u64 counter, double (&lanes)[4]) {
  Words high = philox(seed, counter, 0), low = philox(seed, counter, 1);
#pragma unroll
  for (int j = 0; j < 4; j++) lanes[j] = bits53(high.w[j], low.w[j]);
}
// Box-Muller; lanes (0, 1) and (2, 3) make a pair (r cos, r sin). Half a step up: the logarithm never meets 0.
INLINE void box_muller(float u, float v, float& cosine, float& sine) {
  float r = __fsqrt_rn(__fmul_rn(-2.0f, ::logf(__fadd_rn(u, 0.5f / 4294967296.0f))));
  float angle = __fmul_rn(v, 6.28318530717958647692f);
  float s, c;
  ::sincosf(angle, &s, &c);
  cosine = __fmul_rn(r, c);
  sine = __fmul_rn(r, s);
}
INLINE void box_muller(double u, double v, double& cosine, double& sine) {
  double r = __dsqrt_rn(__dmul_rn(-2.0, op::log(__dadd_rn(u, 0.5 / 9007199254740992.0))));
  double angle = __dmul_rn(v, 6.28318530717958647692);
  cosine = __dmul_rn(r, op::cos(angle));
  sine = __dmul_rn(r, op::sin(angle));
}
template <class D>
INLINE void normal_lanes(u64 seed, u64 counter, float (&lanes)[4]) {
  Words w = philox(seed, counter, 0);
  for (int j = 0; j < 4; j += 2)
    box_muller(__fmul_rn(__uint2float_rn(w.w[j]), 1.0f / 4294967296.0f), __fmul_rn(__uint2float_rn(w.w[j + 1]), 1.0f / 4294967296.0f), lanes[j],
               lanes[j + 1]);
}
template <class D>
INLINE void normal_lanes(u64 seed, u64 counter, double (&lanes)[4]) {
  double u[4];
  uniform_lanes<D>(seed, counter, u);
  for (int j = 0; j < 4; j += 2) box_muller(u[j], u[j + 1], lanes[j], lanes[j + 1]);
}
template <class D, bool NORMAL>
struct Source {
  typedef typename D::R R;
  u64 seed, offset;
  INLINE Source(double seed, double offset) : seed(seed_bits(seed)), offset((u64)offset) {}
  template <bool SERIES>
  INLINE void draw(Numbers at, R (&out)[V]) const {
    by_counter<SERIES>(offset, at, out, [this](u64 counter, R (&lanes)[4]) {
      if (NORMAL) normal_lanes<D>(seed, counter, lanes);
      else uniform_lanes<D>(seed, counter, lanes);
    });
  }
};

// ---- ranges: floats in double precision, integers in int64 ------------------------------------------------------------
template <class D>
INLINE typename D::R arange(double first, double step, u64 number) {
  constexpr bool is_float = (typename D::R)0.5 != 0;
  if (is_float) return D::from(__dadd_rn(first, __dmul_rn((double)number, step)));
  return D::from(op::add(I64::from(first), op::mul(I64::from(step), (i64)number)));
}
