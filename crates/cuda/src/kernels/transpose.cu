// Copies in which the source is contiguous along `rows` and the target along `cols`: tiles go through shared memory, so that
// both sides are read and written in whole sectors. FROM, TO: dtypes. P elements of a narrow dtype that is not converted move
// as one word of 4 bytes; P is 1 for the rest.
struct Plane {
  const FROM::S* src;
  TO::S* dst;
  // Lengths; the stride of a column in the source and of a row in the target; the number of tiles along each.
  u64 rows, cols, src_stride, dst_stride;
  u32 row_tiles, col_tiles;
  // The other dimensions, innermost first.
  u32 rank, unused;
  u64 sizes[6], src_strides[6], dst_strides[6];
};
constexpr int SIDE = 32 * P;
constexpr int WARPS = 8;

extern "C" __global__ void __launch_bounds__(32 * WARPS) transpose(const __grid_constant__ Plane plane) {
  overlap();
  const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5;
  u32 block = blockIdx.x;
  const u64 r0 = (u64)(block % plane.row_tiles) * SIDE;
  block /= plane.row_tiles;
  const u64 c0 = (u64)(block % plane.col_tiles) * SIDE;
  u64 outer = block / plane.col_tiles;
  const FROM::S* src = plane.src;
  TO::S* dst = plane.dst;
  for (int d = 0; d < (int)plane.rank; d++) {
    u64 at = outer;
    // The last dimension takes what is left.
    if (d + 1 < (int)plane.rank) {
      outer /= plane.sizes[d];
      at -= outer * plane.sizes[d];
    }
    src += at * plane.src_strides[d];
    dst += at * plane.dst_strides[d];
  }
#if P == 1
  // A column more keeps the lanes of a warp in different banks when they read along the other side.
  __shared__ TO::S tile[SIDE][SIDE + 1];
#pragma unroll
  for (int j = 0; j < SIDE; j += WARPS) {
    const u64 r = r0 + lane, c = c0 + warp + j;
    if (r < plane.rows && c < plane.cols) tile[warp + j][lane] = TO::store(TO::from(FROM::load(src[c * plane.src_stride + r])));
  }
  __syncthreads();
#pragma unroll
  for (int j = 0; j < SIDE; j += WARPS) {
    const u64 r = r0 + warp + j, c = c0 + lane;
    if (r < plane.rows && c < plane.cols) dst[r * plane.dst_stride + c] = tile[lane][warp + j];
  }
#else
  __shared__ u32 tile[SIDE][33];
#pragma unroll
  for (int j = 0; j < SIDE; j += WARPS) {
    const u64 r = r0 + lane * P, c = c0 + warp + j;
    if (r < plane.rows && c < plane.cols) tile[warp + j][lane] = *reinterpret_cast<const u32*>(src + c * plane.src_stride + r);
  }
  __syncthreads();
  // A lane turns blocks of P x P elements. Lanes of one warp take GROUP blocks along the columns and P along the rows: with the
  // odd pitch of the tile their words lie in different banks.
  constexpr int GROUP = 32 / P;
#pragma unroll
  for (int it = 0; it < 32; it += WARPS) {
    const int turn = it + warp, i = turn % P * GROUP + lane % GROUP, q = turn / P * P + lane / GROUP;
    const u64 r = r0 + q * P, c = c0 + i * P;
    if (r >= plane.rows || c >= plane.cols) continue;
    u32 word[P];
#pragma unroll
    for (int j = 0; j < P; j++) word[j] = tile[P * i + j][q];
#pragma unroll
    for (int k = 0; k < P; k++) {
      u32 out = 0;
#pragma unroll
      for (int j = 0; j < P; j++) out |= (word[j] >> (k * (32 / P)) & (0xffffffffu >> (32 - 32 / P))) << (j * (32 / P));
      *reinterpret_cast<u32*>(dst + (r + k) * plane.dst_stride + c) = out;
    }
  }
#endif
}
