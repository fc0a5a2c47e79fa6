// Cross-entropy from logits, its derivative, and the running mean of a loss.
// Defines: ELEMENT type of the logits and their gradient; RESULT type of the loss, the log-sum-exp and the loss's gradient.
typedef ELEMENT T;
typedef RESULT L;
typedef acc_t<T> A;

enum Reduction { NONE, MEAN, SUM };

// The same bits as `Problem` in loss.rs. Strides in elements.
struct Problem {
  const T* logits;
  const i64* target;
  i64 rows, classes, row, col, target_stride, ignore;
  Sc smoothing;
  int reduction;
  int lanes;    // threads of a warp that share a row, a power of two
  int vectors;  // rows are dense and aligned for 16-byte loads
};
// What a block adds up.
struct Part {
  double loss, valid;
};

INLINE A not_a_number() {
  return Limits<A>::highest() - Limits<A>::highest();
}
INLINE bool is_class(const Problem& p, i64 target) {
  return target >= 0 && target < p.classes;
}

// The reduced loss from every thread's part; a grid of one block needs neither `parts` nor `done`.
INLINE void finish_loss(const Problem& p, double loss, double valid, L* out, Part* parts, u32* done) {
  if (p.reduction == NONE) return;
  loss = block_sum(loss);
  valid = block_sum(valid);
  if (gridDim.x > 1) {
    if (threadIdx.x == 0) parts[blockIdx.x] = Part{loss, valid};
    if (!last_block(done, gridDim.x)) return;
    loss = valid = 0;
    for (u32 b = threadIdx.x; b < gridDim.x; b += blockDim.x) {
      volatile Part* part = parts + b;
      loss += part->loss;
      valid += part->valid;
    }
    loss = block_sum(loss);
    valid = block_sum(valid);
  }
  // 0 / 0 where all are ignored, as in PyTorch.
  if (threadIdx.x == 0) *out = from_acc<L>(p.reduction == MEAN ? loss / valid : loss);
}

// -log p of one row, given its maximum, the logarithm of its sum of exponentials relative to that and the sum of its distances from it.
INLINE A entropy(const Problem& p, A smoothing, i64 target, A logit, A max, A log_sum, A distances) {
  if (target == p.ignore) return 0;
  if (!is_class(p, target)) return not_a_number();
  A hard = log_sum - (logit - max);
  if (smoothing == 0) return hard;
  return (1 - smoothing) * hard + smoothing / p.classes * (p.classes * log_sum - distances);
}

INLINE A larger(A a, A b) {
  return b > a ? b : a;  // NaNs are left out: they come back through the exponentials
}
INLINE A sum_lanes(A v, int lanes) {
  for (int o = lanes >> 1; o; o >>= 1) v += __shfl_xor_sync(FULL_WARP, v, o);
  return v;
}
INLINE A max_lanes(A v, int lanes) {
  for (int o = lanes >> 1; o; o >>= 1) v = larger(v, __shfl_xor_sync(FULL_WARP, v, o));
  return v;
}

// What every row's gradient is divided by. Few targets are counted by each block: cheaper than one more launch.
INLINE double divisor(const Problem& p, const double* count) {
  if (p.reduction != MEAN) return 1;
  if (count) return *count;
  if (p.rows <= blockDim.x) return __syncthreads_count(threadIdx.x < p.rows && p.target[threadIdx.x * p.target_stride] != p.ignore);
  int valid = 0;
  for (i64 i = threadIdx.x; i < p.rows; i += blockDim.x) valid += p.target[i * p.target_stride] != p.ignore;
  return block_sum(valid);
}

// How a row's softmax becomes its gradient: y = e * scale - shift, and less `hard` at the target.
struct Slope {
  A scale, shift, hard;
  INLINE Slope(const Problem& p, A smoothing, i64 target, double grad, double divisor, A sum) {
    A g = (A)(grad / divisor);
    scale = g / sum;
    shift = g * (smoothing / p.classes);
    hard = g * (1 - smoothing);
    if (!is_class(p, target)) scale = not_a_number();
  }
  INLINE A of(A e, bool is_target) const {
    A y = e * scale - shift;
    return is_target ? y - hard : y;
  }
};

// A thread's share of the gradient of a short row.
INLINE void gradient_row(const Problem& p, const T* x, T* y, const Slope& s, int lane, A max, i64 target) {
  bool ignored = target == p.ignore;
#pragma unroll 4
  for (i64 j = lane; j < p.classes; j += p.lanes) y[j] = from_acc<T>(ignored ? (A)0 : s.of(exp(to_acc(x[j * p.col]) - max), j == target));
}

