//! Mode `full`: steps whose JavaScript doesn't run. What a site's last run of the JavaScript matched completely is launched
//! again. What the launch can take from the engine (random streams, options and counts of optimizers) it takes; all else that
//! the run depended on is compared, and a difference runs the JavaScript.
use crate::dtype::DType;
use crate::engine::{Engine, Handle, Operand, Slot};
use crate::error::{Error, Result};
use crate::op::{MAX_SCALARS, Op};
use crate::plan::Plan;
use crate::plan::matching::{Match, Undo};
use crate::plan::record::{Entry, In, LeafFlag};
use crate::tensor::{Ident, Leaf, Tensor};
use crate::window::{Mode, Window};
use std::cell::Cell;
use std::collections::HashSet;
use std::rc::Rc;

/// A handle's index and generation.
type Name = (u32, u32);

/// Noted while the JavaScript of a window in mode `full` runs.
#[derive(Default)]
pub(crate) struct Watch {
    args: Vec<(Handle, Ident)>,
    autocast: Option<DType>,
    /// Entry, operand, and the handle that named it.
    names: Vec<(usize, usize, Name)>,
    /// Entry, and the number of the stream that it drew from.
    streams: Vec<(usize, u32)>,
    /// Leaves that were asked for their gradient.
    asked: Vec<Rc<Leaf>>,
    /// What it did that a launch doesn't.
    impure: Option<&'static str>,
}

/// Where a plan's external comes from.
enum Source {
    Arg(usize),
    Handle(Name),
    /// A group's flat buffer or a leaf's gradient, which are compared as such.
    State,
}

/// The plan that the last run of a site's JavaScript matched completely, and what that run depended on.
pub(crate) struct Proven {
    plan: Rc<Plan>,
    /// The run's scalars.
    params: Vec<f64>,
    grad_enabled: bool,
    autocast: Option<DType>,
    args: Vec<Ident>,
    sources: Vec<Source>,
    streams: Vec<(usize, u32)>,
    /// Leaves with their gradient-exists flag at the start and the memory of their gradient.
    leaves: Vec<LeafFlag>,
    /// Optimizer groups whose buffers it uses.
    groups: Vec<usize>,
    /// By returned handle: its value, or none for a tensor from outside.
    returned: Vec<Option<u32>>,
}

impl Proven {
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

/// Which tensors of a call are one: by tensor, the first that is the same.
fn aliases(args: &[Ident]) -> Vec<Option<usize>> {
    args.iter().map(|a| args.iter().position(|b| a == b)).collect()
}
/// What JavaScript can tell of a tensor.
fn looks_like(a: &Ident, b: &Ident) -> bool {
    a.layout.shape == b.layout.shape
        && a.layout.strides() == b.layout.strides()
        && a.dtype == b.dtype
        && a.device == b.device
        && a.requires_grad == b.requires_grad
}
impl Engine {
    // ---- while the JavaScript runs

