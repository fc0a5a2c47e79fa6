//! A plan in the making: the recording's entries as nodes that the passes rewrite, and what they ask about memory.
use super::accesses::{Accesses, Cells};
use super::build::Root;
use super::record::*;
use crate::device::Device;
use crate::dtype::DType;
use crate::op::Op;
use crate::shape::Layout;
use crate::tensor::Meta;
use std::collections::{BTreeSet, HashSet};
use std::rc::Rc;

/// Where a result goes: a value of the arena, or straight into memory from outside.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Out {
    Value(u32),
    External(u32),
}

/// What runs in an entry's place: at first the entry itself.
pub struct Node {
    pub op: Op,
    pub ins: Vec<In>,
    pub outs: Vec<Out>,
    pub live: bool,
    /// The first entry that it stands for.
    from: usize,
}

/// What the passes look at and decide.
pub struct Draft<'a> {
    pub entries: &'a [Entry],
    pub values: &'a [Value],
    pub externals: &'a [External],
    pub roots: &'a [Root],
    /// Arena values that must hold their result when it can be asked for.
    pub pinned: HashSet<u32>,
    pub nodes: Vec<Node>,
    /// Live readers of an arena root.
    pub uses: Vec<u32>,
    /// The node that computes a value.
    pub maker: Vec<usize>,
    /// For each entry, the end of the macro (backward) that it is a part of, or 0.
    pub macro_end: Vec<usize>,
    /// Entries that write memory from outside, with the later ones that do it for them.
    pub halves: Vec<(usize, usize)>,
    /// Of the live nodes: what they read and write, the host reads among them, and those that may fail.
    pub accesses: Accesses,
    reads: BTreeSet<usize>,
    failing: BTreeSet<usize>,
    /// The rule that is broken on purpose.
    pub mutant: u32,
}

