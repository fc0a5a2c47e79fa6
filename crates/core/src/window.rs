//! Step windows: what runs between `window_begin` and `window_end` is eager, recorded or matched, with the same results.
use crate::cpu::Arg;
use crate::device::{self, Device, transfer};
use crate::engine::{Engine, Handle, Slot};
use crate::error::{Code, Error, Result};
use crate::full::{Proven, Watch};
use crate::op::Op;
use crate::plan::matching::Match;
use crate::plan::record::{External, Recording};
use crate::plan::{Plan, Root};
use crate::reserve;
use crate::shape::Layout;
use crate::storage::Storage;
use crate::tensor::{Meta, Tensor};
use std::collections::{HashMap, HashSet, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::rc::Rc;

/// Plans that a site keeps, and recordings that wait for a twin; of very long ones fewer.
const PLANS: usize = 32;
const WAITING: usize = 32;
const FEWER: usize = 8;
/// Entries of all plans, or of all recordings, from which on a site keeps fewer.
const ENTRIES: usize = 100_000;

/// A site's credit: what it may spend on recordings, plans and divergences that come to nothing. A hit earns 1. When it is
/// used up the site leaves its windows alone for a while, twice as long each time until it has earned all of it again.
const CREDIT: i32 = 40;
/// The credit after such a rest, as a part of its windows: it bounds what trying costs for ever.
const PROBE: u32 = 8;
const REST: (u32, u32) = (32, 4096);
/// What a recording without a twin costs, and a plan until its first hit.
const RECORDING: i32 = 1;
const BUILD: i32 = 4;
/// What leaving a plan of `entries` after `cursor` of them costs: little is done twice at its beginning.
pub(crate) fn divergence(cursor: usize, entries: usize) -> i32 {
    (4 * cursor > entries) as i32
}
/// Sites whose first window may be recorded in vain; then new sites wait for their second.
pub(crate) const SITES_CREDIT: u32 = 64;

pub(crate) enum Mode {
    Eager,
    Recording(Recording),
    Matching(Match),
    /// What was matched failed while another task ran; the step's own next op says so.
    Failed(Error),
}
pub(crate) struct Window {
    pub site: usize,
    pub serial: u64,
    pub mode: Mode,
    /// Handles made inside.
    pub made: Vec<(u32, u32)>,
    /// The scope around it.
    pub outer: u32,
    grad_enabled: bool,
    /// In mode `full`.
    pub watch: Option<Box<Watch>>,
}
impl Window {
    /// One whose ops run at once.
    pub fn eager(site: usize, serial: u64, outer: u32, grad_enabled: bool) -> Window {
        Window { site, serial, mode: Mode::Eager, made: vec![], outer, grad_enabled, watch: None }
    }
}

#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    pub windows: u64,
    /// Windows whose work was a plan's.
    pub matched: u64,
    pub eager: u64,
    /// Windows that left a plan.
    pub diverged: u64,
    pub switched: u64,
    /// Steps that ran without their JavaScript.
    pub full: u64,
    /// Launches in the middle of a window, for a host read.
    pub cuts: u64,
}

