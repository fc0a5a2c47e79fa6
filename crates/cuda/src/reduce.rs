//! Reductions over any set of dimensions: a few threads, a block or several blocks a row where the elements of a result are
//! neighbours; threads across the results where those are. Pieces of a result are joined by a second launch, in order.
use crate::geometry::Space;
use crate::gpu::{Gpu, Source, args, type_name};
use wick_core::cpu::Arg;
use wick_core::dtype::DType;
use wick_core::error::{Error, Result};
use wick_core::op::{Dims, Op, ReduceKind};
use wick_core::shape::MAX_RANK;

static SOURCE: Source = Source { name: "reduce", text: include_str!("kernels/reduce.cu") };
/// Threads of a block of every kernel but `join_pieces`.
const THREADS: u64 = 256;
/// Most pieces that a result is cut into.
const PIECES: u64 = 1024;

/// Runs `Op::Reduce`.
///
/// # Safety
/// Device addresses are valid for their layouts.
pub unsafe fn run(gpu: &Gpu, op: &Op, _params: &[f64], ins: &[Arg], outs: &[Arg]) -> Result<()> {
    match *op {
        Op::Reduce { kind, dims, keepdim } => reduce(gpu, kind, dims, keepdim, &ins[0], &outs[0]),
        _ => Err(Error::internal("is not a reduction")),
    }
    .map_err(|e| e.in_op(op.name()))
}

/// Blocks of `each` for `count` pieces of work.
pub(crate) fn blocks(count: u64, each: u64) -> Result<u32> {
    let blocks = count.div_ceil(each);
    if blocks > i32::MAX as u64 { Err(Error::not_supported(format!("{count} results are too many for one launch"))) } else { Ok(blocks as u32) }
}

/// The C++ type of elements whose truth and size are all that counts: bools are numbers.
pub(crate) fn number_name(dtype: DType) -> &'static str {
    match dtype {
        DType::Bool | DType::U8 => "u8",
        DType::I64 => "i64",
        other => type_name(other),
    }
}

fn reduce(gpu: &Gpu, kind: ReduceKind, dims: Dims, keepdim: bool, x: &Arg, out: &Arg) -> Result<()> {
    use ReduceKind::*;
    if out.numel() == 0 {
        return Ok(());
    }
    if x.numel() == 0 && matches!(kind, Amax | Amin | Argmax | Argmin) {
        return Err(Error::shape(format!("has no result for the empty dimensions of {:?}", x.layout.shape)));
    }
    let problem = Problem::new(gpu, kind, dims, keepdim, x, out)?;
    if problem.by_rows() { problem.rows() } else { problem.columns() }
}

/// Threads across the columns of a block at least, where there are as many.
const NARROW: u64 = 8;
/// Rows that a thread takes before its columns are cut into pieces.
const ROWS: u64 = 16;

/// Sums that one launch takes, `MANY` in the source.
const MANY: usize = 8;

/// Runs sums, `(op, x, result)`, that don't touch one another's results: those over short columns together.
pub fn sums(gpu: &Gpu, list: &[(Op, Arg, Arg)]) -> Result<()> {
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Columns {
        x: u64,
        out: u64,
        kept: Space<2>,
        reduced: Space<1>,
        across: u32,
        down: u32,
    }
    #[repr(C)]
    struct Many {
        count: u32,
        first: [u32; MANY + 1],
        each: [Columns; MANY],
    }
    // what the same launch can serve, with the blocks that each takes
    struct Group {
        defines: String,
        wide: bool,
        each: Vec<(Columns, u32)>,
    }
    let mut groups: Vec<Group> = vec![];
    for (op, x, out) in list {
        let Op::Reduce { kind, dims, keepdim } = op else { return Err(Error::internal("is not a reduction")) };
        let problem = if x.numel() > 0 && out.numel() > 0 { Some(Problem::new(gpu, *kind, *dims, *keepdim, x, out)?) } else { None };
        let Some((p, plan)) =
            problem.filter(|p| !p.by_rows()).and_then(|p| p.column_plan().ok().map(|plan| (p, plan))).filter(|(_, c)| c.pieces <= 1)
        else {
            reduce(gpu, *kind, *dims, *keepdim, x, out)?;
            continue;
        };
        let one = Columns { x: p.x, out: p.out, kept: p.kept, reduced: p.reduced, across: plan.across, down: plan.down };
        match groups.iter_mut().find(|g| (&g.defines, g.wide) == (&p.defines, plan.wide)) {
            Some(g) => g.each.push((one, plan.grid)),
            None => groups.push(Group { defines: p.defines, wide: plan.wide, each: vec![(one, plan.grid)] }),
        }
    }
    for Group { defines, wide, each } in &groups {
        let f = gpu.kernel(&SOURCE, defines, if *wide { "many_columns_wide" } else { "many_columns_one" })?;
        for part in each.chunks(MANY) {
            let mut all = Many { count: part.len() as u32, first: [0; MANY + 1], each: [part[0].0; MANY] };
            for (i, (one, grid)) in part.iter().enumerate() {
                (all.each[i], all.first[i + 1]) = (*one, all.first[i] + grid);
            }
            gpu.launch(f, (all.first[part.len()], 1, 1), (THREADS as u32, 1, 1), 0, args![all])?;
        }
    }
    Ok(())
}

