// What a pointwise op computes of one element, with PyTorch's rules for NaN, signs and overflow: the same functions as
// crates/core/src/cpu/pointwise/{lanes,unary,select,cast}.rs. chain.cu runs them, one by one or as a fused chain.
//
// Sums, products, quotients and roots are rounded apart by intrinsics (a contraction to fma would depend on what stands next
// to them), and a 16-bit float is computed in float and rounded once per op: so fusion does not change a bit.

// ---- dtypes: S as stored, R as held in a register; a register of a 16-bit float holds a value that the type has -------
struct Bool {
  typedef u8 S;
  typedef u8 R;
  INLINE static R load(S v) { return v; }
  INLINE static S store(R v) { return v; }
  template <class A>
  INLINE static R from(A v) { return v != (A)0; }
  INLINE static R round(R v) { return v; }
};
// Rust's `as`: floats saturate and drop the fraction, NaN gives 0; integers wrap.
struct U8 {
  typedef u8 S;
  typedef u8 R;
  INLINE static R load(S v) { return v; }
  INLINE static S store(R v) { return v; }
  INLINE static R from(double v) { return (R)min(max(__double2int_rz(v), 0), 255) * (v == v); }
  INLINE static R from(float v) { return (R)min(max(__float2int_rz(v), 0), 255) * (v == v); }
  INLINE static R from(i64 v) { return (R)v; }
  INLINE static R from(int v) { return (R)v; }
  INLINE static R from(u8 v) { return v; }
  INLINE static R round(R v) { return v; }
};
struct I32 {
  typedef int S;
  typedef int R;
  INLINE static R load(S v) { return v; }
  INLINE static S store(R v) { return v; }
  INLINE static R from(double v) { return v == v ? __double2int_rz(v) : 0; }
  INLINE static R from(float v) { return v == v ? __float2int_rz(v) : 0; }
  INLINE static R from(i64 v) { return (int)v; }
  INLINE static R from(int v) { return v; }
  INLINE static R from(u8 v) { return v; }
  INLINE static R round(R v) { return v; }
};
struct I64 {
  typedef i64 S;
  typedef i64 R;
  INLINE static R load(S v) { return v; }
  INLINE static S store(R v) { return v; }
  INLINE static R from(double v) { return v == v ? __double2ll_rz(v) : 0; }
  INLINE static R from(float v) { return v == v ? __float2ll_rz(v) : 0; }
  INLINE static R from(i64 v) { return v; }
  INLINE static R from(int v) { return v; }
  INLINE static R from(u8 v) { return v; }
  INLINE static R round(R v) { return v; }
};
// A number as float; what CPU casts do on the way to the 16-bit floats too.
INLINE float as_float(double v) { return __double2float_rn(v); }
INLINE float as_float(float v) { return v; }
INLINE float as_float(i64 v) { return __ll2float_rn(v); }
INLINE float as_float(int v) { return __int2float_rn(v); }
INLINE float as_float(u8 v) { return (float)v; }
struct F16 {
  typedef half_t S;
  typedef float R;
  INLINE static R load(S v) { return half_to_float(v); }
  INLINE static S store(R v) { return float_to_half(v); }
  INLINE static R round(R v) { return half_to_float(float_to_half(v)); }
  template <class A>
  INLINE static R from(A v) { return round(as_float(v)); }
};
struct BF16 {
  typedef bf16_t S;
  typedef float R;
  INLINE static R load(S v) { return bf16_to_float(v); }
  INLINE static S store(R v) { return float_to_bf16(v); }
  INLINE static R round(R v) { return bf16_to_float(float_to_bf16(v)); }
  template <class A>
  INLINE static R from(A v) { return round(as_float(v)); }
};
struct F32 {
  typedef float S;
  typedef float R;
  INLINE static R load(S v) { return v; }
  INLINE static S store(R v) { return v; }
  INLINE static R round(R v) { return v; }
  template <class A>
  INLINE static R from(A v) { return as_float(v); }
};
struct F64 {
  typedef double S;
  typedef double R;
  INLINE static R load(S v) { return v; }
  INLINE static S store(R v) { return v; }
  INLINE static R round(R v) { return v; }
  INLINE static R from(i64 v) { return __ll2double_rn(v); }
  INLINE static R from(double v) { return v; }
  INLINE static R from(float v) { return v; }
  INLINE static R from(int v) { return v; }
  INLINE static R from(u8 v) { return v; }
};
// 16 bits that are moved and not looked at; U8, I32 and I64 do for the other sizes.
struct B16 {
  typedef u16 S;
  typedef u16 R;
  INLINE static R load(S v) { return v; }
  INLINE static S store(R v) { return v; }
  INLINE static R round(R v) { return v; }
  INLINE static R from(u16 v) { return v; }
};