/// A place in the program that opens windows.
#[derive(Default)]
pub(crate) struct Site {
    name: String,
    pub plans: Vec<Rc<Plan>>,
    waiting: VecDeque<Recording>,
    /// What the last window matched completely, for mode `full`.
    pub proven: Option<Box<Proven>>,
    pub counts: Counts,
    pub reason: String,
    credit: i32,
    /// Windows to leave alone, and how many the next rest takes.
    rest: u32,
    next_rest: u32,
}
impl Site {
    pub fn charge(&mut self, cost: i32) {
        self.credit -= cost;
        if self.credit < 0 {
            (self.rest, self.credit) = (self.next_rest, (self.next_rest / PROBE) as i32);
            self.next_rest = (self.next_rest * 2).min(REST.1);
        }
    }
    fn hit(&mut self, first: bool) {
        self.credit += 1 + if first { BUILD } else { 0 };
        if self.credit >= CREDIT {
            (self.credit, self.next_rest) = (CREDIT, REST.0);
        }
    }
    /// Drops what is too much, the oldest plans and recordings.
    fn trim(&mut self) {
        fn keep(sizes: impl Iterator<Item = usize>, most: usize) -> usize {
            let mut sum = 0;
            sizes
                .take(most)
                .enumerate()
                .take_while(|(i, n)| {
                    sum += n;
                    *i < FEWER || sum <= ENTRIES
                })
                .count()
        }
        self.plans.truncate(keep(self.plans.iter().map(|p| p.entries.len()), PLANS));
        self.waiting.truncate(keep(self.waiting.iter().map(|r| r.entries.len()), WAITING));
    }
}

/// How a site's windows ran, and why not otherwise.
#[derive(Clone, Debug)]
pub struct Report {
    pub name: String,
    pub counts: Counts,
    pub plans: usize,
    /// Of the plan used last: ops as called, and kernels that they became.
    pub ops: usize,
    pub kernels: usize,
    pub arena_bytes: usize,
    /// Why the last window that was not replayed wasn't.
    pub reason: String,
}

impl Engine {
    pub fn new_site(&mut self, name: impl Into<String>) -> Result<u32> {
        let rest = (self.credit == 0) as u32;
        self.sites.insert(Site { name: name.into(), credit: CREDIT, rest, next_rest: REST.0, ..Site::default() })
    }
    fn site(&self, site: u32) -> Result<&Site> {
        self.sites.get(site as usize).ok_or_else(|| Error::new(Code::Disposed, "the captured function was disposed"))
    }
    /// Gives up a site's plans and all that they hold; if its window is open, once that has closed.
    pub fn free_site(&mut self, site: u32) {
        self.dead_sites.push(site as usize);
        self.bury_sites();
    }
    /// Gives up all sites' plans and recordings that use memory which is gone.
    pub(crate) fn forget_steps(&mut self, gone: &[u64]) {
        let uses = |externals: &[External]| externals.iter().any(|x| gone.contains(&x.id.storage));
        for s in self.sites.values_mut() {
            s.plans.retain(|p| !uses(&p.externals));
            s.waiting.retain(|r| !uses(&r.externals));
            if s.proven.as_ref().is_some_and(|p| uses(&p.plan().externals)) {
                s.proven = None;
            }
        }
    }
    fn bury_sites(&mut self) {
        for site in std::mem::take(&mut self.dead_sites) {
            if self.window.iter().chain(&self.contexts.windows).any(|w| w.site == site) {
                self.dead_sites.push(site);
            } else {
                self.sites.remove(site);
            }
        }
    }
    /// Opens a window and a scope. False inside of another window: it is an ordinary scope then, which the caller opens.
    /// `full`: the arguments of a window whose JavaScript may be skipped later.
    pub fn window_begin(&mut self, site: u32, auto: bool, full: Option<&[Handle]>) -> Result<bool> {
        if self.window.is_some() {
            return Ok(false);
        }
        self.bury_sites();
        self.site(site)?;
        self.windows += 1;
        let debug = self.debug;
        let s = &mut self.sites[site as usize];
        s.counts.windows += 1;
        if debug.mutant != 60 {
            s.proven = None;
        }
        let resting = s.rest > 0 && !debug.poison;
        s.rest = s.rest.saturating_sub(1);
        let mode = if !auto || resting {
            Mode::Eager
        } else if let Some(p) = s.plans.first() {
            Mode::Matching(Match::new(p.clone()))
        } else {
            if s.counts.windows == 1 {
                self.credit = self.credit.saturating_sub(1);
            }
            Mode::Recording(Recording::default())
        };
        let watch = full.map(|args| Box::new(self.watch(args)));
        let (outer, grad_enabled) = (self.scope, self.grad_enabled);
        self.window = Some(Window { mode, watch, ..Window::eager(site as usize, self.windows, outer, grad_enabled) });
        self.scope_begin();
        Ok(true)
    }

