//! The C side of libvirt's events: its event loop, and the functions that it calls.
//!
//! Only this module has unsafe code, because the binding lacks calls for domain events, close
//! callbacks and NMIs. It relies on these rules: a context is a boxed [`Watcher`] that libvirt
//! frees through [`free`], once, after the last call with it; a callback never blocks, and never
//! panics.

use std::ffi::c_char;
use std::ffi::c_int;
use std::ffi::c_void;
use std::sync::Once;
use std::sync::mpsc;
use std::time::Duration;

use serialproxy_proto::id::ServerId;
use uuid::Uuid;
use virt::connect::Connect;
use virt::domain::Domain;
use virt::error::Error;

use crate::hypervisor::Event;
use crate::hypervisor::Reporter;

/// The receivers of the callbacks' events.
#[derive(Clone, Debug)]
pub(super) struct Watcher {
    pub(super) reporter: Reporter,
    /// Receives the number of a connection that closed; holds one message.
    pub(super) closed: mpsc::SyncSender<u64>,
    pub(super) number: u64,
}

/// A connection whose events reach its watcher, until it is dropped.
#[derive(Debug)]
pub(super) struct Watched {
    connect: Connect,
    callbacks: Vec<c_int>,
}

impl Watched {
    /// Registers for the end of the connection, and for events of domains.
    pub(super) fn new(connect: Connect, watcher: &Watcher) -> Result<Self, Error> {
        let mut watched = Self { connect, callbacks: Vec::new() };
        watched.watch_close(watcher)?;
        // SAFETY: libvirt calls the callback of this event with the arguments of `on_lifecycle`,
        // as VIR_DOMAIN_EVENT_CALLBACK says; the generic type only stands for all of them.
        let lifecycle = unsafe {
            std::mem::transmute::<virt_sys::virConnectDomainEventCallback, Generic>(Some(
                on_lifecycle,
            ))
        };
        watched.watch_domains(virt_sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE, lifecycle, watcher)?;
        watched.watch_domains(virt_sys::VIR_DOMAIN_EVENT_ID_REBOOT, Some(on_reboot), watcher)?;
        // SAFETY: as above, for the arguments of `on_metadata`.
        let metadata = unsafe {
            std::mem::transmute::<virt_sys::virConnectDomainEventMetadataChangeCallback, Generic>(
                Some(on_metadata),
            )
        };
        watched.watch_domains(virt_sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, metadata, watcher)?;
        Ok(watched)
    }

    fn watch_close(&self, watcher: &Watcher) -> Result<(), Error> {
        let context = context(watcher);
        // SAFETY: the connection is open, the context is what `on_close` and `free` expect.
        let done = unsafe {
            virt_sys::virConnectRegisterCloseCallback(
                self.connect.as_ptr(),
                Some(on_close),
                context,
                Some(free),
            )
        };
        registered(done, context).map(drop)
    }

    fn watch_domains(
        &mut self,
        event: virt_sys::virDomainEventID,
        callback: Generic,
        watcher: &Watcher,
    ) -> Result<(), Error> {
        let event = c_int::try_from(event).unwrap_or_default();
        let context = context(watcher);
        // SAFETY: the connection is open, no domain means all of them, and the callback is of
        // the event's type and takes this context.
        let done = unsafe {
            virt_sys::virConnectDomainEventRegisterAny(
                self.connect.as_ptr(),
                std::ptr::null_mut(),
                event,
                callback,
                context,
                Some(free),
            )
        };
        self.callbacks.push(registered(done, context)?);
        Ok(())
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Registrations hold the connection open. A failure here means that it is broken already.
        for callback in &self.callbacks {
            // SAFETY: the connection is open, and the number is one that it gave us.
            unsafe {
                virt_sys::virConnectDomainEventDeregisterAny(self.connect.as_ptr(), *callback);
            }
        }
        // SAFETY: the connection is open.
        unsafe {
            virt_sys::virConnectUnregisterCloseCallback(self.connect.as_ptr(), Some(on_close));
        }
    }
}

