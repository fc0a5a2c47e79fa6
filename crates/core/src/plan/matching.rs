//! Matching: user code runs, and each op that it calls is compared with the plan's next one instead of being computed.
//! Where they differ, another plan of the window may still fit; if none does, the window diverges: what was matched is run
//! from the plan's list, and the step goes on eagerly.
use super::build::{Plan, Root};
use super::record::{Entry, In, LeafFlag, Recording};
use super::replay::{Bindings, host_data};
use crate::cpu;
use crate::device::Device;
use crate::dispatch::{own, with_params};
use crate::engine::{Engine, Handle, Operand, Slot};
use crate::error::{Error, Result};
use crate::op::{MAX_SCALARS, Op};
use crate::rng::Stream;
use crate::storage::Storage;
use crate::tensor::{Leaf, Meta, Tensor};
use crate::window::{Mode, Window, divergence};
use std::cell::{Cell, RefCell, RefMut};
use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// What a window has noted while it matched: enough to launch the plan, or to run its prefix eagerly instead.
pub(crate) struct Match {
    pub plan: Rc<Plan>,
    /// The entry to match next, and the first that has not been launched.
    pub cursor: usize,
    pub launched: usize,
    /// This step's tensors for the plan's slots.
    pub slots: Vec<Option<Tensor>>,
    /// Host data by value, in order.
    pub host: Vec<(u32, Tensor)>,
    pub params: Vec<f64>,
    /// What calls changed at once since the last launch, with the entry that they belong to.
    pub undo: Vec<(usize, Undo)>,
    deferred: RefCell<Deferred>,
    /// Handles of the window that a host read has looked at, and those that named a value then: value, index and generation.
    pub looked_at: usize,
    pub named: Vec<(u32, u32, u32)>,
}
/// State outside of tensors' memory that moves when an op is matched, as it was before.
pub(crate) enum Undo {
    /// Whether a leaf has a gradient.
    Live(Rc<Leaf>, bool),
    /// The updates that a parameter has seen.
    Steps(Rc<Cell<u64>>, u64),
    /// A random stream.
    Stream(usize, Stream),
}
/// Writes that are matched and not launched, by what they will raise: a storage's version or a parameter's own.
#[derive(Default)]
struct Deferred {
    /// The plan's writes that are counted, of those from the last launch on.
    counted: std::ops::Range<usize>,
    storages: HashMap<u64, u64>,
    own: HashMap<*const Cell<u64>, u64>,
    /// Storages that are written, whichever version that raises.
    written: HashSet<u64>,
}
impl Match {
    pub fn new(plan: Rc<Plan>) -> Match {
        let (slots, params) = (vec![None; plan.externals.len()], vec![0.0; plan.entries.len() * MAX_SCALARS]);
        let (host, undo, named) = (vec![], vec![], vec![]);
        Match { plan, cursor: 0, launched: 0, slots, host, params, undo, deferred: RefCell::default(), looked_at: 0, named }
    }
    /// Looks at the writes that were matched since somebody last asked.
    fn deferred(&self) -> RefMut<'_, Deferred> {
        let mut d = self.deferred.borrow_mut();
        let of = |entry: usize| self.plan.writes.partition_point(|w| w.entry < entry);
        let range = of(self.launched)..of(self.cursor);
        if d.counted.start != range.start || d.counted.end > range.end {
            *d = Deferred { counted: range.start..range.start, ..Deferred::default() };
        }
        for w in &self.plan.writes[d.counted.end..range.end] {
            let (Root::External(e), Some(storage)) = (w.root, w.storage) else { continue };
            d.written.insert(storage);
            match self.plan.externals[e as usize].tensor.as_ref().and_then(|t| t.own_version.as_ref()) {
                Some(own) => *d.own.entry(Rc::as_ptr(own)).or_default() += 1,
                None => *d.storages.entry(storage).or_default() += 1,
            }
        }
        d.counted.end = range.end;
        d
    }
    pub fn host_data(&self, v: u32) -> Option<&Tensor> {
        host_data(&self.host, v)
    }
    pub fn external(&self, e: u32) -> Option<&Tensor> {
        self.slots[e as usize].as_ref().or(self.plan.externals[e as usize].tensor.as_ref())
    }
}

