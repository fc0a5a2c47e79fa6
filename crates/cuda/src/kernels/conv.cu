// What a convolution needs around cuDNN: operands brought into the layout that it is fast in, and back; the bias.
// Compiled with TYPE, the dtype.
typedef TYPE T;

// ---- any layout to a dense one ----------------------------------------------------------------------------------------
// y is dense in the order of the space.
KERNEL repack(const T* x, T* y, Space<2> s) {
  overlap();
  for (u64 i = global_thread(); i < s.numel; i += global_threads()) {
    u64 at[2];
    s.offsets<u32>((u32)i, at);
    y[i] = x[at[0]];
  }
}

// [batch, m, n] to [batch, n, m], by tiles; the grid is batch * tiles.
constexpr u32 SIDE = 64;
KERNEL __launch_bounds__(256) transpose(const T* x, T* y, u32 m, u32 n) {
  overlap();
  __shared__ T tile[SIDE][SIDE + 1];
  u32 across = (n + SIDE - 1) / SIDE, down = (m + SIDE - 1) / SIDE;
  u32 column = blockIdx.x % across, row = blockIdx.x / across % down, batch = blockIdx.x / across / down;
  x += (u64)batch * m * n;
  y += (u64)batch * m * n;
  u32 lane = threadIdx.x % SIDE, first = threadIdx.x / SIDE, step = 256 / SIDE;
  u32 from = column * SIDE + lane;
#pragma unroll 4
  for (u32 j = first; j < SIDE; j += step) {
    u32 r = row * SIDE + j;
    if (r < m && from < n) tile[j][lane] = x[(u64)r * n + from];
  }
  __syncthreads();
  u32 to = row * SIDE + lane;
#pragma unroll 4
  for (u32 j = first; j < SIDE; j += step) {
    u32 r = column * SIDE + j;
    if (r < n && to < m) y[(u64)r * m + to] = tile[lane][j];
  }
}

// ---- images of few channels -------------------------------------------------------------------------------------------
// Tensor cores take channels by eights. Few channels are padded with zeros; with `fold` 2, blocks of 2 x 2 pixels become
// channels (dy, dx, c), which turns a convolution of stride 2 into one of stride 1 with half the kernel.
struct Pixels {
  u32 images, channels, height, width;  // of the source
  u64 strides[4];
  u32 out_height, out_width, padded;  // of the result [images, out_height, out_width, padded]
  u32 before_y, before_x;             // rows and columns of the result before the source begins
};
template <int C, int FOLD>
INLINE void pixels(const T* x, T* y, const Pixels& s) {
  constexpr int PADDED = (C * FOLD * FOLD + 7) / 8 * 8;
  u32 total = s.images * s.out_height * s.out_width;
  for (u32 i = global_thread(); i < total; i += global_threads()) {
    u32 column = i % s.out_width, rest = i / s.out_width, row = rest % s.out_height, image = rest / s.out_height;
    Vec<T, 8> out[PADDED / 8];
#pragma unroll
    for (int q = 0; q < PADDED; q++) {
      out[q / 8].v[q % 8] = T{};
      if (q >= C * FOLD * FOLD) continue;
      // A place before the source wraps to a large number.
      u32 h = (row - s.before_y) * FOLD + q / C / FOLD, w = (column - s.before_x) * FOLD + q / C % FOLD;
      if (h < s.height && w < s.width)
        out[q / 8].v[q % 8] = x[image * s.strides[0] + (q % C) * s.strides[1] + h * s.strides[2] + w * s.strides[3]];
    }
#pragma unroll
    for (int j = 0; j < PADDED / 8; j++) store_vec<T, 8>(y + (u64)i * PADDED + j * 8, out[j]);
  }
}
KERNEL __launch_bounds__(256) pad_pixels(const T* x, T* y, Pixels s) {
  overlap();
  switch (s.channels) {
    case 1: return pixels<1, 1>(x, y, s);
    case 2: return pixels<2, 1>(x, y, s);
    case 3: return pixels<3, 1>(x, y, s);
    case 4: return pixels<4, 1>(x, y, s);
    case 5: return pixels<5, 1>(x, y, s);
    case 6: return pixels<6, 1>(x, y, s);
    case 7: return pixels<7, 1>(x, y, s);
  }
}
KERNEL __launch_bounds__(256) fold_pixels(const T* x, T* y, Pixels s) {
  overlap();
  switch (s.channels) {
    case 1: return pixels<1, 2>(x, y, s);
    case 2: return pixels<2, 2>(x, y, s);
    case 3: return pixels<3, 2>(x, y, s);
    case 4: return pixels<4, 2>(x, y, s);
  }
}

