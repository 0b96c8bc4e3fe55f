//! The id of an API call, which every log line and audit event of its work names, on each host that works
//! for it.
//!
//! The id belongs to the work, not to a thread: [`RequestId::scope`] sets it for each poll of a future. A task
//! that is spawned for the call has none until its future is put into the same scope ([`in_current`]).

use std::cell::Cell;
use std::fmt;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;

use uuid::Uuid;

thread_local! {
    static CURRENT: Cell<Option<RequestId>> = const { Cell::new(None) };
}

/// Name of the header that carries an id, in OpenStack and between our hosts.
pub const HEADER: &str = "x-openstack-request-id";

/// The id of one call; its text is `req-UUID`, as OpenStack's services write it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct RequestId(Uuid);

impl RequestId {
    /// A new id for a call.
    pub fn random() -> Self {
        Self(Uuid::new_v4())
    }

    /// The id of this text, if it is one.
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::try_parse(text.strip_prefix("req-")?).ok().map(Self)
    }

    /// The id of the call that this thread works for now.
    pub fn current() -> Option<Self> {
        CURRENT.get()
    }

    /// The work as a part of this call.
    pub fn scope<F: Future>(self, work: F) -> Scoped<F> {
        Scoped { id: Some(self), work: Box::pin(work) }
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "req-{}", self.0)
    }
}

/// The work as a part of the call that spawns it.
pub fn in_current<F: Future>(work: F) -> Scoped<F> {
    Scoped { id: RequestId::current(), work: Box::pin(work) }
}

/// Work of a call.
#[derive(Debug)]
pub struct Scoped<F> {
    id: Option<RequestId>,
    work: Pin<Box<F>>,
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let _restore = Restore(CURRENT.replace(self.id));
        self.work.as_mut().poll(context)
    }
}

/// Sets the thread's id back, also when a poll panics.
struct Restore(Option<RequestId>);

impl Drop for Restore {
    fn drop(&mut self) {
        CURRENT.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::task::Waker;

    use super::*;

    fn poll_once<F: Future>(work: F) -> Poll<F::Output> {
        pin!(work).poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn work_knows_its_call_and_its_thread_forgets_it() {
        let id = RequestId::random();
        let seen = poll_once(id.scope(async { RequestId::current() }));
        assert_eq!(seen, Poll::Ready(Some(id)));
        assert_eq!(RequestId::current(), None);
    }

    #[test]
    fn spawned_work_belongs_to_the_call_that_spawned_it() {
        let id = RequestId::random();
        let spawn = poll_fn(|_| Poll::Ready(in_current(async { RequestId::current() })));
        let Poll::Ready(spawned) = poll_once(id.scope(spawn)) else { panic!("it does not end") };
        assert_eq!(poll_once(spawned), Poll::Ready(Some(id)));
    }

    #[test]
    fn only_texts_of_openstacks_form_are_ids() {
        let id = RequestId::random();
        assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        for text in ["", "req-", "req-1", "7f6e1c1e-9c6a-4b9a-8f0e-0d9f3c3f2a11", "req-\n"] {
            assert_eq!(RequestId::parse(text), None, "{text:?}");
        }
    }
}