/// Slots that a comparison would bind.
type NewSlots = Vec<(u32, Tensor)>;
/// Whether a plan, with these slots bound, goes on as the step does.
type Next<'a> = dyn Fn(&Engine, &Plan, &[Option<Tensor>], &mut NewSlots) -> bool + 'a;

impl Engine {
    pub(crate) fn matching(&self) -> bool {
        matches!(&self.window, Some(Window { mode: Mode::Matching(_), .. }))
    }
    pub(crate) fn matched(&self) -> Option<&Match> {
        match &self.window {
            Some(Window { mode: Mode::Matching(m), .. }) => Some(m),
            _ => None,
        }
    }
    pub(crate) fn matched_mut(&mut self) -> Option<&mut Match> {
        match &mut self.window {
            Some(Window { mode: Mode::Matching(m), .. }) => Some(m),
            _ => None,
        }
    }
    pub(crate) fn pending_value(&self, v: u32) -> Option<super::record::Value> {
        self.matched().and_then(|m| m.plan.values.get(v as usize).copied())
    }
    /// Whether eager mode would have put a pending value on the tape.
    pub(crate) fn pending_requires_grad(&self, v: u32) -> bool {
        self.matched().is_some_and(|m| m.plan.requires_grad.get(v as usize) == Some(&true))
    }
    pub(crate) fn bind_value(&mut self, v: u32, t: Tensor) {
        if let Some(m) = self.matched_mut() {
            m.host.push((v, t));
        }
    }

    fn same_external(&self, plan: &Plan, bound: &[Option<Tensor>], e: u32, t: &Tensor, new: &mut NewSlots) -> bool {
        let x = &plan.externals[e as usize];
        // a tape from outside can't be continued by a plan
        if t.node.is_some() && !self.mutant(8) {
            return false;
        }
        if !x.slot {
            return x.id.is(t)
                || self.mutant(26) && x.id.layout.shape == t.shape() && x.id.requires_grad == t.requires_grad
                || self.mutant(37) && x.id.is_memory_of(t);
        }
        // a slot is read only: it may not share memory with anything that the plan writes
        if !x.id.fits(&t.ident()) || !self.mutant(7) && plan.written.contains(&t.storage.id()) {
            return false;
        }
        match bound[e as usize].as_ref().or(new.iter().find(|n| n.0 == e).map(|n| &n.1)) {
            Some(b) => self.mutant(25) || b.storage.id() == t.storage.id() && b.layout.offset == t.layout.offset,
            None => {
                new.push((e, t.clone()));
                true
            }
        }
    }
    fn same_operand(&self, plan: &Plan, bound: &[Option<Tensor>], i: In, o: &Operand, new: &mut NewSlots) -> bool {
        match (o, i) {
            (Operand::Tensor(t), In::External(e)) => self.same_external(plan, bound, e, t, new),
            (Operand::Handle(h), i) => match (&self.table[*h].slot, i) {
                (Slot::Pending(v), In::Value(w)) => *v == w,
                (Slot::Real(t), In::External(e)) => self.same_external(plan, bound, e, t, new),
                _ => false,
            },
            _ => false,
        }
    }
    fn same_flags(&self, e: &Entry) -> bool {
        self.mutant(10) || e.leaves.iter().all(|f| if self.mutant(36) { f.leaf.live.get() == f.had } else { f.holds() })
    }
    fn same_entry(&self, plan: &Plan, bound: &[Option<Tensor>], e: &Entry, op: &Op, operands: &[Operand], new: &mut NewSlots) -> bool {
        e.op == *op
            && (e.grad_enabled == self.grad_enabled || self.mutant(9))
            && e.ins.len() == operands.len()
            && e.ins.iter().zip(operands).all(|(i, o)| self.same_operand(plan, bound, *i, o, new))
            && self.same_flags(e)
    }

