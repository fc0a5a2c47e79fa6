//! Scopes and async contexts. A context is what one task of the event loop works under: its scope, its window and its modes.
//! The engine holds those of the context that runs now; the others are parked. Contexts exist only while a region of
//! asynchronous code waits: a region that ends before it waits is a [`Frame`] on its context's stack.
use crate::dtype::DType;
use crate::engine::{Engine, Handle};
use crate::error::{Error, Result};
use crate::window::{Mode, Window};

/// The scope around all others; it frees nothing. Index in `Engine::scopes`, as every scope's name is.
const ROOT: u32 = 0;

/// Tensors that are freed together.
#[derive(Default)]
pub(crate) struct Scope {
    /// The scope around.
    around: u32,
    pub made: Vec<(u32, u32)>,
}

/// What was before a region began.
struct Frame {
    scope: u32,
    window: u64,
    grad_enabled: bool,
    autocast: Option<DType>,
}

/// What a task works under while another one runs.
struct Parked {
    id: u32,
    scope: u32,
    /// Serial of the window, 0 for none. A context that began inside of a window shares it.
    window: u64,
    grad_enabled: bool,
    autocast: Option<DType>,
    casts: Vec<crate::amp::CachedCast>,
    frames: Vec<Frame>,
}

/// Contexts that are parked, with their windows, and of the running one what isn't in the engine itself.
#[derive(Default)]
pub(crate) struct Contexts {
    running: u32,
    frames: Vec<Frame>,
    parked: Vec<Parked>,
    pub windows: Vec<Window>,
    newest: u32,
}

/// Modes that a region changes.
#[derive(Clone, Copy, Default)]
pub struct Modes {
    pub grad_enabled: Option<bool>,
    /// The low dtype of autocast, or none for no autocast.
    pub autocast: Option<Option<DType>>,
}

impl Engine {
    pub fn scope_begin(&mut self) {
        let around = self.scope;
        self.scope = match self.free_scopes.pop() {
            Some(i) => i,
            None => {
                self.scopes.push(Scope::default());
                self.scopes.len() as u32 - 1
            }
        };
        self.scopes[self.scope as usize].around = around;
    }
    /// Whether `scope` is open within `outer`.
    pub(crate) fn is_inside(&self, scope: u32, outer: u32) -> bool {
        let mut at = self.scope;
        while at != outer && at != ROOT {
            if at == scope {
                return true;
            }
            at = self.scopes[at as usize].around;
        }
        false
    }
    /// Frees what was made inside but `keep`, which moves to the scope around.
    pub fn scope_end(&mut self, keep: &[Handle]) -> Result<()> {
        let ended = self.scope;
        if ended == ROOT {
            return Err(Error::internal("a scope ended that hadn't begun"));
        }
        let around = self.scopes[ended as usize].around;
        let mut made = std::mem::take(&mut self.scopes[ended as usize].made);
        for (i, g) in made.drain(..) {
            self.leave_scope(ended, around, i, g, keep);
        }
        self.scopes[ended as usize].made = made;
        self.scope = around;
        if !self.contexts.parked.is_empty() {
            self.take_over(ended, around);
        }
        self.free_scopes.push(ended);
        Ok(())
    }
    /// What goes on after the scope that it began in goes on in the one around.
    fn take_over(&mut self, ended: u32, around: u32) {
        let contexts = &mut self.contexts;
        let parked = contexts.parked.iter_mut().flat_map(|c| std::iter::once(&mut c.scope).chain(c.frames.iter_mut().map(|f| &mut f.scope)));
        let running = contexts.frames.iter_mut().map(|f| &mut f.scope);
        let scopes = self.scopes.iter_mut().map(|s| &mut s.around);
        for scope in parked.chain(running).chain(scopes).filter(|s| **s == ended) {
            *scope = around;
        }
    }
    /// Whether no scope or window is open.
    pub fn unscoped(&self) -> bool {
        self.scope == ROOT
    }
    /// Ends the scopes of this context down to, not including, `outer`; `keep` moves there.
    pub(crate) fn end_scopes(&mut self, outer: u32, keep: &[Handle]) -> Result<()> {
        while self.scope != outer && self.scope != ROOT {
            self.scope_end(keep)?;
        }
        Ok(())
    }