    /// Closes the window, whatever happens: frees what was made inside but `keep`, and launches what was matched. `failed`: user code
    /// threw; what it did before stands, as in eager mode.
    pub fn window_end(&mut self, keep: &[Handle], failed: bool) -> Result<()> {
        let done = catch_unwind(AssertUnwindSafe(|| self.close_window(keep, failed)));
        if !matches!(done, Ok(Ok(()))) && self.window.is_some() {
            self.abandon();
            self.close_eager(true);
        }
        done.unwrap_or_else(|panic| resume_unwind(panic))
    }
    fn close_window(&mut self, keep: &[Handle], failed: bool) -> Result<()> {
        let Some(w) = &self.window else { return Ok(()) };
        let (outer, grad_enabled) = (w.outer, w.grad_enabled);
        let mut result = self.raise_failure();
        if failed {
            result = result.and(self.diverge("an exception left the window"));
        }
        self.end_scopes(outer, keep)?;
        self.grad_enabled = grad_enabled;
        if self.matching() {
            self.note_survivors(keep);
            match self.close_matched(keep) {
                Ok(true) => return result,
                // a launch failed: nothing is left to adopt
                Err(e) => result = Err(e),
                Ok(false) => result = self.diverge("a tensor outlives the window that didn't when it was recorded"),
            }
        }
        self.close_eager(failed || result.is_err());
        result
    }

    /// The error of what was matched when another task interrupted the window, once.
    pub(crate) fn raise_failure(&mut self) -> Result<()> {
        match &mut self.window {
            Some(Window { mode: mode @ Mode::Failed(_), .. }) => match std::mem::replace(mode, Mode::Eager) {
                Mode::Failed(e) => Err(e),
                _ => Ok(()),
            },
            _ => Ok(()),
        }
    }

    /// Launches the plan if the window is it, or a beginning of it, and nothing outlives it but what the plan keeps.
    fn close_matched(&mut self, keep: &[Handle]) -> Result<bool> {
        let alive = self.pending();
        let (no3, no4) = (self.mutant(3), self.mutant(4));
        let fits = |p: &Plan, cursor: usize| {
            (if no4 { p.entries.len() == cursor } else { p.entries.len() >= cursor && p.may_end(cursor) })
                && (no3 || alive.iter().all(|(_, _, v)| p.outputs.contains(v)))
        };
        let Some(m) = self.matched() else { return Ok(false) };
        let cursor = m.cursor;
        if !fits(&m.plan, cursor) && self.switch(&|_, p, _, _| fits(p, cursor)).is_none() {
            return Ok(false);
        }
        let returned = self.returned_values(keep);
        self.launch()?;
        self.materialise(&alive)?;
        let Some(Window { mode: Mode::Matching(m), site, watch, grad_enabled, .. }) = self.window.take() else { return Ok(false) };
        let first = m.plan.hits.get() == 0;
        m.plan.hits.set(m.plan.hits.get() + 1);
        let s = &mut self.sites[site];
        s.counts.matched += 1;
        s.hit(first);
        // most recently used first
        if let Some(i) = s.plans.iter().position(|p| Rc::ptr_eq(p, &m.plan)).filter(|i| *i > 0) {
            let p = s.plans.remove(i);
            s.plans.insert(0, p);
        }
        if let Some(watch) = watch
            && m.cursor == m.plan.entries.len()
        {
            self.prove(site, m, *watch, grad_enabled, returned);
        }
        Ok(true)
    }