    /// Notes the arguments of a window in mode `full`.
    pub(crate) fn watch(&self, args: &[Handle]) -> Watch {
        let mut watch = Watch { autocast: self.autocast(), ..Watch::default() };
        for h in args {
            match self.real(*h) {
                Ok(t) if t.node.is_none() => watch.args.push((*h, t.ident())),
                Ok(_) => watch.impure = Some("an argument carries a tape from outside"),
                Err(_) => watch.impure = Some("an argument was disposed"),
            }
        }
        watch
    }
    fn watched(&mut self) -> Option<&mut Watch> {
        self.window.as_mut().and_then(|w| w.watch.as_deref_mut())
    }
    /// The window's JavaScript does what a launch of its plan doesn't.
    pub(crate) fn impure(&mut self, why: &'static str) {
        if let Some(w) = self.watched() {
            w.impure.get_or_insert(why);
        }
    }
    pub fn needs_javascript(&mut self) {
        self.impure("it counts in JavaScript");
    }
    pub(crate) fn note_grad_asked(&mut self, leaf: &Rc<Leaf>) {
        if let Some(w) = self.watched() {
            w.asked.push(leaf.clone());
        }
    }
    /// The handles that named the operands of the entry just matched.
    pub(crate) fn note_names(&mut self, entry: usize, operands: &[Operand]) {
        if self.watched().is_none() {
            return;
        }
        let names: Vec<_> = operands
            .iter()
            .enumerate()
            .filter_map(|(j, o)| match o {
                Operand::Handle(i) => Some((entry, j, (*i as u32, self.table[*i].generation))),
                Operand::Tensor(_) => None,
            })
            .collect();
        if let Some(w) = self.watched() {
            w.names.extend(names);
        }
    }
    /// The entry just matched drew from this stream.
    pub(crate) fn note_stream(&mut self, stream: u32) {
        let Some(entry) = self.matched().and_then(|m| m.cursor.checked_sub(1)) else { return };
        if let Some(w) = self.watched() {
            w.streams.push((entry, stream));
        }
    }

    // ---- at its end

    /// Handles of the window that live on, other than those returned, are effects that a launch doesn't have.
    pub(crate) fn note_survivors(&mut self, keep: &[Handle]) {
        let Some(w) = &self.window else { return };
        if w.watch.is_none() {
            return;
        }
        let kept: HashSet<Name> = keep.iter().map(|h| name_of(*h)).collect();
        let lives_on = w.made.iter().any(|(i, g)| {
            let e = &self.table[*i as usize];
            e.generation == *g
                && match e.slot {
                    Slot::Pending(_) => !kept.contains(&(*i, *g)),
                    Slot::Real(_) => true,
                    Slot::Free => false,
                }
        });
        if lives_on {
            self.impure("a tensor outlives it that no op made, or that isn't returned");
        }
    }
    /// By kept handle: its value in the plan, or none for a tensor from outside.
    pub(crate) fn returned_values(&self, keep: &[Handle]) -> Vec<Option<u32>> {
        let value = |h: &Handle| match self.table[self.index(*h).ok()?].slot {
            Slot::Pending(v) => Some(v),
            _ => None,
        };
        keep.iter().map(value).collect()
    }
    /// A window closed with `m` matched to its end.
    pub(crate) fn prove(&mut self, site: usize, m: Match, watch: Watch, grad_enabled: bool, returned: Vec<Option<u32>>) {
        let proven = self.proof(m, watch, grad_enabled, returned);
        let s = &mut self.sites[site];
        match proven {
            Ok(p) => s.proven = Some(Box::new(p)),
            Err(why) => s.reason = why.into(),
        }
    }
    fn proof(&self, m: Match, watch: Watch, grad_enabled: bool, returned: Vec<Option<u32>>) -> std::result::Result<Proven, &'static str> {
        let plan = m.plan;
        if let Some(why) = plan.not_full.or(watch.impure) {
            return Err(why);
        }
        let mut leaves: Vec<LeafFlag> = plan.before.clone();
        let mut untouched = |leaf: &Rc<Leaf>| {
            if !leaves.iter().any(|f| Rc::ptr_eq(&f.leaf, leaf)) {
                leaves.push(LeafFlag { leaf: leaf.clone(), had: leaf.live.get(), buffer: 0 });
            }
        };
        watch.asked.iter().for_each(&mut untouched);
        let mut groups: Vec<usize> = vec![];
        for x in &plan.externals {
            if let Some((g, group)) = self.groups.iter().find(|(_, g)| g.has_moments(x.id.storage))
                && !groups.contains(&g)
            {
                groups.push(g);
                group.leaves().for_each(&mut untouched);
            }
        }
        for f in &mut leaves {
            f.buffer = f.leaf.buffer();
        }
        let mut named: Vec<Option<Name>> = vec![None; plan.externals.len()];
        for (k, j, name) in watch.names {
            if let In::External(e) = plan.entries[k].ins[j] {
                named[e as usize] = Some(name);
            }
        }
        let mut sources = vec![];
        for (x, name) in plan.externals.iter().zip(named) {
            let arg = name.and_then(|n| watch.args.iter().position(|a| name_of(a.0) == n));
            // a handle that the run made itself names nothing now
            let name = name.filter(|n| {
                let e = &self.table[n.0 as usize];
                e.generation == n.1 && matches!(&e.slot, Slot::Real(t) if x.id.is(t))
            });
            sources.push(match (arg, name) {
                (Some(a), _) => Source::Arg(a),
                _ if x.slot => return Err("an input that changes from step to step is not an argument"),
                (None, Some(n)) => Source::Handle(n),
                _ if groups.iter().any(|g| self.groups[*g].holds(x.id.storage)) => Source::State,
                _ if leaves.iter().any(|f| f.buffer == x.id.storage) => Source::State,
                _ => return Err("it uses a tensor that no handle from outside names"),
            });
        }
        let drawn = |k: usize| watch.streams.iter().any(|s| s.0 == k);
        if plan.entries.iter().enumerate().any(|(k, e)| draws(e, k).is_some() && !drawn(k)) {
            return Err("it draws random numbers from a stream that isn't known");
        }
        Ok(Proven {
            params: m.params,
            grad_enabled,
            autocast: watch.autocast,
            args: watch.args.into_iter().map(|a| a.1).collect(),
            sources,
            streams: watch.streams,
            leaves,
            groups,
            returned,
            plan,
        })
    }
    /// By tensor that the site's last window returned, the value that it is, or -1 for one from outside; `None` if the window
    /// must run again with its JavaScript.
    pub fn full_form(&self, site: u32) -> Option<Vec<i32>> {
        let p = self.sites.get(site as usize)?.proven.as_ref()?;
        Some(p.returned.iter().map(|v| v.map_or(-1, |v| v as i32)).collect())
    }