    // ---- regions

    /// Begins a region: until its end, the modes are these, and with `scoped` what is made belongs to it.
    pub fn region_begin(&mut self, scoped: bool, modes: Modes) -> Result<()> {
        let window = self.window.as_ref().map_or(0, |w| w.serial);
        let frame = Frame { scope: self.scope, window, grad_enabled: self.grad_enabled, autocast: self.autocast };
        if let Some(low) = modes.autocast {
            self.set_autocast(low)?;
        }
        self.grad_enabled = modes.grad_enabled.unwrap_or(self.grad_enabled);
        self.contexts.frames.push(frame);
        if scoped {
            self.scope_begin();
        }
        Ok(())
    }
    /// The newest region waits: it becomes a context of its own, which still runs. What it began in is parked as it was before.
    pub fn region_suspend(&mut self) -> Result<u32> {
        let Some(frame) = self.contexts.frames.pop() else { return Err(Error::internal("a region waits that hadn't begun")) };
        self.contexts.newest += 1;
        let id = std::mem::replace(&mut self.contexts.running, self.contexts.newest);
        self.contexts.parked.push(Parked {
            id,
            scope: frame.scope,
            window: frame.window,
            grad_enabled: frame.grad_enabled,
            autocast: frame.autocast,
            casts: vec![],
            frames: std::mem::replace(&mut self.contexts.frames, vec![frame]),
        });
        Ok(self.contexts.newest)
    }
    /// Ends the newest region: `keep` moves to where it began. The context of one that waited is gone then, and that of no task
    /// runs. Whether `keep` belongs to no scope now.
    pub fn region_end(&mut self, keep: &[Handle]) -> Result<bool> {
        let Some(Frame { scope, grad_enabled, autocast, .. }) = self.contexts.frames.pop() else {
            return Err(Error::internal("a region ended that hadn't begun"));
        };
        self.end_scopes(scope, keep)?;
        let unscoped = self.unscoped();
        let waited = self.contexts.running != 0 && self.contexts.frames.is_empty();
        self.set_autocast(if waited { None } else { autocast })?;
        self.grad_enabled = grad_enabled;
        if waited {
            let ended = self.contexts.running;
            self.enter_context(0)?;
            self.contexts.parked.retain(|c| c.id != ended);
        }
        Ok(unscoped)
    }

    /// Goes over to another context. A window that has matched ops leaves its plan first: another task finds memory as eager
    /// mode would have left it, and may write it.
    pub fn enter_context(&mut self, id: u32) -> Result<bool> {
        if id == self.contexts.running {
            return Ok(self.unscoped());
        }
        let Some(at) = self.contexts.parked.iter().position(|c| c.id == id) else {
            return Err(Error::internal("there is no such context"));
        };
        let next = self.contexts.parked.swap_remove(at);
        let left = Parked {
            id: std::mem::replace(&mut self.contexts.running, id),
            scope: std::mem::replace(&mut self.scope, next.scope),
            window: self.window.as_ref().map_or(0, |w| w.serial),
            grad_enabled: self.grad_enabled,
            autocast: std::mem::replace(&mut self.autocast, next.autocast),
            casts: std::mem::replace(&mut self.casts, next.casts),
            frames: std::mem::replace(&mut self.contexts.frames, next.frames),
        };
        if left.window != next.window && !self.mutant(41) {
            self.interrupt();
            self.contexts.windows.extend(self.window.take());
            let there = self.contexts.windows.iter().position(|w| w.serial == next.window);
            self.window = there.map(|at| self.contexts.windows.swap_remove(at));
        }
        self.grad_enabled = next.grad_enabled;
        self.contexts.parked.push(left);
        Ok(self.unscoped())
    }
    /// Another task goes on: what the window has matched runs now. Its task gets the error, if any.
    fn interrupt(&mut self) {
        if self.mutant(40) || self.matched().is_none_or(|m| m.cursor == 0) {
            return;
        }
        let failure = self.leave_plan("another task used the engine while the step waited").err();
        if let Some(w) = &mut self.window {
            // a recording would be that of a plan that is there
            w.mode = failure.map_or(Mode::Eager, Mode::Failed);
        }
    }
}