/// The result is where an element is, not what it is.
fn is_place(kind: ReduceKind) -> bool {
    matches!(kind, ReduceKind::Argmax | ReduceKind::Argmin)
}

fn result(kind: ReduceKind, x: DType) -> Result<DType> {
    use ReduceKind::*;
    match kind {
        Mean if !x.is_float() => Err(Error::dtype(format!("needs floats, not {}", x.name()))),
        Sum | Prod if !x.is_float() => Ok(DType::I64),
        Argmax | Argmin => Ok(DType::I64),
        Any | All => Ok(DType::Bool),
        _ => Ok(x),
    }
}

fn defines(kind: ReduceKind, x: DType, result: DType) -> String {
    use ReduceKind::*;
    let name = match kind {
        Sum => "SUM",
        Mean => "MEAN",
        Prod => "PROD",
        Amax => "AMAX",
        Amin => "AMIN",
        Argmax => "ARGMAX",
        Argmin => "ARGMIN",
        Any => "ANY",
        All => "ALL",
    };
    format!("TYPE={} RESULT={} KIND={name}", number_name(x), number_name(result))
}

/// Kept dimensions with their strides in input and result, and reduced ones, those of size 1 left out, neighbours merged. They are in the
/// order in which the input lies in memory, but that `logical` keeps the reduced ones in their own, for the numbers of elements.
fn split(x: &Arg, out: &Arg, dims: Dims, keepdim: bool, logical: bool) -> (Space<2>, Space<1>) {
    let (shape, strides) = (x.layout.shape, x.layout.strides());
    let mut next = 0;
    let mut list = [(0, [0u64; 2], false, 0); MAX_RANK];
    let mut count = 0;
    for d in 0..shape.rank() {
        let reduced = dims.has(d);
        let output = if reduced { 0 } else { out.layout.strides()[next] as u64 };
        next += (!reduced || keepdim) as usize;
        if shape[d] != 1 {
            list[count] = (shape[d] as u64, [strides[d] as u64, output], reduced, d);
            count += 1;
        }
    }
    // A repeated dimension is outermost: it is no run in memory.
    let fixed = |reduced: bool| logical && reduced;
    list[..count].sort_by_key(|(_, s, reduced, d)| {
        let stride = if s[0] == 0 { u64::MAX } else { s[0] };
        if fixed(*reduced) { (true, *d as u64) } else { (false, u64::MAX - stride) }
    });
    let mut kept = Space { rank: 0, numel: 1, sizes: [0; MAX_RANK], strides: [[0; MAX_RANK]; 2] };
    let mut rest = Space { rank: 0, numel: 1, sizes: [0; MAX_RANK], strides: [[0; MAX_RANK]; 1] };
    for (size, s, reduced, _) in &list[..count] {
        if *reduced { push(&mut rest, *size, &[s[0]]) } else { push(&mut kept, *size, s) }
    }
    (kept, rest)
}

/// Appends an innermost dimension, merged with the last one if they are one run for every operand.
fn push<const N: usize>(space: &mut Space<N>, size: u64, strides: &[u64; N]) {
    let rank = space.rank as usize;
    let joined = rank > 0 && (0..N).all(|k| space.strides[k][rank - 1] == strides[k] * size);
    let at = if joined { rank - 1 } else { rank };
    space.sizes[at] = if joined { space.sizes[at] * size } else { size };
    (0..N).for_each(|k| space.strides[k][at] = strides[k]);
    space.rank = at as i32 + 1;
    space.numel *= size;
}