    // ---- steps without their JavaScript

    /// Launches what the site's last window matched `steps` times, on consecutive groups of `args`, and gives the last step's
    /// results; `None` if the steps must run with their JavaScript. Uses up the options that optimizers offered.
    pub fn full(&mut self, site: u32, args: &[Handle], steps: usize) -> Result<Option<Vec<Handle>>> {
        let done = self.full_now(site, args, steps);
        self.forget_offers();
        done
    }
    fn full_now(&mut self, site: u32, args: &[Handle], steps: usize) -> Result<Option<Vec<Handle>>> {
        let site = site as usize;
        if self.sites.get(site).is_none() {
            return Err(Error::internal("no such window"));
        }
        if self.window.is_some() || steps == 0 {
            return Ok(None);
        }
        let Some(proven) = self.sites[site].proven.take() else { return Ok(None) };
        let count = proven.args.len();
        let tensors: Option<Vec<Tensor>> = args.iter().map(|h| self.real(*h).ok()).collect();
        let Some(tensors) = tensors.filter(|t| t.len() == count * steps && self.applies(&proven, t, steps)) else {
            self.sites[site].proven = Some(proven);
            return Ok(None);
        };
        self.windows += 1;
        self.window = Some(Window::eager(site, self.windows, self.scope, self.grad_enabled));
        let results = self.full_steps(&proven, site, &tensors, steps);
        self.window = None;
        let results = results?;
        self.sites[site].proven = Some(proven);
        results.into_iter().map(|t| self.put(Slot::Real(t))).collect::<Result<_>>().map(Some)
    }