// Short rows: `lanes` threads a row, twice over it (the second time it comes from the cache). With `grad`, in a grid of one block, also
// the gradient of the logits where that of the loss is 1, as cross_entropy_grad computes it.
KERNEL __launch_bounds__(1024) cross_entropy(Problem p, L* loss, L* lse, Part* parts, u32* done, T* grad, Fault* fault) {
  overlap();
  int lane = threadIdx.x & (p.lanes - 1);
  i64 per_block = blockDim.x / p.lanes;
  double total = 0, valid = 0;
  A smoothing = (A)get(p.smoothing);
  // One block knows its divisor at once.
  bool alone = gridDim.x == 1;
  double by = alone ? divisor(p, nullptr) : 1;
  // All threads of a warp stay for its last row, for the shuffles' sake.
  for (i64 first = blockIdx.x * per_block; first < p.rows; first += gridDim.x * per_block) {
    i64 row = first + threadIdx.x / p.lanes, at = row < p.rows ? row : p.rows - 1;
    const T* x = p.logits + at * p.row;
    i64 target = p.target[at * p.target_stride];
    A logit = is_class(p, target) ? (A)to_acc(x[target * p.col]) : (A)0;
    A max = Limits<A>::lowest(), sum = 0, distances = 0;
#pragma unroll 4
    for (i64 j = lane; j < p.classes; j += p.lanes) max = larger(max, to_acc(x[j * p.col]));
    max = max_lanes(max, p.lanes);
#pragma unroll 4
    for (i64 j = lane; j < p.classes; j += p.lanes) {
      A d = to_acc(x[j * p.col]) - max;
      sum += exp(d);
      distances += d;
    }
    sum = sum_lanes(sum, p.lanes);
    if (smoothing != 0) distances = sum_lanes(distances, p.lanes);
    if (grad && row < p.rows) gradient_row(p, x, grad + row * p.classes, Slope(p, smoothing, target, 1, by, sum), lane, max, target);
    if (lane || row >= p.rows) continue;
    if (target != p.ignore && !is_class(p, target)) raise(fault);
    A log_sum = log(sum), v = entropy(p, smoothing, target, logit, max, log_sum, distances);
    lse[row] = from_acc<L>(max + log_sum);
    if (p.reduction == NONE) loss[row] = from_acc<L>(v);
    total += v;
    valid += target != p.ignore;
  }
  if (!alone) {
    finish_loss(p, total, valid, loss, parts, done);
  } else if (p.reduction != NONE) {
    total = block_sum(total);
    if (threadIdx.x == 0) *loss = from_acc<L>(total / by);
  }
}

// Maximum and sum of exponentials of what has been seen, and the plain sum.
struct Online {
  A max, sum, plain;
  template <int N>
  INLINE void take(const A (&v)[N]) {
    A m = max;
#pragma unroll
    for (int i = 0; i < N; i++) m = larger(m, v[i]);
    if (m > max) {
      sum *= exp(max - m);  // exp(-inf) = 0 the first time
      max = m;
    }
#pragma unroll
    for (int i = 0; i < N; i++) {
      // While there is nothing but -inf, its distance from the maximum would be NaN.
      sum += v[i] == Limits<A>::lowest() ? (A)0 : exp(v[i] - max);
      plain += v[i];
    }
  }
};

template <int N>
INLINE void take_row(const Problem& p, const T* x, Online& o) {
  i64 end = p.classes / N * N;
#pragma unroll 2
  for (i64 j = (i64)threadIdx.x * N; j < end; j += (i64)blockDim.x * N) {
    A v[N];
    if (N == 1) {
      v[0] = to_acc(x[j * p.col]);
    } else {
      Vec<T, N> raw = load_vec<T, N>(x + j);
#pragma unroll
      for (int i = 0; i < N; i++) v[i] = to_acc(raw.v[i]);
    }
    o.take(v);
  }
  if (end + threadIdx.x < p.classes) {
    A v[1] = {to_acc(x[(end + threadIdx.x) * p.col])};
    o.take(v);
  }
}

// One block a row: its maximum, sum of exponentials and plain sum, in all threads.
INLINE Online scan_row(const Problem& p, const T* x, bool plain) {
  Online o{Limits<A>::lowest(), 0, 0};
  if (p.vectors) take_row<VEC_OF<T>>(p, x, o);
  else take_row<1>(p, x, o);
  A max = block_reduce(o.max, [](A a, A b) { return larger(a, b); }, Limits<A>::lowest());
  A part = o.max == Limits<A>::lowest() && o.sum == 0 ? (A)0 : o.sum * exp(o.max - max);
  A sum = block_sum(part);
  // A row of -inf alone has no softmax.
  return Online{max, max == Limits<A>::lowest() ? not_a_number() : sum, plain ? block_sum(o.plain) : (A)0};
}

// Long rows: one block a row, once over it.
KERNEL __launch_bounds__(1024) cross_entropy_wide(Problem p, L* loss, L* lse, Part* parts, u32* done, Fault* fault) {
  overlap();
  double total = 0, valid = 0;
  A smoothing = (A)get(p.smoothing);
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const T* x = p.logits + row * p.row;
    i64 target = p.target[row * p.target_stride];
    A logit = is_class(p, target) ? (A)to_acc(x[target * p.col]) : (A)0;
    Online o = scan_row(p, x, smoothing != 0);
    if (threadIdx.x) continue;
    if (target != p.ignore && !is_class(p, target)) raise(fault);
    A log_sum = log(o.sum), v = entropy(p, smoothing, target, logit, o.max, log_sum, o.plain - p.classes * o.max);
    lse[row] = from_acc<L>(o.max + log_sum);
    if (p.reduction == NONE) loss[row] = from_acc<L>(v);
    total += v;
    valid += target != p.ignore;
  }
  finish_loss(p, total, valid, loss, parts, done);
}