struct Problem<'a> {
    gpu: &'a Gpu,
    defines: String,
    x: u64,
    out: u64,
    kept: Space<2>,
    reduced: Space<1>,
    kind: ReduceKind,
    dtype: DType,
}
/// How columns are reduced: blocks, threads of a block along columns and rows, pieces of a column.
struct ColumnPlan {
    wide: bool,
    grid: u32,
    across: u32,
    down: u32,
    pieces: u64,
}
impl Problem<'_> {
    fn new<'a>(gpu: &'a Gpu, kind: ReduceKind, dims: Dims, keepdim: bool, x: &Arg, out: &Arg) -> Result<Problem<'a>> {
        let result = result(kind, x.dtype)?;
        if result != out.dtype {
            return Err(Error::internal(format!("has no kernel from {} to {}", x.dtype.name(), out.dtype.name())));
        }
        let (kept, reduced) = split(x, out, dims, keepdim, is_place(kind));
        Ok(Problem { gpu, defines: defines(kind, x.dtype, result), x: x.ptr as u64, out: out.ptr as u64, kept, reduced, kind, dtype: x.dtype })
    }
    /// A result's elements lie closer to one another than the results.
    fn by_rows(&self) -> bool {
        let inner = |rank: i32, strides: &[u64; MAX_RANK]| (rank > 0).then(|| strides[rank as usize - 1]);
        match (inner(self.kept.rank, &self.kept.strides[0]), inner(self.reduced.rank, &self.reduced.strides[0])) {
            (None, _) => true,
            (_, None) => false,
            (Some(k), Some(r)) => k == 0 || (r != 0 && r < k),
        }
    }
    /// Elements that a thread loads at a time where it can, as `WIDTH` in the source.
    fn width(&self) -> u64 {
        (16 / self.dtype.size() as u64).min(8)
    }
    /// Bytes of a piece's total, as `State` in the source.
    fn state(&self) -> u64 {
        match self.dtype {
            _ if is_place(self.kind) => 16,
            DType::F16 | DType::BF16 | DType::F32 => 4,
            _ => 8,
        }
    }
    /// Whether vectors can be loaded along the innermost dimension of the reduced ones (`along`) or the kept ones.
    fn is_wide(&self, along: bool) -> bool {
        let width = self.width();
        let dims = |rank: i32, sizes: &[u64; MAX_RANK], strides: &[u64; MAX_RANK], inner: bool| {
            (0..rank as usize).all(|d| {
                if !inner || d + 1 < rank as usize {
                    return strides[d].is_multiple_of(width);
                }
                // What is left behind the last vector of a single run is taken one by one.
                strides[d] == 1 && sizes[d] >= width && ((along && rank == 1) || sizes[d].is_multiple_of(width))
            })
        };
        let (kept, reduced) = (&self.kept, &self.reduced);
        self.x.is_multiple_of(width * self.dtype.size() as u64)
            && (if along { reduced.rank } else { kept.rank }) > 0
            && dims(reduced.rank, &reduced.sizes, &reduced.strides[0], along)
            && dims(kept.rank, &kept.sizes, &kept.strides[0], !along)
    }

    fn rows(&self) -> Result<()> {
        let wide = self.is_wide(true);
        let (rows, sms) = (self.kept.numel, self.gpu.sms() as u64);
        let vectors = self.reduced.numel / if wide { self.width() } else { 1 };
        if vectors <= 64 || (vectors <= 1024 && rows >= 16 * sms) {
            let lanes = vectors.div_ceil(2).next_power_of_two().min(32) as u32;
            let grid = blocks(rows, THREADS / lanes as u64)?;
            let f = self.gpu.kernel(&SOURCE, &self.defines, if wide { "short_rows_wide" } else { "short_rows_one" })?;
            let count = self.reduced.numel as f64;
            return self.gpu.launch(f, (grid, 1, 1), (THREADS as u32, 1, 1), 0, args![self.x, self.out, self.kept, self.reduced, lanes, count]);
        }
        let pieces = if rows < 2 * sms { (4 * sms).div_ceil(rows).min(vectors / 1024) } else { 1 };
        self.cut(if wide { "long_rows_wide" } else { "long_rows_one" }, blocks(rows, 1)?, (THREADS as u32, 1), vectors, pieces)
    }

    fn columns(&self) -> Result<()> {
        let c = self.column_plan()?;
        self.cut(if c.wide { "columns_wide" } else { "columns_one" }, c.grid, (c.across, c.down), self.reduced.numel, c.pieces)
    }
    fn column_plan(&self) -> Result<ColumnPlan> {
        let wide = self.is_wide(false);
        let (count, sms) = (self.reduced.numel, self.gpu.sms() as u64);
        let units = self.kept.numel / if wide { self.width() } else { 1 };
        // Few columns leave threads for more rows at a time, and the other way round.
        let mut across = units.next_power_of_two().min(32);
        let mut down = (THREADS / across).min(count.next_power_of_two());
        across = THREADS / down;
        // Narrower blocks come before more pieces, which have to be joined by another launch; they still read whole sectors.
        while across > NARROW && units.div_ceil(across) < sms && count > ROWS * down {
            (across, down) = (across / 2, down * 2);
        }
        let grid = blocks(units, across)?;
        let pieces = if (grid as u64) < 2 * sms { (4 * sms).div_ceil(grid as u64).min(count / (ROWS * down)) } else { 1 };
        Ok(ColumnPlan { wide, grid, across: across as u32, down: down as u32, pieces })
    }

    /// Launches a kernel over `count` vectors or rows in at most `pieces` pieces, and joins those.
    fn cut(&self, name: &str, grid: u32, block: (u32, u32), count: u64, pieces: u64) -> Result<()> {
        let step = count.div_ceil(pieces.clamp(1, PIECES)).max(1);
        let pieces = count.div_ceil(step).max(1) as u32;
        let results = self.kept.numel;
        let partial = if pieces > 1 { self.gpu.scratch((pieces as u64 * results * self.state()) as usize)? } else { 0 };
        let elements = self.reduced.numel as f64;
        let f = self.gpu.kernel(&SOURCE, &self.defines, name)?;
        let args = args![self.x, self.out, partial, self.kept, self.reduced, step, elements];
        self.gpu.launch(f, (grid, pieces, 1), (block.0, block.1, 1), 0, args)?;
        if pieces == 1 {
            return Ok(());
        }
        let f = self.gpu.kernel(&SOURCE, &self.defines, "join_pieces")?;
        self.gpu.launch(f, (blocks(results, 32)?, 1, 1), (32, 32, 1), 0, args![partial, self.out, self.kept, pieces, elements])
    }
}