    /// Whether JavaScript would do the same again, `steps` times on these arguments.
    fn applies(&self, p: &Proven, args: &[Tensor], steps: usize) -> bool {
        let plan = &p.plan;
        // the flags that a step leaves behind are the next one's
        let repeats = || plan.before.iter().all(|b| plan.after.iter().all(|a| !Rc::ptr_eq(&a.leaf, &b.leaf) || a.had == b.had));
        (p.grad_enabled == self.grad_enabled || self.mutant(61))
            && (p.autocast == self.autocast())
            && (steps == 1 || repeats())
            && p.leaves.iter().all(LeafFlag::holds)
            && p.groups.iter().all(|g| self.groups.get(*g).is_some_and(|g| !g.is_behind()))
            && plan.externals.iter().zip(&p.sources).all(|(x, s)| match s {
                Source::Handle((i, g)) => {
                    let e = &self.table[*i as usize];
                    e.generation == *g && matches!(&e.slot, Slot::Real(t) if t.node.is_none() && (x.id.is(t) || self.mutant(63)))
                }
                _ => true,
            })
            && (p.args.is_empty() || args.chunks(p.args.len()).all(|step| self.takes(p, step)))
            && self.updates_as(p, steps)
    }
    /// Whether the plan takes these arguments of one step.
    fn takes(&self, p: &Proven, step: &[Tensor]) -> bool {
        let ids: Vec<Ident> = step.iter().map(Tensor::ident).collect();
        step.iter().all(|t| t.node.is_none())
            && ids.iter().zip(&p.args).all(|(a, b)| looks_like(a, b))
            && (aliases(&ids) == aliases(&p.args) || self.mutant(64))
            && p.plan.externals.iter().zip(&p.sources).all(|(x, s)| match s {
                Source::Arg(a) if x.slot => x.id.fits(&ids[*a]) && !p.plan.written.contains(&ids[*a].storage),
                Source::Arg(a) => x.id.is(&step[*a]),
                _ => true,
            })
    }
    /// Whether optimizers would do the same updates, with other numbers maybe.
    fn updates_as(&self, p: &Proven, steps: usize) -> bool {
        // groups whose optimizer steps, but which had no gradients
        let mut idle = self.groups.iter().filter(|(g, group)| group.offered.is_some() && !p.groups.contains(g));
        if idle.any(|(_, group)| group.leaves().any(|leaf| leaf.live.get())) {
            return false;
        }
        let mut done: Vec<Rc<Cell<u64>>> = vec![];
        // only a first update is unlike the next
        for _ in 0..steps.min(2) {
            for e in p.plan.entries.iter().filter(|e| matches!(e.op, Op::Sgd { .. } | Op::AdamW { .. })) {
                let Some((g, counts)) = self.updates(&p.plan, e) else { return false };
                let same = match (&e.op, &self.groups[g].offered) {
                    (Op::Sgd { nesterov, maximize, .. }, Some(Op::Sgd { nesterov: n, maximize: m, .. })) => nesterov == n && maximize == m,
                    (Op::AdamW { maximize, .. }, Some(Op::AdamW { maximize: m, .. })) => maximize == m,
                    _ => false,
                };
                let now: Vec<u64> = counts.iter().map(|c| c.get() + done.iter().filter(|d| Rc::ptr_eq(d, c)).count() as u64).collect();
                let Some(first) = now.first().copied() else { return false };
                let fresh = !matches!(e.op, Op::Sgd { fresh, .. } if fresh != (first == 0));
                if !same || !fresh || now.iter().any(|n| *n != first) {
                    return false;
                }
                done.extend(counts);
            }
        }
        true
    }
    /// The group that an entry updates, and the counts of the parameters that it does.
    fn updates(&self, plan: &Plan, e: &Entry) -> Option<(usize, Vec<Rc<Cell<u64>>>)> {
        let (Op::Sgd { ranges, .. } | Op::AdamW { ranges, .. }) = &e.op else { return None };
        let In::External(x) = *e.ins.get(2)? else { return None };
        let storage = plan.externals[x as usize].id.storage;
        let (g, group) = self.groups.iter().find(|(_, g)| g.has_moments(storage))?;
        Some((g, group.counts(storage, ranges)))
    }