    /// Compares a call with the plan's next entry, or with that of another plan that matches what came before. On equality
    /// notes its parameters and slots, moves on, and returns the values that are its results.
    pub(crate) fn try_match(&mut self, op: &mut Op, operands: &[Operand]) -> Option<std::ops::Range<u32>> {
        let m = self.matched()?;
        let k = m.cursor;
        own(op, k);
        let mut new = vec![];
        let fits = m.plan.entries.get(k).is_some_and(|e| self.same_entry(&m.plan, &m.slots, e, op, operands, &mut new));
        if !fits {
            // another plan is taken only if it matches this op too
            new.clear();
            let switched =
                self.switch(&|eng, plan, bound, new| plan.entries.get(k).is_some_and(|e| eng.same_entry(plan, bound, e, op, operands, new)));
            new.extend(switched?);
        }
        let m = self.matched_mut()?;
        for (s, t) in new {
            m.slots[s as usize] = Some(t);
        }
        for (j, s) in op.scalars_mut().into_iter().enumerate() {
            m.params[k * MAX_SCALARS + j] = s.recorded();
        }
        let e = &m.plan.entries[k];
        m.cursor = e.end;
        let values = e.values();
        self.note_names(k, operands);
        Some(values)
    }

    /// Matches backward or zeroGrad, and moves the gradient flags as they would.
    pub(crate) fn match_macro(&mut self, mut op: Op, operands: &[Operand]) -> bool {
        let Some(m) = self.matched() else { return false };
        let k = m.cursor;
        if self.try_match(&mut op, operands).is_none() {
            return false;
        }
        let sets = matches!(op, Op::Backward { .. });
        if let Some(m) = self.matched_mut() {
            let plan = m.plan.clone();
            for LeafFlag { leaf, .. } in &plan.entries[k].leaves {
                m.undo.push((k, Undo::Live(leaf.clone(), leaf.live.get())));
                leaf.live.set(sets);
            }
        }
        true
    }

    /// Notes what a call changes beside tensors: for the entry that is matched next, or the one `back` entries before.
    pub(crate) fn note_undo(&mut self, back: usize, undo: Undo) {
        if let Some(m) = self.matched_mut() {
            m.undo.push((m.cursor.saturating_sub(back), undo));
        }
    }
    /// A launch failed at entry `at`: what calls after it changed is as before, newest first.
    fn undo_after(&mut self, at: usize, undo: Vec<(usize, Undo)>) {
        if self.mutant(32) {
            return;
        }
        for (_, u) in undo.into_iter().rev().filter(|u| u.0 > at) {
            match u {
                Undo::Live(leaf, was) => leaf.live.set(was),
                Undo::Steps(steps, was) => steps.set(was),
                Undo::Stream(number, was) => self.streams[number] = was,
            }
        }
    }

    /// The version that the tensor will have when all that was matched is launched: eager mode has it now.
    pub(crate) fn version_of(&self, t: &Tensor) -> u64 {
        let later = self.matched().filter(|_| !self.mutant(33)).map_or(0, |m| {
            let d = m.deferred();
            let own = t.own_version.as_ref().and_then(|v| d.own.get(&Rc::as_ptr(v))).copied().unwrap_or(0);
            own + d.storages.get(&t.storage.id()).copied().unwrap_or(0)
        });
        t.version() + later
    }
    /// A write to the tensor's memory is matched and not launched.
    pub(crate) fn has_deferred_write(&self, t: &Tensor) -> bool {
        !self.mutant(34) && self.matched().is_some_and(|m| m.deferred().written.contains(&t.storage.id()))
    }
    /// The tensor for somebody who reads its memory without an op: nothing that would write it is still to come.
    pub(crate) fn landed(&mut self, h: Handle, why: &str) -> Result<Tensor> {
        let t = self.settle(h, why)?;
        if self.has_deferred_write(&t) {
            self.diverge(why)?;
        }
        Ok(t)
    }