/// Every program of this file.
pub fn variants() -> Vec<(&'static Source, String, Vec<String>)> {
    let names = [
        "short_rows_one",
        "short_rows_wide",
        "long_rows_one",
        "long_rows_wide",
        "columns_one",
        "columns_wide",
        "join_pieces",
        "many_columns_one",
        "many_columns_wide",
    ];
    let dtypes = DType::ALL.into_iter().filter(|d| *d != DType::Bool);
    let pairs = dtypes.flat_map(|d| ReduceKind::ALL.map(|k| (k, d)));
    pairs.filter_map(|(k, d)| Some((&SOURCE, defines(k, d, result(k, d).ok()?), names.map(String::from).to_vec()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use wick_core::shape::{Layout, Shape};

    fn arg(layout: Layout) -> Arg {
        Arg { ptr: std::ptr::null_mut(), layout, dtype: DType::F32 }
    }

    #[test]
    fn a_spatial_mean_of_channels_last_images_goes_over_columns() {
        let x = arg(Layout::contiguous(Shape::new(&[2, 7, 7, 64])).permute(&[0, 3, 1, 2]));
        let out = arg(Layout::contiguous(Shape::new(&[2, 64, 1, 1])));
        let (kept, reduced) = split(&x, &out, Dims::of(&[2, 3]), true, false);
        assert_eq!((kept.rank, kept.sizes[..2].to_vec(), kept.numel), (2, vec![2, 64], 128));
        assert_eq!((kept.strides[0][..2].to_vec(), kept.strides[1][..2].to_vec()), (vec![49 * 64, 1], vec![64, 1]));
        assert_eq!((reduced.rank, reduced.numel, reduced.strides[0][0]), (1, 49, 64));
    }

    #[test]
    fn places_are_counted_in_the_order_of_the_dimensions() {
        let x = arg(Layout::contiguous(Shape::new(&[4, 3])).permute(&[1, 0]));
        let out = arg(Layout::contiguous(Shape::scalar()));
        let (kept, reduced) = split(&x, &out, Dims::of(&[0, 1]), false, true);
        assert_eq!((kept.rank, kept.numel), (0, 1));
        assert_eq!((reduced.rank, reduced.sizes[..2].to_vec(), reduced.strides[0][..2].to_vec()), (2, vec![3, 4], vec![1, 3]));
        assert_eq!(split(&x, &out, Dims::of(&[0, 1]), false, false).1.rank, 1);
    }

    #[test]
    fn repeated_and_single_dimensions() {
        let x = arg(Layout::contiguous(Shape::new(&[1, 5])).expand(&Shape::new(&[3, 5])));
        let out = arg(Layout::contiguous(Shape::new(&[5])));
        let (kept, reduced) = split(&x, &out, Dims::of(&[0]), false, false);
        assert_eq!((kept.rank, kept.strides[0][0], kept.strides[1][0]), (1, 1, 1));
        assert_eq!((reduced.rank, reduced.numel, reduced.strides[0][0]), (1, 3, 0));
    }
}