    fn close_eager(&mut self, failed: bool) {
        let Some(w) = self.window.take() else { return };
        // the tape ends with the window, in every mode
        let mut outputs = HashSet::new();
        for (i, g) in &w.made {
            let e = &mut self.table[*i as usize];
            if let (true, Slot::Real(t)) = (e.generation == *g, &mut e.slot) {
                if t.node.take().is_some() {
                    t.requires_grad = false;
                }
                if t.origin.0 == w.serial {
                    outputs.insert(t.origin.1);
                }
            }
        }
        let site = w.site;
        self.sites[site].counts.eager += 1;
        let Mode::Recording(mut r) = w.mode else { return };
        let s = &mut self.sites[site];
        if failed {
            return s.charge(RECORDING);
        }
        if let Some(why) = r.bad {
            s.reason = why;
            return s.charge(RECORDING);
        }
        outputs.iter().for_each(|v| r.unname(*v));
        r.outputs = outputs;
        let debug = self.debug;
        let s = &mut self.sites[site];
        let twin = s.waiting.iter().position(|p| p.agrees(&r)).and_then(|i| s.waiting.remove(i));
        let Some(twin) = twin else {
            s.charge(RECORDING);
            if s.waiting.len() >= FEWER && s.plans.is_empty() {
                s.reason = "no two of the last steps made the same ops".into();
            }
            r.forget_tensors();
            s.waiting.push_front(r);
            s.trim();
            return;
        };
        self.credit = SITES_CREDIT;
        match Plan::build(&twin, r, debug) {
            Ok(p) => {
                s.plans.retain(|q| !p.supersedes(q));
                s.plans.insert(0, Rc::new(p));
                s.trim();
                s.charge(BUILD);
            }
            Err(why) => {
                s.reason = why;
                s.charge(BUILD);
            }
        }
    }

    /// Live handles of the window that are still promises.
    fn pending(&self) -> Vec<(u32, u32, u32)> {
        let Some(w) = &self.window else { return vec![] };
        w.made
            .iter()
            .filter_map(|(i, g)| match &self.table[*i as usize] {
                e if e.generation == *g => match e.slot {
                    Slot::Pending(v) => Some((*i, *g, v)),
                    _ => None,
                },
                _ => None,
            })
            .collect()
    }

    /// Handles that outlive the window get memory of their own.
    fn materialise(&mut self, alive: &[(u32, u32, u32)]) -> Result<()> {
        let values: Vec<u32> = alive.iter().map(|a| a.2).collect();
        for ((i, _, _), t) in alive.iter().zip(self.values_out(&values)?) {
            self.table[*i as usize].slot = Slot::Real(t);
        }
        Ok(())
    }
    /// Launched values with memory of their own: one copy per arena place (views of it stay views of one another).
    pub(crate) fn values_out(&self, values: &[u32]) -> Result<Vec<Tensor>> {
        let Some(m) = self.matched() else { return Ok(vec![]) };
        let plan = &m.plan;
        let mut copies: HashMap<u32, Rc<Storage>> = HashMap::new();
        let mut out = vec![];
        for v in values {
            let key = |r: u32| if self.mutant(5) { *v } else { r };
            let value = plan.values[*v as usize];
            out.push(match plan.roots[*v as usize] {
                Root::Arena(r) => {
                    let s = match copies.get(&key(r)) {
                        Some(s) => s.clone(),
                        None => {
                            let s = self.copy_of_place(plan, r)?;
                            copies.insert(key(r), s.clone());
                            s
                        }
                    };
                    Tensor::new(s, value.layout, value.dtype)
                }
                root => self.outside_value(m, root, &value).ok_or_else(|| Error::internal("a value without memory"))?,
            });
        }
        Ok(out)
    }
    fn copy_of_place(&self, plan: &Plan, r: u32) -> Result<Rc<Storage>> {
        let value = &plan.values[r as usize];
        let (Some(at), Some(arena)) = (plan.place[r as usize], self.arena(value.device)) else {
            return Err(Error::internal("a value that was not pinned"));
        };
        let bytes = value.meta().bytes();
        let s = Storage::new(bytes, value.device)?;
        arena.copy_to(at, &s, bytes)?;
        Ok(s)
    }
    /// A value that is a view of an external tensor or of host data.
    pub(crate) fn outside_value(&self, m: &Match, root: Root, value: &crate::plan::record::Value) -> Option<Tensor> {
        match root {
            Root::External(e) => {
                let (t, id) = (m.external(e)?, &m.plan.externals[e as usize].id);
                // recorded against the external's offset at that time
                let offset = value.layout.offset - id.layout.offset + t.layout.offset;
                Some(Tensor { own_version: t.own_version.clone(), ..Tensor::new(t.storage.clone(), Layout { offset, ..value.layout }, value.dtype) })
            }
            Root::Bound(v) => m.host_data(v).map(|t| Tensor::new(t.storage.clone(), value.layout, value.dtype)),
            Root::Arena(_) => None,
        }
    }