    /// The operand, if its elements are in memory already.
    fn known(&self, o: &Operand) -> Option<Tensor> {
        let t = match o {
            Operand::Tensor(t) => (*t).clone(),
            Operand::Handle(i) => match &self.table[*i].slot {
                Slot::Real(t) => t.clone(),
                Slot::Pending(v) => {
                    let m = self.matched()?;
                    let (value, root) = (m.plan.values[*v as usize], m.plan.roots[*v as usize]);
                    if m.plan.writes_between(m.launched, m.cursor, Some(root), None) {
                        return None;
                    }
                    match root {
                        Root::Arena(r) if (m.plan.values[r as usize].entry as usize) < m.launched => self.launched_value(*v).ok()?,
                        Root::Arena(_) => return None,
                        root => self.outside_value(m, root, &value)?,
                    }
                }
                Slot::Free => return None,
            },
        };
        (t.device() == Device::Cpu && !self.has_deferred_write(&t)).then_some(t)
    }
    /// The op would throw in eager mode: values that it refuses are in memory already. What is computed in the step is only known
    /// when the plan runs.
    pub(crate) fn refuses_now(&self, op: &Op, operands: &[Operand]) -> bool {
        let Some(first) = operands.first() else { return false };
        let meta = match first {
            Operand::Tensor(t) => Ok(t.meta()),
            Operand::Handle(i) => self.layout(*i).map(|(l, d, _)| Meta::new(l.shape, d)),
        };
        let Ok(meta) = meta else { return false };
        if !op.can_fail(meta.dtype) || self.mutant(35) {
            return false;
        }
        let checked = op.checked_operand().and_then(|j| operands.get(j)).and_then(|o| self.known(o));
        let arg = checked.as_ref().map(Tensor::arg);
        // SAFETY: the elements are in memory, and this thread alone writes them.
        unsafe { cpu::refuses(op, &meta.shape, meta.dtype, arg.as_ref()) }
    }

    /// Goes over to another plan of the site whose first entries are those matched so far. Nothing has run, so nothing is lost.
    pub(crate) fn switch(&mut self, next: &Next) -> Option<NewSlots> {
        let m = self.matched()?;
        if m.launched > 0 {
            return None;
        }
        let site = self.window.as_ref()?.site;
        let mut found = None;
        for p in &self.sites[site].plans {
            if Rc::ptr_eq(p, &m.plan) {
                continue;
            }
            let mut new = vec![];
            // cheap first: most plans began differently, or go on so
            if m.cursor > 0 {
                let free = vec![None; p.externals.len()];
                if p.digests.get(m.cursor - 1) != m.plan.digests.get(m.cursor - 1) || !next(self, p, &free, &mut new) {
                    continue;
                }
                new.clear();
            }
            if let Some(bound) = self.prefix_of(m, p)
                && next(self, p, &bound, &mut new)
            {
                found = Some((p.clone(), bound, new));
                break;
            }
        }
        let (plan, bound, new) = found?;
        self.sites[site].counts.switched += 1;
        let m = self.matched_mut()?;
        m.params.resize(plan.entries.len() * MAX_SCALARS, 0.0);
        (m.plan, m.slots) = (plan, bound);
        Some(new)
    }
    /// The slots of `p`, if it begins with what `m` has matched.
    fn prefix_of(&self, m: &Match, p: &Plan) -> Option<Vec<Option<Tensor>>> {
        if p.entries.len() < m.cursor || p.cuts.first().is_some_and(|at| *at < m.cursor) {
            return None;
        }
        let mut bound: Vec<Option<Tensor>> = vec![None; p.externals.len()];
        let mut k = 0;
        while k < m.cursor {
            let (a, b) = (&m.plan.entries[k], &p.entries[k]);
            if !a.same_but_inputs(b) || a.outs != b.outs {
                return None;
            }
            if a.values().any(|v| !m.plan.values[v as usize].same(&p.values[v as usize])) {
                return None;
            }
            for (x, y) in a.ins.iter().zip(&b.ins) {
                match (*x, *y) {
                    (In::Value(v), In::Value(w)) if v == w => {}
                    (In::External(i), In::External(j)) => {
                        let mut new = vec![];
                        if !self.same_external(p, &bound, j, m.external(i)?, &mut new) {
                            return None;
                        }
                        for (s, t) in new {
                            bound[s as usize] = Some(t);
                        }
                    }
                    _ => return None,
                }
            }
            k = a.end;
        }
        (k == m.cursor).then_some(bound)
    }