/// Runs libvirt's event loop on a thread of its own, from the first call on. It must run before
/// a connection is opened, or the connection has no events.
pub(super) fn start_event_loop() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // libvirt prints every error to stderr by default; we get errors as values.
        virt::error::clear_error_callback();
        if let Err(error) = virt::event::event_register_default_impl() {
            tracing::error!(%error, "libvirt's event loop cannot be started: guests that other \
                     programs start are not noticed");
            return;
        }
        let thread = std::thread::Builder::new().name("libvirt-events".into());
        if let Err(error) = thread.spawn(run_event_loop) {
            tracing::error!(%error, "the thread for libvirt's event loop cannot be started");
        }
    });
}

/// Sends a non-maskable interrupt.
pub(super) fn inject_nmi(domain: &Domain) -> Result<(), Error> {
    // SAFETY: the domain is valid as long as it is borrowed.
    match unsafe { virt_sys::virDomainInjectNMI(domain.as_ptr(), 0) } {
        -1 => Err(Error::last_error()),
        _ => Ok(()),
    }
}

type Generic = virt_sys::virConnectDomainEventGenericCallback;

fn run_event_loop() {
    loop {
        if let Err(error) = virt::event::event_run_default_impl() {
            tracing::error!(%error, "libvirt's event loop failed once");
            std::thread::park_timeout(Duration::from_secs(1));
        }
    }
}

fn context(watcher: &Watcher) -> *mut c_void {
    Box::into_raw(Box::new(watcher.clone())).cast()
}

/// The result of a registration; frees a context that libvirt did not accept.
fn registered(done: c_int, context: *mut c_void) -> Result<c_int, Error> {
    if done != -1 {
        return Ok(done);
    }
    let error = Error::last_error();
    // SAFETY: it comes from `context`, and libvirt calls nothing with it after a failure.
    unsafe { free(context) };
    Err(error)
}

unsafe extern "C" fn free(context: *mut c_void) {
    // SAFETY: a context comes from `context`, and is freed once.
    drop(unsafe { Box::from_raw(context.cast::<Watcher>()) });
}

unsafe extern "C" fn on_close(_: virt_sys::virConnectPtr, _reason: c_int, context: *mut c_void) {
    // SAFETY: libvirt passes the context of the registration, which lives until `free`.
    let watcher = unsafe { &*context.cast::<Watcher>() };
    // If a message already waits, the connection is checked in any case.
    let _ = watcher.closed.try_send(watcher.number);
}

unsafe extern "C" fn on_lifecycle(
    _: virt_sys::virConnectPtr,
    domain: virt_sys::virDomainPtr,
    _event: c_int,
    _detail: c_int,
    context: *mut c_void,
) -> c_int {
    // SAFETY: both are libvirt's own arguments, as in `on_close`.
    unsafe { report(domain, context, Event::Changed) };
    0
}

unsafe extern "C" fn on_metadata(
    _: virt_sys::virConnectPtr,
    domain: virt_sys::virDomainPtr,
    _kind: c_int,
    _namespace: *const c_char,
    context: *mut c_void,
) {
    // SAFETY: both are libvirt's own arguments, as in `on_close`.
    unsafe { report(domain, context, Event::Changed) };
}

unsafe extern "C" fn on_reboot(
    _: virt_sys::virConnectPtr,
    domain: virt_sys::virDomainPtr,
    context: *mut c_void,
) {
    // SAFETY: both are libvirt's own arguments, as in `on_close`.
    unsafe { report(domain, context, Event::Rebooted) };
}

/// # Safety
///
/// `domain` must be a domain, `context` come from [`context`] and not be freed.
unsafe fn report(
    domain: virt_sys::virDomainPtr,
    context: *mut c_void,
    event: fn(ServerId) -> Event,
) {
    let mut bytes = [0_u8; 16];
    // SAFETY: the buffer has VIR_UUID_BUFLEN bytes; the rest is the caller's promise.
    let (known, watcher) = unsafe {
        (virt_sys::virDomainGetUUID(domain, bytes.as_mut_ptr()), &*context.cast::<Watcher>())
    };
    if known == 0 {
        watcher.reporter.report(event(ServerId(Uuid::from_bytes(bytes))));
    }
}