    // ---- host reads

    /// The elements of `h`, row-major. In a window this cuts the plan, if the memory has work to come.
    pub fn read(&mut self, h: Handle) -> Result<(Meta, Vec<u8>)> {
        let i = self.index(h)?;
        self.impure("it reads a value");
        if self.matching() {
            if let Some(t) = self.readable_now(i)? {
                return bytes_of(&t);
            }
            if let Some(t) = self.read_at_cut(i)? {
                return bytes_of(&t);
            }
        }
        let t = self.real(h)?;
        self.record_read(&t);
        bytes_of(&t)
    }
    /// Memory with no unlaunched write: read at once, and not an entry.
    fn readable_now(&mut self, i: usize) -> Result<Option<Tensor>> {
        let Some(m) = self.matched() else { return Ok(None) };
        let unlaunched = |root, storage| m.plan.writes_between(m.launched, m.cursor, root, storage);
        match &self.table[i].slot {
            Slot::Real(t) => {
                let waits = unlaunched(None, Some(t.storage.id()));
                Ok((!waits || self.mutant(14)).then(|| t.clone()))
            }
            Slot::Pending(v) => {
                let value = m.plan.values[*v as usize];
                let root = m.plan.roots[*v as usize];
                let storage = match root {
                    Root::External(e) if !m.plan.externals[e as usize].slot => Some(m.plan.externals[e as usize].id.storage),
                    _ => None,
                };
                let computed = match root {
                    Root::Arena(r) => (m.plan.values[r as usize].entry as usize) < m.launched,
                    _ => true,
                } && (value.entry as usize) < m.launched;
                if computed && !unlaunched(Some(root), storage) { self.launched_value(*v).map(Some) } else { Ok(None) }
            }
            Slot::Free => Ok(None),
        }
    }
    fn read_at_cut(&mut self, i: usize) -> Result<Option<Tensor>> {
        if self.try_match(&mut Op::HostRead, &[crate::engine::Operand::Handle(i)]).is_none() {
            self.diverge("a host read that the plan doesn't have here")?;
            return Ok(None);
        }
        if !self.alive_as_recorded() && !self.mutant(13) {
            if let Some(m) = self.matched_mut() {
                m.cursor -= 1;
            }
            self.diverge("at the host read a tensor is alive that wasn't when it was recorded")?;
            return Ok(None);
        }
        self.launch()?;
        if let Some(w) = &self.window {
            let site = w.site;
            self.sites[site].counts.cuts += 1;
        }
        match &self.table[i].slot {
            Slot::Real(t) => Ok(Some(t.clone())),
            Slot::Pending(v) => self.launched_value(*v).map(Some),
            Slot::Free => Ok(None),
        }
    }
    /// At the host read that was just matched: no handle names a value that none named when the plan was recorded. Handles from
    /// before the last read are only asked for where the recording's went since.
    fn alive_as_recorded(&mut self) -> bool {
        let Some(Window { mode: Mode::Matching(m), made, .. }) = &mut self.window else { return false };
        let Ok(cut) = m.plan.cuts.binary_search(&(m.cursor - 1)) else { return false };
        let table = &self.table;
        let named = |i: u32, g: u32| match &table[i as usize] {
            e if e.generation == g => {
                if let Slot::Pending(v) = e.slot {
                    Some(v)
                } else {
                    None
                }
            }
            _ => None,
        };
        let gone = |v: &u32| match m.named.binary_search_by_key(v, |n| n.0) {
            Ok(at) => named(m.named[at].1, m.named[at].2).is_none(),
            Err(_) => true,
        };
        let mut known = m.plan.ended[cut].iter().all(gone);
        for (i, g) in &made[m.looked_at..] {
            if let Some(v) = named(*i, *g) {
                known &= m.plan.lives.named[v as usize] as usize > cut;
                m.named.push((v, *i, *g));
            }
        }
        m.looked_at = made.len();
        known
    }
    /// A launched value where it lies.
    pub(crate) fn launched_value(&self, v: u32) -> Result<Tensor> {
        let m = self.matched().ok_or_else(|| Error::internal("no plan"))?;
        let value = m.plan.values[v as usize];
        match m.plan.roots[v as usize] {
            Root::Arena(r) => {
                let (Some(at), Some(arena)) = (m.plan.place[r as usize], self.arena(value.device)) else {
                    return Err(Error::internal("a value that was not pinned"));
                };
                let layout = Layout { offset: value.layout.offset + at / value.dtype.size(), ..value.layout };
                Ok(Tensor::new(arena.clone(), layout, value.dtype))
            }
            root => self.outside_value(m, root, &value).ok_or_else(|| Error::internal("a value without memory")),
        }
    }
    pub(crate) fn record_read(&mut self, t: &Tensor) {
        let Some(w) = &self.window else { return };
        if !matches!(w.mode, Mode::Recording(_)) {
            return;
        }
        let serial = w.serial;
        let Some(r) = self.recording() else { return };
        let inside = t.origin.0 == serial && t.origin.1 >= r.last_cut;
        if !inside && !r.written.contains(&t.storage.id()) {
            return;
        }
        r.cut(|r, v| r.memory[v as usize].strong_count() > 0);
        r.cuts.push(r.entries.len());
        self.mark(Op::HostRead, std::slice::from_ref(t), vec![]);
    }