// Targets that aren't ignored, in double for the division by them.
KERNEL __launch_bounds__(256) count_targets(Problem p, double* count, double* parts, u32* done) {
  overlap();
  double valid = 0;
  for (i64 i = global_thread(); i < p.rows; i += global_threads()) valid += p.target[i * p.target_stride] != p.ignore;
  valid = block_sum(valid);
  if (gridDim.x > 1) {
    if (threadIdx.x == 0) parts[blockIdx.x] = valid;
    if (!last_block(done, gridDim.x)) return;
    valid = 0;
    for (u32 b = threadIdx.x; b < gridDim.x; b += blockDim.x) valid += ((volatile double*)parts)[b];
    valid = block_sum(valid);
  }
  if (threadIdx.x == 0) *count = valid;
}

// The softmax is made anew from the logits: by the rounded log-sum-exp it would lose digits where logits are large.
KERNEL __launch_bounds__(256) cross_entropy_grad(Problem p, const L* grad, i64 grad_stride, T* out, const double* count) {
  overlap();
  int lane = threadIdx.x & (p.lanes - 1);
  i64 per_block = blockDim.x / p.lanes;
  A smoothing = (A)get(p.smoothing);
  double by = divisor(p, count);
  for (i64 first = blockIdx.x * per_block; first < p.rows; first += gridDim.x * per_block) {
    i64 row = first + threadIdx.x / p.lanes, at = row < p.rows ? row : p.rows - 1;
    const T* x = p.logits + at * p.row;
    i64 target = p.target[at * p.target_stride];
    double g = grad ? to_acc(grad[at * grad_stride]) : 1;
    A max = Limits<A>::lowest(), sum = 0;
#pragma unroll 4
    for (i64 j = lane; j < p.classes; j += p.lanes) max = larger(max, to_acc(x[j * p.col]));
    max = max_lanes(max, p.lanes);
#pragma unroll 4
    for (i64 j = lane; j < p.classes; j += p.lanes) sum += exp(to_acc(x[j * p.col]) - max);
    sum = sum_lanes(sum, p.lanes);
    if (row >= p.rows) continue;
    gradient_row(p, x, out + row * p.classes, Slope(p, smoothing, target, g, by, sum), lane, max, target);
  }
}

template <int N>
INLINE void store_row(const Problem& p, const T* x, T* y, const Slope& s, A max, i64 target) {
  i64 end = p.classes / N * N;
#pragma unroll 2
  for (i64 j = (i64)threadIdx.x * N; j < end; j += (i64)blockDim.x * N) {
    Vec<T, N> v;
    if (N == 1) v.v[0] = x[j * p.col];
    else v = load_vec<T, N>(x + j);
#pragma unroll
    for (int i = 0; i < N; i++) v.v[i] = from_acc<T>(s.of(exp(to_acc(v.v[i]) - max), j + i == target));
    store_vec<T, N>(y + j, v);
  }
  i64 j = end + threadIdx.x;
  if (j < p.classes) y[j] = from_acc<T>(s.of(exp(to_acc(x[j * p.col]) - max), j == target));
}

KERNEL __launch_bounds__(1024) cross_entropy_grad_wide(Problem p, const L* grad, i64 grad_stride, T* out, const double* count) {
  overlap();
  A smoothing = (A)get(p.smoothing);
  double by = divisor(p, count);
  for (i64 row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const T* x = p.logits + row * p.row;
    T* y = out + row * p.classes;
    i64 target = p.target[row * p.target_stride];
    if (target == p.ignore) {
      for (i64 j = threadIdx.x; j < p.classes; j += blockDim.x) y[j] = from_acc<T>((A)0);
      continue;
    }
    double g = grad ? to_acc(grad[row * grad_stride]) : 1;
    Online o = scan_row(p, x, false);
    Slope s(p, smoothing, target, g, by, o.sum);
    if (p.vectors) store_row<VEC_OF<T>>(p, x, y, s, o.max, target);
    else store_row<1>(p, x, y, s, o.max, target);
  }
}

// tracker: sum of loss * weight, sum of weight, whether a loss wasn't finite, the last loss.
KERNEL track_loss(double* tracker, i64 stride, const L* loss, Sc weight) {
  overlap();
  double value = to_acc(*loss), w = get(weight);
  tracker[0] += value * w;
  tracker[stride] += w;
  if (!(fabs(value) < Limits<double>::highest())) tracker[2 * stride] = 1;
  tracker[3 * stride] = value;
}