// ---- functions, under the names of `Op::name` -------------------------------------------------------------------------
namespace op {
INLINE float add(float a, float b) { return __fadd_rn(a, b); }
INLINE float sub(float a, float b) { return __fsub_rn(a, b); }
INLINE float mul(float a, float b) { return __fmul_rn(a, b); }
INLINE float div(float a, float b) { return __fdiv_rn(a, b); }
INLINE float sqrt(float x) { return __fsqrt_rn(x); }
INLINE double add(double a, double b) { return __dadd_rn(a, b); }
INLINE double sub(double a, double b) { return __dsub_rn(a, b); }
INLINE double mul(double a, double b) { return __dmul_rn(a, b); }
INLINE double div(double a, double b) { return __ddiv_rn(a, b); }
INLINE double sqrt(double x) { return __dsqrt_rn(x); }
// Integers wrap.
INLINE u8 add(u8 a, u8 b) { return (u8)(a + b); }
INLINE u8 sub(u8 a, u8 b) { return (u8)(a - b); }
INLINE u8 mul(u8 a, u8 b) { return (u8)(a * b); }
INLINE int add(int a, int b) { return (int)((u32)a + (u32)b); }
INLINE int sub(int a, int b) { return (int)((u32)a - (u32)b); }
INLINE int mul(int a, int b) { return (int)((u32)a * (u32)b); }
INLINE i64 add(i64 a, i64 b) { return (i64)((u64)a + (u64)b); }
INLINE i64 sub(i64 a, i64 b) { return (i64)((u64)a - (u64)b); }
INLINE i64 mul(i64 a, i64 b) { return (i64)((u64)a * (u64)b); }

// NaN wins.
template <class T>
INLINE T minimum(T a, T b) { return a < b || a != a ? a : b; }
template <class T>
INLINE T maximum(T a, T b) { return a > b || a != a ? a : b; }
template <class T>
INLINE T clamp(T x, T low, T high) { return minimum(maximum(x, low), high); }
template <class T>
INLINE T relu(T x) { return x <= (T)0 ? (T)0 : x; }
template <class T>
INLINE T reluGrad(T grad, T result) { return result > (T)0 ? grad : (T)0; }
template <class T>
INLINE u8 eq(T a, T b) { return a == b; }
template <class T>
INLINE u8 ne(T a, T b) { return a != b; }
template <class T>
INLINE u8 lt(T a, T b) { return a < b; }
template <class T>
INLINE u8 le(T a, T b) { return a <= b; }
template <class T>
INLINE u8 gt(T a, T b) { return a > b; }
template <class T>
INLINE u8 ge(T a, T b) { return a >= b; }
template <class T>
INLINE bool truth(T x) { return x != (T)0; }
template <class T>
INLINE u8 logicalAnd(T a, T b) { return truth(a) & truth(b); }
template <class T>
INLINE u8 logicalOr(T a, T b) { return truth(a) | truth(b); }
template <class T>
INLINE u8 logicalXor(T a, T b) { return truth(a) ^ truth(b); }
template <class T>
INLINE u8 logicalNot(T x) { return !truth(x); }
template <class T>
INLINE T choose(u8 condition, T a, T b) { return condition ? a : b; }

// The result has the divisor's sign. fmod is exact; the sum is one rounding.
__device__ __noinline__ float remainder(float a, float b) {
  float r = ::fmodf(a, b);
  return r != 0 && (r < 0) != (b < 0) ? add(r, b) : r;
}
__device__ __noinline__ double remainder(double a, double b) {
  double r = ::fmod(a, b);
  return r != 0 && (r < 0) != (b < 0) ? add(r, b) : r;
}
// By zero it is 0: a kernel cannot fail.
template <class T>
INLINE T remainder(T a, T b) {
  if (b == (T)0 || b == (T)-1) return (T)0;
  T r = (T)(a % b);
  return r != 0 && (r < 0) != (b < 0) ? add(r, b) : r;
}
INLINE u8 remainder(u8 a, u8 b) { return b ? (u8)(a % b) : (u8)0; }

// The exponents that have a formula, then the general case.
template <class T>
INLINE bool special_power(T x, T y, T& z) {
  if (y == (T)2) z = mul(x, x);
  else if (y == (T)1) z = x;
  else if (y == (T)3) z = mul(mul(x, x), x);
  else if (y == (T)0.5) z = sqrt(x);
  else if (y == (T)-1) z = div((T)1, x);
  else if (y == (T)-0.5) z = div((T)1, sqrt(x));
  else if (y == (T)-2) z = div((T)1, mul(x, x));
  else return false;
  return true;
}
__device__ __noinline__ float general_power(float x, float y) { return ::powf(x, y); }
__device__ __noinline__ double general_power(double x, double y) { return ::pow(x, y); }
INLINE float pow(float x, float y) {
  float z;
  return special_power(x, y, z) ? z : general_power(x, y);
}
INLINE double pow(double x, double y) {
  double z;
  return special_power(x, y, z) ? z : general_power(x, y);
}
// A negative power is 0, but of 1 and -1.
template <class T>
INLINE T pow(T x, T y) {
  if (y < (T)0) return x == (T)1 ? x : x == (T)-1 ? (y & 1 ? x : (T)1) : (T)0;
  T product = 1;
  for (; y > (T)0; y >>= 1) {
    if (y & 1) product = mul(product, x);
    x = mul(x, x);
  }
  return product;
}

INLINE float neg(float x) { return -x; }
INLINE double neg(double x) { return -x; }
template <class T>
INLINE T neg(T x) { return sub((T)0, x); }
INLINE float abs(float x) { return ::fabsf(x); }
INLINE double abs(double x) { return ::fabs(x); }
INLINE u8 abs(u8 x) { return x; }
template <class T>
INLINE T abs(T x) { return x < 0 ? sub((T)0, x) : x; }
template <class T>
INLINE T sign(T x) { return (T)((int)(x > (T)0) - (int)(x < (T)0)); }
INLINE float floor(float x) { return ::floorf(x); }
INLINE double floor(double x) { return ::floor(x); }
template <class T>
INLINE T floor(T x) { return x; }
INLINE float ceil(float x) { return ::ceilf(x); }
INLINE double ceil(double x) { return ::ceil(x); }
template <class T>
INLINE T ceil(T x) { return x; }
// Ties to even.
INLINE float round(float x) { return ::rintf(x); }
INLINE double round(double x) { return ::rint(x); }
template <class T>
INLINE T round(T x) { return x; }
template <class T>
INLINE T reciprocal(T x) { return div((T)1, x); }
template <class T>
INLINE T rsqrt(T x) { return div((T)1, sqrt(x)); }
INLINE u8 isnan(float x) { return x != x; }
INLINE u8 isnan(double x) { return x != x; }
template <class T>
INLINE u8 isnan(T) { return 0; }
INLINE u8 isinf(float x) { return ::fabsf(x) == Limits<float>::highest(); }
INLINE u8 isinf(double x) { return ::fabs(x) == Limits<double>::highest(); }
template <class T>
INLINE u8 isinf(T) { return 0; }
INLINE u8 isfinite(float x) { return ::fabsf(x) < Limits<float>::highest(); }
INLINE u8 isfinite(double x) { return ::fabs(x) < Limits<double>::highest(); }
template <class T>
INLINE u8 isfinite(T) { return 1; }

// NOINLINE where the code is long: it stands in the kernel once and not for each element of a vector.
#define NOINLINE __device__ __noinline__
INLINE float exp(float x) { return ::expf(x); }
INLINE float log(float x) { return ::logf(x); }
INLINE float log1p(float x) { return ::log1pf(x); }
INLINE float expm1(float x) { return ::expm1f(x); }
INLINE float tanh(float x) { return ::tanhf(x); }
INLINE float erf(float x) { return ::erff(x); }
INLINE float sigmoid(float x) { return div(1.0f, add(1.0f, ::expf(-x))); }
NOINLINE float sin(float x) { return ::sinf(x); }
NOINLINE float cos(float x) { return ::cosf(x); }
NOINLINE double exp(double x) { return ::exp(x); }
NOINLINE double log(double x) { return ::log(x); }
NOINLINE double log1p(double x) { return ::log1p(x); }
NOINLINE double expm1(double x) { return ::expm1(x); }
NOINLINE double tanh(double x) { return ::tanh(x); }
NOINLINE double erf(double x) { return ::erf(x); }
INLINE double sigmoid(double x) { return div(1.0, add(1.0, exp(-x))); }
NOINLINE double sin(double x) { return ::sin(x); }
NOINLINE double cos(double x) { return ::cos(x); }
}  // namespace op