    pub fn report(&self, site: u32) -> Result<Report> {
        let s = self.site(site)?;
        let p = s.plans.first();
        Ok(Report {
            name: s.name.clone(),
            counts: s.counts,
            plans: s.plans.len(),
            ops: p.map_or(0, |p| p.entries.len()),
            kernels: p.map_or(0, |p| p.kernels()),
            arena_bytes: p.map_or(0, |p| p.arena_bytes()),
            reason: s.reason.clone(),
        })
    }
}

/// Row-major bytes of a computed tensor.
fn bytes_of(t: &Tensor) -> Result<(Meta, Vec<u8>)> {
    let meta = t.meta();
    let mut out = reserve::vec(meta.bytes())?;
    let to = Arg { ptr: out.as_mut_ptr(), layout: Layout::contiguous(meta.shape), dtype: meta.dtype };
    // SAFETY: the outputs have the tensor's shape and dtype, and lie where they are said to; all bytes are written.
    unsafe {
        match t.device() {
            device if t.layout.is_contiguous() => transfer(&t.arg(), device, &to, Device::Cpu)?,
            Device::Cpu => crate::cpu::run(&Op::Contiguous, &[], &[t.arg()], &[to])?,
            Device::Cuda(i) => {
                let rows = Tensor::empty(to.layout, meta.dtype, t.device())?;
                device::backend(i)?.run(&Op::Contiguous, &[], &[t.arg()], &[rows.arg()])?;
                transfer(&rows.arg(), t.device(), &to, Device::Cpu)?;
            }
        }
        out.set_len(meta.bytes());
    }
    Ok((meta, out))
}
