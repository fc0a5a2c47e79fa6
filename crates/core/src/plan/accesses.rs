//! Which places of a list read and write which memory, so that "does anything between two of them touch this" is a search.
use super::build::Root;
use super::record::External;
use std::collections::BTreeSet;
use std::rc::Rc;

/// Memory by number. A value has one cell. The tensors from outside that share a storage are intervals of it: they have the nodes
/// of a segment tree, two cells a node, one for what covers the node and one for what lies below it.
pub struct Cells {
    /// Of each external: the cells that an access marks, and those that tell of an access that overlaps it.
    marks: Vec<Vec<u32>>,
    tells: Vec<Vec<u32>>,
    count: usize,
}
impl Cells {
    pub fn new(values: usize, externals: &[External]) -> Cells {
        // a plan writes nothing that an input from step to step may lie in
        let span = |x: &External| {
            let (from, size) = (x.id.layout.offset * x.id.dtype.size(), x.id.layout.span() * x.id.dtype.size());
            (!x.slot).then_some(((x.id.storage, from), (x.id.storage, from + size)))
        };
        let mut bounds: Vec<(u64, usize)> = externals.iter().filter_map(span).flat_map(|(a, b)| [a, b]).collect();
        bounds.sort_unstable();
        bounds.dedup();
        let at = |b: (u64, usize)| bounds.partition_point(|x| *x < b);
        let (leaves, slots) = (bounds.len(), values + 4 * bounds.len());
        let (mut marks, mut tells) = (vec![], vec![]);
        for (e, x) in externals.iter().enumerate() {
            let Some((from, to)) = span(x) else {
                marks.push(vec![(slots + e) as u32]);
                tells.push(vec![(slots + e) as u32]);
                continue;
            };
            let covers = |node: usize| (values + 2 * node) as u32;
            let below = |node: usize| (values + 2 * node + 1) as u32;
            let nodes = covering(at(from) + leaves, at(to) + leaves);
            let above: BTreeSet<usize> =
                nodes.iter().flat_map(|n| std::iter::successors(Some(n / 2), |n| Some(n / 2)).take_while(|n| *n > 0)).collect();
            marks.push(nodes.iter().map(|n| covers(*n)).chain(above.iter().map(|n| below(*n))).collect());
            tells.push(nodes.iter().flat_map(|n| [covers(*n), below(*n)]).chain(above.iter().map(|n| covers(*n))).collect());
        }
        Cells { marks, tells, count: slots + externals.len() }
    }
    fn marks(&self, root: Root) -> impl Iterator<Item = usize> {
        named(root, &self.marks)
    }
    fn tells(&self, root: Root) -> impl Iterator<Item = usize> {
        named(root, &self.tells)
    }
}
fn named(root: Root, externals: &[Vec<u32>]) -> impl Iterator<Item = usize> {
    let (one, many) = match root {
        Root::Arena(v) | Root::Bound(v) => (Some(v), &[][..]),
        Root::External(e) => (None, &externals[e as usize][..]),
    };
    one.into_iter().chain(many.iter().copied()).map(|c| c as usize)
}
/// The fewest nodes of a segment tree whose leaves are `a..b`.
pub fn covering(mut a: usize, mut b: usize) -> Vec<usize> {
    let mut nodes = vec![];
    while a < b {
        if a & 1 == 1 {
            nodes.push(a);
            a += 1;
        }
        if b & 1 == 1 {
            b -= 1;
            nodes.push(b);
        }
        (a, b) = (a / 2, b / 2);
    }
    nodes
}

/// The places that touch each cell.
struct Index(Vec<BTreeSet<u32>>);
impl Index {
    fn set(&mut self, cells: &Cells, at: usize, root: Root, on: bool) {
        for c in cells.marks(root) {
            if on {
                self.0[c].insert(at as u32);
            } else {
                self.0[c].remove(&(at as u32));
            }
        }
    }
    fn next(&self, cells: &Cells, from: usize, root: Root) -> Option<usize> {
        cells.tells(root).filter_map(|c| self.0[c].range(from as u32..).next()).min().map(|at| *at as usize)
    }
    fn last(&self, cells: &Cells, to: usize, root: Root) -> Option<usize> {
        cells.tells(root).filter_map(|c| self.0[c].range(..to as u32).next_back()).max().map(|at| *at as usize)
    }
}

/// Reads and writes by place.
pub struct Accesses {
    pub cells: Rc<Cells>,
    reads: Index,
    writes: Index,
}
impl Accesses {
    pub fn new(cells: Rc<Cells>) -> Accesses {
        let index = || Index(vec![BTreeSet::new(); cells.count]);
        Accesses { reads: index(), writes: index(), cells }
    }
    /// What is at `at` reads, or no longer reads, the memory.
    pub fn set_read(&mut self, at: usize, root: Root, on: bool) {
        self.reads.set(&self.cells, at, root, on);
    }
    /// What is at `at` writes, or no longer writes, the memory.
    pub fn set_written(&mut self, at: usize, root: Root, on: bool) {
        self.writes.set(&self.cells, at, root, on);
    }
    /// The first place from `from` on that reads any of it.
    pub fn next_read(&self, from: usize, of: impl IntoIterator<Item = Root>) -> Option<usize> {
        of.into_iter().filter_map(|r| self.reads.next(&self.cells, from, r)).min()
    }
    /// The first place from `from` on that writes any of it.
    pub fn next_write(&self, from: usize, of: impl IntoIterator<Item = Root>) -> Option<usize> {
        of.into_iter().filter_map(|r| self.writes.next(&self.cells, from, r)).min()
    }
    /// The last place before `to` that writes any of it.
    pub fn last_write(&self, to: usize, of: impl IntoIterator<Item = Root>) -> Option<usize> {
        of.into_iter().filter_map(|r| self.writes.last(&self.cells, to, r)).max()
    }
}
