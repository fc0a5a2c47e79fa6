//! From two recordings that agree to a plan: roots, checks, then the passes.
use super::draft::{Draft, Out};
use super::fuse::Instruction;
use super::record::*;
use super::{fuse, memory, replay::Exec};
use crate::device::Device;
use crate::engine::Debug;
use crate::op::Op;
use crate::ops;
use crate::tensor::Meta;
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};

/// The memory that a value is in, through any views.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Root {
    /// A place in the arena, named by the value that is computed there.
    Arena(u32),
    External(u32),
    /// Host data, bound when the entry is matched.
    Bound(u32),
}

/// A write in place: the entry, what it writes, and the storage's id if that is external.
#[derive(Clone, Copy)]
pub struct Write {
    pub entry: usize,
    pub root: Root,
    pub storage: Option<u64>,
}

pub struct Plan {
    pub entries: Vec<Entry>,
    pub values: Vec<Value>,
    pub externals: Vec<External>,
    /// The host reads' entries, and how long values live.
    pub cuts: Vec<usize>,
    pub lives: Lives,
    /// By host read: values that a handle named at the one before it and no longer at this one.
    pub ended: Vec<Vec<u32>>,
    /// By entry: a digest of the ops so far.
    pub digests: Vec<u64>,
    pub outputs: HashSet<u32>,
    pub roots: Vec<Root>,
    /// Whether eager mode would have put a value on the tape.
    pub requires_grad: Vec<bool>,
    pub writes: Vec<Write>,
    /// The entries that write a place, or a storage from outside.
    writers: HashMap<Root, Vec<usize>>,
    storage_writers: HashMap<u64, Vec<usize>>,
    /// Storages from outside that the plan writes.
    pub written: HashSet<u64>,
    /// Byte offset, in its device's arena, of each value that is computed there.
    pub place: Vec<Option<usize>>,
    /// The size of each device's arena.
    pub arenas: Vec<(Device, usize)>,
    pub(super) exec: RefCell<Exec>,
    pub hits: Cell<u64>,
    /// Gradient-exists flags that the plan expects at its start, and leaves behind.
    pub before: Vec<LeafFlag>,
    pub after: Vec<LeafFlag>,
    /// Entries that write memory from outside, with the later ones that do it for them.
    halves: Vec<(usize, usize)>,
    /// Why `full` can't run it, if it can't.
    pub not_full: Option<&'static str>,
}

impl Plan {
    /// `b` is the newer recording and still holds its external tensors.
    pub fn build(a: &Recording, b: Recording, debug: Debug) -> Result<Plan, String> {
        let mut externals = b.externals;
        for (x, y) in externals.iter_mut().zip(&a.externals) {
            x.slot = x.id != y.id;
        }
        let roots = roots_of(&b.entries, b.values.len());
        let (writes, written) = writes_of(&b.entries, &externals, &roots)?;
        let (mut writers, mut storage_writers): (HashMap<Root, Vec<usize>>, HashMap<u64, Vec<usize>>) = Default::default();
        for w in &writes {
            writers.entry(w.root).or_default().push(w.entry);
            if let Some(s) = w.storage {
                storage_writers.entry(s).or_default().push(w.entry);
            }
        }
        let outputs: HashSet<u32> = a.outputs.union(&b.outputs).copied().collect();
        let (cuts, mut lives) = (b.cuts, b.lives);
        if cuts != a.cuts {
            return Err("host reads at different places".into());
        }
        lives.named.iter_mut().zip(&a.lives.named).for_each(|(x, y)| *x = (*x).max(*y));
        lives.held.iter_mut().zip(&a.lives.held).for_each(|(x, y)| *x |= y);
        let mut ended = vec![vec![]; cuts.len()];
        for (v, value) in b.values.iter().enumerate() {
            let (first, end) = (cuts.partition_point(|at| *at < value.entry as usize), lives.named[v] as usize);
            lives.held[v] |= end > first;
            if let (true, Some(list)) = (end > first, ended.get_mut(end)) {
                list.push(v as u32);
            }
        }
        let held = (0..b.values.len() as u32).filter(|v| lives.held[*v as usize]);
        let pinned = outputs
            .iter()
            .copied()
            .chain(held)
            .filter_map(|v| match roots[v as usize] {
                Root::Arena(r) => Some(r),
                _ => None,
            })
            .collect();
        let mut draft = Draft::new(&b.entries, &b.values, &externals, &roots, pinned, debug.mutant);
        let instrs = fuse::instructions(&mut draft, !debug.no_fusion);
        if debug.mutant != 30 {
            sizes_follow(&draft, &instrs)?;
        }
        let (place, arenas) = memory::lay_out(&draft, &instrs);
        let exec = Exec::new(&draft, instrs, &place, &cuts, &writes);
        let halves = draft.halves;
        let (before, after) = flags_of(&b.entries);
        let requires_grad = requires_grad(&b.entries, &b.values, &externals);
        let not_full = if !cuts.is_empty() {
            Some("it reads a value in the middle")
        } else if b.entries.iter().any(|e| matches!(e.op, Op::FromHost { .. })) {
            Some("it makes a tensor from host data")
        } else {
            None
        };
        for x in externals.iter_mut().filter(|x| x.slot) {
            x.tensor = None;
        }
        Ok(Plan {
            entries: b.entries,
            values: b.values,
            externals,
            cuts,
            lives,
            ended,
            digests: b.digests,
            outputs,
            roots,
            requires_grad,
            writes,
            writers,
            storage_writers,
            written,
            place,
            arenas,
            exec: RefCell::new(exec),
            hits: Cell::new(0),
            before,
            after,
            halves,
            not_full,
        })
    }

