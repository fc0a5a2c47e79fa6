// Running sums along one dimension. TYPE: an element. Sums are float for 16-bit floats and int64, which wraps, for integers.
typedef wide_t<TYPE> Sum;
constexpr int ITEMS = 4;

// A block a line, in tiles of blockDim.x * ITEMS elements; `step`: elements between neighbours of a line. No sum is ever taken back
// from another: an infinity must not spoil what comes before it.
extern "C" __global__ void __launch_bounds__(1024) scan_lines(const TYPE* x, TYPE* y, Space<2> lines, u64 length, u64 x_step, u64 y_step) {
  overlap();
  __shared__ Sum part[32];
  u64 at[2];
  lines.offsets((u64)blockIdx.x, at);
  x += at[0];
  y += at[1];
  u32 lane = threadIdx.x & 31, warp = threadIdx.x >> 5, warps = blockDim.x >> 5;
  Sum carry = 0;
  for (u64 tile = 0; tile < length; tile += (u64)blockDim.x * ITEMS) {
    u64 first = tile + (u64)threadIdx.x * ITEMS;
    Sum sum[ITEMS];
#pragma unroll
    for (int i = 0; i < ITEMS; i++) sum[i] = first + i < length ? (Sum)to_acc(x[(first + i) * x_step]) : (Sum)0;
#pragma unroll
    for (int i = 1; i < ITEMS; i++) sum[i] += sum[i - 1];
    // What the threads before this one have: of the warp, then of the warps before it, then of the tiles.
    Sum total = sum[ITEMS - 1];
#pragma unroll
    for (int o = 1; o < 32; o *= 2) {
      Sum other = __shfl_up_sync(FULL_WARP, total, o);
      if (lane >= o) total += other;
    }
    if (lane == 31) part[warp] = total;
    Sum before = __shfl_up_sync(FULL_WARP, total, 1);
    if (lane == 0) before = 0;
    __syncthreads();
    Sum outside = carry;
    for (u32 w = 0; w < warps; w++) {
      if (w == warp) before += outside;
      outside += part[w];
    }
    carry = outside;
#pragma unroll
    for (int i = 0; i < ITEMS; i++) {
      if (first + i < length) y[(first + i) * y_step] = from_acc<TYPE>(before + sum[i]);
    }
    __syncthreads();
  }
}

// A thread a line, neighbouring lines side by side.
extern "C" __global__ void __launch_bounds__(256) scan_columns(const TYPE* x, TYPE* y, Space<2> lines, u64 length, u64 x_step, u64 y_step) {
  overlap();
  u64 line = global_thread(), at[2];
  if (line >= lines.numel) return;
  lines.offsets(line, at);
  x += at[0];
  y += at[1];
  Sum sum = 0;
  u64 i = 0;
  constexpr int DEEP = 8;
  for (; i + DEEP <= length; i += DEEP) {
    TYPE v[DEEP];
#pragma unroll
    for (int u = 0; u < DEEP; u++) v[u] = x[(i + u) * x_step];
#pragma unroll
    for (int u = 0; u < DEEP; u++) {
      sum += (Sum)to_acc(v[u]);
      y[(i + u) * y_step] = from_acc<TYPE>(sum);
    }
  }
  for (; i < length; i++) {
    sum += (Sum)to_acc(x[i * x_step]);
    y[i * y_step] = from_acc<TYPE>(sum);
  }
}