    /// Launches the steps, several together where the plan can; gives the last one's results.
    fn full_steps(&mut self, p: &Proven, site: usize, args: &[Tensor], steps: usize) -> Result<Vec<Tensor>> {
        let (plan, count) = (&p.plan, p.args.len());
        let debug = self.debug.poison || self.debug.copy_slots;
        let mut done = 0;
        while done < steps {
            let size = if debug { 1 } else { plan.group_size(steps - done) };
            let mut group: Vec<Match> = (done..done + size).map(|s| self.full_match(p, &args[s * count..(s + 1) * count])).collect();
            self.launch_full(plan, &mut group)?;
            for f in &plan.after {
                f.leaf.live.set(f.had);
            }
            done += size;
            self.sites[site].counts.full += size as u64;
            if done == steps {
                let values: Vec<u32> = p.returned.iter().flatten().copied().collect();
                return self.values_out(&values);
            }
        }
        Ok(vec![])
    }
    fn launch_full(&mut self, plan: &Rc<Plan>, group: &mut Vec<Match>) -> Result<()> {
        let together = group.len() > 1;
        if together {
            self.launch_group(plan, group)?;
        }
        let Some(mut last) = group.pop() else { return Err(Error::internal("a group without steps")) };
        if together {
            last.launched = last.cursor;
        }
        if let Some(w) = &mut self.window {
            w.mode = Mode::Matching(last);
        }
        self.launch()
    }
    /// A complete match of the plan with these arguments.
    fn full_match(&mut self, p: &Proven, args: &[Tensor]) -> Match {
        let plan = &p.plan;
        let mut m = Match::new(plan.clone());
        m.params.clone_from(&p.params);
        for (i, (x, s)) in plan.externals.iter().zip(&p.sources).enumerate() {
            if let (true, Source::Arg(a)) = (x.slot, s) {
                m.slots[i] = args.get(*a).cloned();
            }
        }
        for k in 0..plan.entries.len() {
            self.fresh_scalars(p, k, &mut m);
        }
        m.cursor = plan.entries.len();
        m
    }
    /// What an entry takes from the engine: its place in a random stream, an optimizer's options and the number of the update.
    fn fresh_scalars(&mut self, p: &Proven, k: usize, m: &mut Match) {
        let e = &p.plan.entries[k];
        let params = &mut m.params[k * MAX_SCALARS..(k + 1) * MAX_SCALARS];
        if let Some(at) = draws(e, k) {
            let n = p.plan.values[e.first as usize].layout.numel();
            let number = if self.mutant(62) {
                self.streams.iter().position(|s| s.seed == params[at])
            } else {
                p.streams.iter().find(|s| s.0 == k).map(|s| s.1 as usize)
            };
            if let Some((number, s)) = number.and_then(|i| Some((i, self.streams.get_mut(i)?))) {
                m.undo.push((k, Undo::Stream(number, *s)));
                (params[at], params[at + 1]) = (s.seed, s.take(n));
            }
        } else if let Some((g, counts)) = self.updates(&p.plan, e) {
            if let Some(mut options) = self.groups[g].offered.clone() {
                for (to, s) in params.iter_mut().zip(options.scalars_mut()) {
                    *to = s.recorded();
                }
            }
            for steps in counts {
                m.undo.push((k, Undo::Steps(steps.clone(), steps.get())));
                steps.set(steps.get() + 1);
                if matches!(e.op, Op::AdamW { .. }) {
                    params[5] = steps.get() as f64;
                }
            }
        }
    }
}

/// The scalar of an entry that is a stream's seed, before its offset, if the entry draws numbers of its own.
fn draws(e: &Entry, k: usize) -> Option<usize> {
    let (offset, at) = match &e.op {
        Op::Dropout { offset, .. } => (offset, 1),
        Op::Random { offset, .. } => (offset, 0),
        _ => return None,
    };
    (offset.source() == Some(k * MAX_SCALARS + at + 1)).then_some(at)
}
fn name_of(h: Handle) -> Name {
    let (i, g) = crate::engine::split(h);
    (i as u32, g)
}