    pub(crate) fn arena(&self, device: Device) -> Option<&Rc<Storage>> {
        self.arenas.iter().find(|a| a.device() == device)
    }
    /// Launches what has been matched. On an error what ran before the failing entry stands, and the window is over.
    pub(crate) fn launch(&mut self) -> Result<()> {
        let Some(m) = self.matched() else { return Ok(()) };
        let plan = m.plan.clone();
        let arenas = self.arenas_for(&plan)?;
        let (poison, copy_slots) = (self.debug.poison, self.debug.copy_slots);
        let Some(m) = self.matched_mut() else { return Ok(()) };
        if poison && m.launched == 0 {
            // all-one bits are NaN in every float type
            for (device, bytes) in &plan.arenas {
                if let Some(a) = arenas.iter().find(|a| a.device() == *device) {
                    a.fill(0xFF, *bytes)?;
                }
            }
        }
        let copied: Vec<Option<Tensor>>;
        let slots = if copy_slots {
            copied = m.slots.iter().map(|t| t.as_ref().map(fixed_copy).transpose()).collect::<Result<_>>()?;
            &copied
        } else {
            &m.slots
        };
        let bindings = Bindings { arenas: &arenas, slots, host: &m.host, params: &m.params };
        // SAFETY: the arenas are large enough, and every matched entry has bound its slots.
        let done = catch_unwind(AssertUnwindSafe(|| unsafe { plan.launch(m.launched, m.cursor, &bindings) }));
        let undo = std::mem::take(&mut m.undo);
        let (at, failure) = match done {
            Ok(Ok(())) => {
                m.launched = m.cursor;
                return Ok(());
            }
            Ok(Err((at, e))) => (at, Ok(e)),
            // how far it came isn't known
            Err(panic) => (m.launched, Err(panic)),
        };
        self.undo_after(at, undo);
        self.abandon();
        failure.map_or_else(|panic| resume_unwind(panic), Err)
    }
    /// The arenas, as large as the plan needs them.
    fn arenas_for(&mut self, plan: &Plan) -> Result<Vec<Rc<Storage>>> {
        for (device, bytes) in &plan.arenas {
            if self.arena(*device).is_none_or(|a| a.bytes() < *bytes) {
                self.arenas.retain(|a| a.device() != *device);
                self.arenas.push(Storage::new(*bytes, *device)?);
            }
        }
        Ok(self.arenas.clone())
    }
    /// Launches complete matches of one plan, as many as its [`Plan::group_size`] says, in one go.
    pub(crate) fn launch_group(&mut self, plan: &Plan, steps: &[Match]) -> Result<()> {
        let arenas = self.arenas_for(plan)?;
        let bindings: Vec<Bindings> = steps.iter().map(|m| Bindings { arenas: &arenas, slots: &m.slots, host: &m.host, params: &m.params }).collect();
        // SAFETY: the arenas are large enough, and every match has bound its slots.
        unsafe { plan.launch_group(&bindings) }.map_err(|(_, e)| e)
    }
    /// Ends matching after a failed launch: promises that can't be kept are gone.
    pub(crate) fn abandon(&mut self) {
        let Some(w) = &mut self.window else { return };
        w.mode = Mode::Eager;
        let site = w.site;
        self.sites[site].counts.diverged += 1;
        let made = std::mem::take(&mut w.made);
        for (i, g) in &made {
            let e = &self.table[*i as usize];
            if e.generation == *g && matches!(e.slot, Slot::Pending(_)) {
                self.release(*i as usize);
            }
        }
        if let Some(w) = &mut self.window {
            w.made = made;
        }
    }

    /// Leaves the plan: runs the matched prefix from the plan's list, recorded anew, so that handles already given out become real.
    pub(crate) fn diverge(&mut self, why: &str) -> Result<()> {
        if let Some(Window { site, mode: Mode::Matching(m), .. }) = &self.window {
            self.sites[*site].charge(divergence(m.cursor, m.plan.entries.len()));
        }
        self.leave_plan(why)
    }
    /// [`Engine::diverge`], for a reason that isn't the step's.
    pub(crate) fn leave_plan(&mut self, why: &str) -> Result<()> {
        let Some(w) = &mut self.window else { return Ok(()) };
        if !matches!(w.mode, Mode::Matching(_)) {
            return Ok(());
        }
        let Mode::Matching(mut m) = std::mem::replace(&mut w.mode, Mode::Recording(Recording::default())) else { return Ok(()) };
        let site = w.site;
        let s = &mut self.sites[site];
        s.counts.diverged += 1;
        s.reason = format!("op {}: {why}", m.cursor);
        if !self.mutant(1) {
            // gradient flags go back to the last launch: what is run again moves them again
            for (_, u) in m.undo.iter().rev() {
                if let Undo::Live(leaf, was) = u {
                    leaf.live.set(*was);
                }
            }
        }
        let (grad_enabled, depth) = (self.grad_enabled, self.depth);
        let mut values: Vec<Option<Tensor>> = vec![None; m.plan.values.len()];
        let mut at = 0;
        let r = self.rerun(&m, &mut values, &mut at);
        if let Some(r) = self.recording() {
            // handles that are gone already
            let passed = r.cuts.len() as u32;
            r.lives.named.iter_mut().zip(&m.plan.lives.named).for_each(|(x, y)| *x = (*x).max((*y).min(passed)));
        }
        (self.grad_enabled, self.depth) = (grad_enabled, depth);
        if r.is_err() {
            let rest = std::mem::take(&mut m.undo).into_iter().filter(|u| !matches!(u.1, Undo::Live(..)));
            self.undo_after(at, rest.collect());
            if let Some(rec) = self.recording() {
                rec.bad = Some("an op that was matched failed".into());
            }
        }
        let made = self.window.as_mut().map(|w| std::mem::take(&mut w.made)).unwrap_or_default();
        for (i, g) in &made {
            let e = &mut self.table[*i as usize];
            if let (true, Slot::Pending(v)) = (e.generation == *g, &e.slot) {
                match values[*v as usize].clone() {
                    Some(t) => e.slot = Slot::Real(t),
                    None => self.release(*i as usize),
                }
            }
        }
        if let Some(w) = &mut self.window {
            w.made = made;
        }
        r
    }