// The weight that belongs to such an image, and back from its gradient. Row r of the kernel is row 2 a + dy - shift_y of
// the folded one's row a.
struct Filter {
  u32 outputs, channels, height, width;  // of the weight
  u64 strides[4];
  u32 inner_height, inner_width, padded;  // of [outputs, inner_height, inner_width, padded]
  u32 fold, shift_y, shift_x;
};
KERNEL filter_in(const T* weight, T* inner, Filter s) {
  overlap();
  u32 total = s.outputs * s.inner_height * s.inner_width * s.padded;
  for (u32 i = global_thread(); i < total; i += global_threads()) {
    u32 q = i % s.padded, rest = i / s.padded, b = rest % s.inner_width;
    rest /= s.inner_width;
    u32 a = rest % s.inner_height, o = rest / s.inner_height;
    u32 c = q % s.channels, pixel = q / s.channels;
    u32 h = a * s.fold + pixel / s.fold - s.shift_y, w = b * s.fold + pixel % s.fold - s.shift_x;
    bool some = pixel < s.fold * s.fold && h < s.height && w < s.width;
    inner[i] = some ? weight[o * s.strides[0] + c * s.strides[1] + h * s.strides[2] + w * s.strides[3]] : T{};
  }
}
KERNEL filter_out(const T* inner, T* weight, Filter s) {
  overlap();
  u32 total = s.outputs * s.height * s.width * s.channels;
  for (u32 i = global_thread(); i < total; i += global_threads()) {
    u32 c = i % s.channels, rest = i / s.channels, w = rest % s.width;
    rest /= s.width;
    u32 h = rest % s.height, o = rest / s.height;
    u32 a = (h + s.shift_y) / s.fold, dy = (h + s.shift_y) % s.fold, b = (w + s.shift_x) / s.fold, dx = (w + s.shift_x) % s.fold;
    u64 from = ((u64)(o * s.inner_height + a) * s.inner_width + b) * s.padded + (dy * s.fold + dx) * s.channels + c;
    weight[o * s.strides[0] + c * s.strides[1] + h * s.strides[2] + w * s.strides[3]] = inner[from];
  }
}

// ---- bias -------------------------------------------------------------------------------------------------------------
// Channels lie `inner` apart: 1 in channels-last, a plane's size in row-major order. N values at a time are N channels, or of one.
template <int N>
INLINE void add_bias(T* y, const T* bias, u64 numel, u32 channels, u32 inner) {
  for (u64 i = global_thread() * N; i < numel; i += global_threads() * N) {
    Vec<T, N> v = load_vec<T, N>(y + i);
    u32 channel = inner == 1 ? (u32)(i % channels) : (u32)(i / inner % channels);
#pragma unroll
    for (int k = 0; k < N; k++) v.v[k] = from_acc<T>(to_acc(v.v[k]) + to_acc(bias[inner == 1 ? channel + k : channel]));
    store_vec<T, N>(y + i, v);
  }
}
KERNEL __launch_bounds__(256) bias(T* y, const T* b, u64 numel, u32 channels, u32 inner) {
  overlap();
  add_bias<VEC_OF<T>>(y, b, numel, channels, inner);
}
KERNEL __launch_bounds__(256) bias_one(T* y, const T* b, u64 numel, u32 channels, u32 inner) {
  overlap();
  add_bias<1>(y, b, numel, channels, inner);
}