impl<'a> Draft<'a> {
    pub fn new(
        entries: &'a [Entry],
        values: &'a [Value],
        externals: &'a [External],
        roots: &'a [Root],
        pinned: HashSet<u32>,
        mutant: u32,
    ) -> Draft<'a> {
        let nodes = entries.iter().enumerate().map(|(k, e)| Node {
            op: e.op.clone(),
            ins: e.ins.clone(),
            outs: e.values().map(Out::Value).collect(),
            live: false,
            from: k,
        });
        let mut macro_end = vec![0; entries.len()];
        for (j, e) in entries.iter().enumerate() {
            macro_end[j + 1..e.end.max(j + 1)].fill(e.end);
        }
        let mut d = Draft {
            entries,
            values,
            externals,
            roots,
            pinned,
            nodes: nodes.collect(),
            uses: vec![0; values.len()],
            maker: values.iter().map(|v| v.entry as usize).collect(),
            macro_end,
            halves: vec![],
            accesses: Accesses::new(Rc::new(Cells::new(values.len(), externals))),
            reads: BTreeSet::new(),
            failing: BTreeSet::new(),
            mutant,
        };
        d.mark_live();
        d
    }

    /// Dead ops, from the end: nobody reads the result, nothing outside is written, and there is no error that would be lost.
    fn mark_live(&mut self) {
        let mut needed = self.pinned.clone();
        for k in (0..self.nodes.len()).rev() {
            let e = &self.entries[k];
            let writes = e.op.writes();
            let asked = e.values().any(|v| needed.contains(&v));
            let live = match &e.op {
                Op::HostRead => true,
                _ if writes != 0 => asked || written(&e.op, &e.ins).any(|i| self.arena(i).is_none_or(|r| needed.contains(&r))),
                op => op.has_kernel() && (asked || self.can_fail(k) && self.mutant != 31),
            };
            if live {
                self.set_live(k, true);
                needed.extend(e.ins.iter().filter_map(|i| self.arena(*i)));
                self.count_uses(k, 1);
            }
        }
    }
    /// The node runs, or it no longer does. What it reads and writes must be as it is for as long as it is live.
    fn set_live(&mut self, k: usize, live: bool) {
        self.nodes[k].live = live;
        let roots = |i: In| self.root(i);
        let (reads, writes): (Vec<Root>, Vec<Root>) = (self.nodes[k].ins.iter().map(|i| roots(*i)).collect(), self.written(k).map(roots).collect());
        reads.into_iter().for_each(|r| self.accesses.set_read(k, r, live));
        writes.into_iter().for_each(|r| self.accesses.set_written(k, r, live));
        let op = &self.nodes[k].op;
        let (stops, fails) = (matches!(op, Op::HostRead), self.can_fail(k));
        for (set, member) in [(&mut self.reads, stops), (&mut self.failing, fails)] {
            if live && member {
                set.insert(k);
            } else {
                set.remove(&k);
            }
        }
    }
    /// Node `k`, which only copies what `maker` computes there, is gone: its result goes straight into the external.
    pub fn send_to(&mut self, maker: usize, place: usize, external: u32, k: usize) {
        self.set_live(k, false);
        self.set_live(maker, false);
        self.nodes[maker].outs[place] = Out::External(external);
        self.set_live(maker, true);
    }
    fn count_uses(&mut self, k: usize, by: i32) {
        for i in 0..self.nodes[k].ins.len() {
            if let Some(r) = self.arena(self.nodes[k].ins[i]) {
                let uses = &mut self.uses[r as usize];
                *uses = uses.saturating_add_signed(by);
            }
        }
    }

    pub fn root(&self, i: In) -> Root {
        match i {
            In::Value(v) => self.roots[v as usize],
            In::External(e) => Root::External(e),
        }
    }
    pub fn meta(&self, i: In) -> Meta {
        match i {
            In::Value(v) => self.values[v as usize].meta(),
            In::External(e) => Meta::new(self.externals[e as usize].id.layout.shape, self.externals[e as usize].id.dtype),
        }
    }
    pub fn layout(&self, i: In) -> Layout {
        match i {
            In::Value(v) => self.values[v as usize].layout,
            In::External(e) => self.externals[e as usize].id.layout,
        }
    }
    pub fn device(&self, i: In) -> Device {
        match i {
            In::Value(v) => self.values[v as usize].device,
            In::External(e) => self.externals[e as usize].id.device,
        }
    }
    /// The arena value that the operand lies in.
    pub fn arena(&self, i: In) -> Option<u32> {
        match self.root(i) {
            Root::Arena(r) => Some(r),
            _ => None,
        }
    }
    /// The live node whose whole result `out` the operand is.
    pub fn made_by(&self, i: In, out: usize) -> Option<usize> {
        let In::Value(v) = i else { return None };
        let k = self.maker[v as usize];
        (self.nodes[k].live && self.nodes[k].outs.get(out) == Some(&Out::Value(v))).then_some(k)
    }
    /// Nothing but one live node reads the operand, and nobody can ask for it.
    pub fn read_once(&self, i: In) -> bool {
        matches!(i, In::Value(v) if self.uses[v as usize] == 1 && !self.pinned.contains(&v))
    }

    /// The operands that the node writes, in place or as results outside of the arena.
    pub fn written(&self, k: usize) -> impl Iterator<Item = In> {
        let n = &self.nodes[k];
        let outside = n.outs.iter().filter_map(|o| if let Out::External(e) = *o { Some(In::External(e)) } else { None });
        written(&n.op, &n.ins).chain(outside)
    }
    /// A live node from `from` up to (not including) `to` writes to one of `operands`.
    pub fn writes_between(&self, from: usize, to: usize, operands: &[In]) -> bool {
        self.accesses.next_write(from, operands.iter().map(|i| self.root(*i))).is_some_and(|at| at < to)
    }
    /// A live node from `from` up to (not including) `to` reads one of `operands`.
    pub fn reads_between(&self, from: usize, to: usize, operands: &[In]) -> bool {
        self.accesses.next_read(from, operands.iter().map(|i| self.root(*i))).is_some_and(|at| at < to)
    }
    /// Node `j` may as well run in the place of `k`: no launch can end between the two, and what lies there neither writes
    /// what it reads nor sees what it writes.
    pub fn can_move(&self, j: usize, k: usize) -> bool {
        let n = &self.nodes[j];
        let results = n.outs.iter().filter_map(|o| if let Out::Value(v) = *o { Some(In::Value(v)) } else { None });
        let seen: Vec<In> = self.written(j).chain(results).collect();
        let writes = self.written(j).next().is_some();
        self.macro_end[j] == self.macro_end[k]
            && !self.stops(j + 1, k, writes)
            && !self.writes_between(j + 1, k, &n.ins)
            && !self.writes_between(j + 1, k, &seen)
            && !self.reads_between(j + 1, k, &seen)
    }

    /// A launch may end before node `to` and after those before `from`: at a host read, or where an op fails (what came before
    /// that stands, so it matters only to ops that write).
    fn stops(&self, from: usize, to: usize, writes: bool) -> bool {
        self.next_stop(from, writes).is_some_and(|at| at < to)
    }
    /// The first node from `from` on that a launch may end before.
    pub fn next_stop(&self, from: usize, writes: bool) -> Option<usize> {
        let failing = self.failing.range(from..).next().filter(|_| writes);
        self.reads.range(from..).next().into_iter().chain(failing).min().copied()
    }
    /// The values of node `k`'s operands may be refused.
    pub fn can_fail(&self, k: usize) -> bool {
        let n = &self.nodes[k];
        n.op.can_fail(n.ins.first().map_or(DType::F32, |i| self.meta(*i).dtype))
    }

    /// What makes the operand dies if nobody reads that any more.
    fn drop_unused(&mut self, i: In) {
        let Some(r) = self.arena(i) else { return };
        let k = self.maker[r as usize];
        let unread = |o: &Out| matches!(o, Out::Value(v) if self.uses[*v as usize] == 0 && !self.pinned.contains(v));
        let n = &self.nodes[k];
        if n.live && n.op.writes() == 0 && n.outs.iter().all(unread) && !self.can_fail(k) {
            self.count_uses(k, -1);
            self.set_live(k, false);
            self.nodes[k].ins.clone().iter().for_each(|i| self.drop_unused(*i));
        }
    }
    /// Another op in node `k`'s place, which stands for the nodes `absorbed` too.
    pub fn rewrite(&mut self, k: usize, absorbed: &[usize], op: Op, ins: Vec<In>, outs: Vec<Out>) {
        let mut from = k;
        for j in absorbed.iter().chain([&k]) {
            self.count_uses(*j, -1);
            self.set_live(*j, false);
            from = from.min(self.nodes[*j].from);
        }
        for o in &outs {
            if let Out::Value(v) = o {
                self.maker[*v as usize] = k;
            }
        }
        let read: Vec<In> = absorbed.iter().chain([&k]).flat_map(|j| self.nodes[*j].ins.clone()).collect();
        self.nodes[k] = Node { op, ins, outs, live: true, from };
        self.set_live(k, true);
        self.count_uses(k, 1);
        read.iter().for_each(|i| self.drop_unused(*i));
        // within a macro nothing ends
        if from < k && self.macro_end[k] == 0 && self.written(k).any(|w| self.arena(w).is_none()) {
            self.halves.push((from, k));
        }
    }
}

fn written(op: &Op, ins: &[In]) -> impl Iterator<Item = In> {
    let writes = op.writes();
    ins.iter().enumerate().filter(move |(j, _)| writes >> j & 1 == 1).map(|(_, i)| *i)
}