    /// `k` says how far it came.
    fn rerun(&mut self, m: &Match, values: &mut [Option<Tensor>], k: &mut usize) -> Result<()> {
        let plan = m.plan.clone();
        let external = |e: u32| m.external(e).cloned().ok_or_else(|| Error::internal("a slot that was not bound"));
        // versions as they were before what has been launched
        if !self.mutant(2) {
            for w in plan.writes.iter().filter(|w| w.entry < m.launched) {
                if let Root::External(e) = w.root {
                    external(e)?.bump(-1);
                }
            }
        }
        let mut places: HashMap<u32, Rc<Storage>> = HashMap::new();
        while *k < m.cursor {
            let e = &plan.entries[*k];
            let ins: Vec<Tensor> = e
                .ins
                .iter()
                .map(|i| match *i {
                    In::Value(v) => values[v as usize].clone().ok_or_else(|| Error::internal("a value that nothing could reach was used")),
                    In::External(x) => external(x),
                })
                .collect::<Result<_>>()?;
            self.grad_enabled = e.grad_enabled;
            let op = with_params(&e.op, &m.params);
            if *k >= m.launched {
                self.rerun_entry(m, e, op, &ins, values)?;
            } else {
                self.adopt_entry(m, *k, op, &ins, values, &mut places)?;
            }
            *k = e.end;
        }
        Ok(())
    }

    /// Runs a matched entry eagerly.
    fn rerun_entry(&mut self, m: &Match, e: &Entry, op: Op, ins: &[Tensor], values: &mut [Option<Tensor>]) -> Result<()> {
        let outs = match op {
            Op::Backward { retain } => {
                self.run_backward(&ins[0], ins.get(1), retain, false)?;
                vec![]
            }
            Op::ZeroGrad { group } => {
                self.run_zero_grad(group, e.leaves.iter().map(|l| l.leaf.clone()).collect());
                vec![]
            }
            Op::FromHost { .. } => {
                let t = host_value(m, e.first)?;
                self.finish(op, &[], vec![t])
            }
            // it has no work of its own
            Op::HostRead => {
                self.record_read(&ins[0]);
                vec![]
            }
            op => self.dispatch(op, ins)?,
        };
        for (v, t) in e.values().zip(outs) {
            values[v as usize] = Some(t);
        }
        Ok(())
    }