    /// The same steps as `o`, and at least its outputs: `o` is of no more use.
    pub fn supersedes(&self, o: &Plan) -> bool {
        o.entries.len() == self.entries.len()
            && o.outputs.is_subset(&self.outputs)
            && o.cuts == self.cuts
            && o.digests.last() == self.digests.last()
            && o.entries.iter().zip(&self.entries).all(|(a, b)| a.same(b))
            && o.externals.iter().zip(&self.externals).all(|(a, b)| if b.slot { a.id.fits(&b.id) } else { !a.slot && a.id == b.id })
    }
    pub fn arena_bytes(&self) -> usize {
        self.arenas.iter().map(|a| a.1).sum()
    }
    /// Launches that one run of the plan makes.
    pub fn kernels(&self) -> usize {
        self.exec.borrow().len()
    }
    /// A window may end after `cursor` entries: no write of theirs is left to a later one.
    pub fn may_end(&self, cursor: usize) -> bool {
        !self.halves.iter().any(|(half, whole)| *half < cursor && cursor <= *whole)
    }
    /// An entry from `from` up to `to` writes the place, or a tensor of the storage.
    pub fn writes_between(&self, from: usize, to: usize, root: Option<Root>, storage: Option<u64>) -> bool {
        let places = root.and_then(|r| self.writers.get(&r)).into_iter().chain(storage.and_then(|s| self.storage_writers.get(&s)));
        places.into_iter().any(|list| list.get(list.partition_point(|at| *at < from)).is_some_and(|at| *at < to))
    }
    /// The value is somebody's to read after a launch, so its place holds it.
    pub fn reachable(&self, v: u32) -> bool {
        self.outputs.contains(&v) || self.lives.held[v as usize]
    }
}

/// Kernels take their sizes from where they write: each result must lie where it has the shape and dtype that its op infers.
fn sizes_follow(d: &Draft, instructions: &[Instruction]) -> Result<(), String> {
    for i in instructions {
        let fuse::Kernel::Op(op) = &i.kernel else { continue };
        let ins: Vec<Meta> = i.ins.iter().map(|x| d.meta(*x)).collect();
        let outs = i.outs.iter().map(|o| match *o {
            Out::Value(v) => d.meta(In::Value(v)),
            Out::External(e) => d.meta(In::External(e)),
        });
        let inferred = ops::infer(op, &ins).map_err(|e| format!("the plan has an op that can't be: {e}"))?;
        if !inferred.iter().copied().eq(outs) {
            return Err(format!("the plan puts a result of {} where it doesn't fit", op.name()));
        }
    }
    Ok(())
}

fn roots_of(entries: &[Entry], values: usize) -> Vec<Root> {
    let mut roots: Vec<Root> = Vec::with_capacity(values);
    for e in entries {
        for v in e.values() {
            roots.push(match &e.op {
                Op::View(_) => match e.ins[0] {
                    In::Value(w) => roots[w as usize],
                    In::External(i) => Root::External(i),
                },
                Op::FromHost { .. } => Root::Bound(v),
                _ => Root::Arena(v),
            });
        }
    }
    roots
}

fn requires_grad(entries: &[Entry], values: &[Value], externals: &[External]) -> Vec<bool> {
    let mut all: Vec<bool> = Vec::with_capacity(values.len());
    for e in entries {
        let tracked = e.grad_enabled
            && crate::ops::saves(&e.op).is_some()
            && e.ins.iter().any(|i| match *i {
                In::Value(w) => all[w as usize],
                In::External(x) => externals[x as usize].id.requires_grad,
            });
        all.extend(e.values().map(|v| tracked && values[v as usize].dtype.is_float()));
    }
    all
}

fn writes_of(entries: &[Entry], externals: &[External], roots: &[Root]) -> Result<(Vec<Write>, HashSet<u64>), String> {
    let (mut writes, mut written) = (vec![], HashSet::new());
    for (k, e) in entries.iter().enumerate() {
        for (_, i) in e.ins.iter().enumerate().filter(|(j, _)| e.op.writes() >> j & 1 == 1) {
            let root = match *i {
                In::Value(v) => roots[v as usize],
                In::External(i) => Root::External(i),
            };
            let mut storage = None;
            if let Root::External(i) = root {
                let x = &externals[i as usize];
                if x.slot {
                    return Err(format!("{} writes into a tensor that differs from step to step", e.op.name()));
                }
                storage = Some(x.id.storage);
                written.insert(x.id.storage);
            }
            writes.push(Write { entry: k, root, storage });
        }
    }
    if externals.iter().any(|x| x.slot && written.contains(&x.id.storage)) {
        return Err("an input that differs from step to step shares memory with one that is written".into());
    }
    Ok((writes, written))
}

fn flags_of(entries: &[Entry]) -> (Vec<LeafFlag>, Vec<LeafFlag>) {
    let (mut before, mut after): (Vec<LeafFlag>, Vec<LeafFlag>) = (vec![], vec![]);
    let mut known: HashMap<u64, usize> = HashMap::new();
    for e in entries {
        let sets = !matches!(e.op, Op::ZeroGrad { .. });
        for flag in &e.leaves {
            let at = *known.entry(flag.leaf.id).or_insert_with(|| {
                before.push(flag.clone());
                after.push(flag.clone());
                after.len() - 1
            });
            after[at].had = sets;
        }
    }
    (before, after)
}
