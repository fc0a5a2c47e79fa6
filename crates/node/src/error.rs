//! Errors: the engine's become instances of JavaScript's `WickError`, made by a function that TypeScript registers at load.
use napi::bindgen_prelude::*;
use napi_derive::napi;
use std::any::Any;
use std::cell::RefCell;
use std::panic::PanicHookInfo;
use std::sync::Once;
use wick_core::error::Error as CoreError;

/// `(code, op or '', message, operands) => WickError`.
type FactoryArgs = FnArgs<(String, String, String, Vec<String>)>;
struct Factory {
    env: Env,
    function: FunctionRef<FactoryArgs, Unknown<'static>>,
}

thread_local! {
    static FACTORY: RefCell<Option<Factory>> = const { RefCell::new(None) };
    static PANIC_AT: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Registers the maker of this JavaScript thread's errors.
#[napi(catch_unwind)]
pub fn set_error_factory(env: Env, make: Function<'static, FactoryArgs, Unknown<'static>>) -> Result<()> {
    quiet_panics();
    let function = make.create_ref()?;
    FACTORY.with(|f| *f.borrow_mut() = Some(Factory { env, function }));
    Ok(())
}

/// Keeps a panic's place for the error instead of printing it. The hook is this library's own: the host has another copy
/// of the standard library, or none.
fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info: &PanicHookInfo| {
            let at = info.location().map(|l| format!("{}:{}", l.file(), l.line()));
            PANIC_AT.with(|p| *p.borrow_mut() = at);
        }))
    });
}

pub fn of_panic(panic: &(dyn Any + Send)) -> CoreError {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown");
    let at = PANIC_AT.with(|p| p.borrow_mut().take()).map(|p| format!(" at {p}")).unwrap_or_default();
    CoreError::internal(format!("a bug in wick: {text}{at}"))
}

/// What napi throws for `e`: the object that the factory made, or a plain error if there is no factory.
pub fn thrown(e: CoreError) -> Error {
    let plain = Error::new(Status::GenericFailure, e.to_string());
    FACTORY.with(|f| {
        let slot = f.borrow();
        let Some(factory) = slot.as_ref() else { return plain };
        let args = (e.code.name().to_string(), e.op.unwrap_or("").to_string(), e.message, e.operands);
        match factory.function.borrow_back(&factory.env).and_then(|make| make.call(args.into())) {
            Ok(object) => Error::from(object),
            Err(failed) => failed,
        }
    })
}