    /// Takes over an entry that was launched: results come from the arena, the tape is rebuilt, nothing runs.
    fn adopt_entry(
        &mut self,
        m: &Match,
        k: usize,
        mut op: Op,
        ins: &[Tensor],
        values: &mut [Option<Tensor>],
        places: &mut HashMap<u32, Rc<Storage>>,
    ) -> Result<()> {
        let plan = m.plan.clone();
        let e = &plan.entries[k];
        match op {
            Op::Backward { .. } => self.adopt_backward(m, k, ins),
            Op::ZeroGrad { .. } => {
                self.mark(op, ins, e.leaves.clone());
                Ok(())
            }
            Op::HostRead => {
                self.mark(op, ins, vec![]);
                if let Some(r) = self.recording() {
                    r.cuts.push(k);
                    r.cut(|_, v| plan.lives.held.get(v as usize) == Some(&true));
                }
                Ok(())
            }
            _ => {
                own(&mut op, k);
                if !self.mutant(2) {
                    self.bump_written(&op, ins);
                }
                let mut outs = vec![];
                for v in e.values() {
                    let value = plan.values[v as usize];
                    outs.push(match &op {
                        Op::View(_) => Tensor {
                            own_version: ins[0].own_version.clone(),
                            ..Tensor::new(ins[0].storage.clone(), crate::ops::view::layout(view_of(&op)?, &ins[0].layout)?, value.dtype)
                        },
                        Op::FromHost { .. } => host_value(m, v)?,
                        _ => Tensor::new(self.adopted_storage(&plan, v, places)?, value.layout, value.dtype),
                    });
                }
                let outs = self.finish(op, ins, outs);
                for (v, t) in e.values().zip(outs) {
                    values[v as usize] = Some(t);
                }
                Ok(())
            }
        }
    }
    /// A copy of what a launch left, for values that anything can still reach; others get no memory to speak of.
    fn adopted_storage(&mut self, plan: &Plan, v: u32, places: &mut HashMap<u32, Rc<Storage>>) -> Result<Rc<Storage>> {
        if let Some(s) = places.get(&v) {
            return Ok(s.clone());
        }
        let value = &plan.values[v as usize];
        let (bytes, device) = (value.meta().bytes(), value.device);
        // what nothing reads again may still have kernels pointed at it: it is as large as its value
        let s = Storage::new(bytes, device)?;
        if let (Some(at), Some(arena), true) = (plan.place[v as usize], self.arena(device), plan.reachable(v)) {
            arena.copy_to(at, &s, bytes)?;
        }
        places.insert(v, s.clone());
        Ok(s)
    }
    fn adopt_backward(&mut self, m: &Match, k: usize, ins: &[Tensor]) -> Result<()> {
        let plan = m.plan.clone();
        let retain = matches!(plan.entries[k].op, Op::Backward { retain: true });
        if let (Some((n, _)), false, false) = (&ins[0].node, retain, self.mutant(24)) {
            Self::consume(n);
        }
        let serial = self.window.as_ref().map_or(0, |w| w.serial);
        let raise = !self.mutant(2);
        let Some(r) = self.recording() else { return Ok(()) };
        // the expansion, word for word; its externals are numbered anew
        for s in &plan.entries[k..plan.entries[k].end] {
            let mut ids = vec![];
            for (j, i) in s.ins.iter().enumerate() {
                ids.push(match *i {
                    In::External(x) => {
                        let t = m.external(x).cloned().ok_or_else(|| Error::internal("a slot that was not bound"))?;
                        if s.op.writes() >> j & 1 == 1 {
                            r.written.insert(t.storage.id());
                            if raise {
                                t.bump(1);
                            }
                        }
                        r.input(&t, serial)
                    }
                    value => value,
                });
            }
            let outs: Vec<_> =
                s.values().map(|v| (plan.values[v as usize].layout, plan.values[v as usize].dtype, plan.values[v as usize].device)).collect();
            let n = r.push(s.op.clone(), ids, s.grad_enabled, &outs);
            r.entries[n].end = s.end;
            r.entries[n].leaves = s.leaves.clone();
        }
        Ok(())
    }
}

fn view_of(op: &Op) -> Result<&crate::op::View> {
    match op {
        Op::View(v) => Ok(v),
        _ => Err(Error::internal("not a view")),
    }
}
fn host_value(m: &Match, v: u32) -> Result<Tensor> {
    m.host_data(v).cloned().ok_or_else(|| Error::internal("host data that was not bound"))
}
/// The input at another place, under the same layout.
fn fixed_copy(t: &Tensor) -> Result<Tensor> {
    let bytes = t.layout.span() * t.dtype.size();
    let s = Storage::new(bytes, t.device())?;
    t.storage.copy_to(t.layout.offset * t.dtype.size(), &s, bytes)?;
    Ok(Tensor::new(s, crate::shape::Layout { offset: 0, ..t.layout }, t.dtype))
}
