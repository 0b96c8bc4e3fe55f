//! The locks of lines and sessions, and the one order in which they are taken.
//!
//! No lock is held across an await. A thread that needs several takes them in the order of
//! [`Place`], skipping those that it does not need, and never two of the same place. So no two
//! threads can block each other. Debug builds check this at each lock, and so does every test.
//!
//! The connection number of a session is incremented under the locks of the desk, the history, the
//! presence and the progress together. So one of them is enough to keep an older connection from
//! typing or asking for the pen (desk), from reading and moving the cursor (history), and from
//! counting as a sign of life (presence).
//!
//! Other mutexes of the crate come last, and are released before any other lock is taken.

use std::cell::Cell;
use std::ops::Deref;
use std::ops::DerefMut;
use std::sync::Mutex;
use std::sync::MutexGuard;

use crate::lock;

/// What a lock is for, in the order in which locks are taken.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Place {
    /// The lines of the registry.
    Lines,
    /// A line's pen, and its waiting input.
    Desk,
    /// A line's sessions.
    Members,
    /// A line's output.
    History,
    /// Whether a session's client is connected, and what it sent.
    Presence,
    /// A session's connection number, cursor and end.
    Progress,
}

/// Data whose lock has a place in the order.
pub(crate) trait Placed {
    const PLACE: Place;
}

/// Data behind such a lock.
#[derive(Debug, Default)]
pub(crate) struct Ordered<T>(Mutex<T>);

impl<T: Placed> Ordered<T> {
    pub(crate) fn new(data: T) -> Self {
        Self(Mutex::new(data))
    }

    pub(crate) fn lock(&self) -> Locked<'_, T> {
        let held = Held::note(T::PLACE);
        Locked { data: lock(&self.0), _held: held }
    }
}

/// Access to the data, until this is dropped.
#[derive(Debug)]
pub(crate) struct Locked<'a, T> {
    data: MutexGuard<'a, T>,
    _held: Held,
}

impl<T> Deref for Locked<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T> DerefMut for Locked<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.data
    }
}

thread_local! {
    /// A bit for each place whose lock the thread holds.
    static HELD: Cell<u8> = const { Cell::new(0) };
}

/// A lock that the thread holds or waits for.
#[derive(Debug)]
struct Held(Place);

impl Held {
    fn note(place: Place) -> Self {
        let this = Self(place);
        if cfg!(debug_assertions) {
            let held = HELD.get();
            assert!(held < this.bit(), "{place:?} is locked out of order: {held:b}");
            HELD.set(held | this.bit());
        }
        this
    }

    fn bit(&self) -> u8 {
        1 << self.0 as u8
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.set(HELD.get() & !self.bit());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct First;

    #[derive(Default)]
    struct Last;

    impl Placed for First {
        const PLACE: Place = Place::Lines;
    }

    impl Placed for Last {
        const PLACE: Place = Place::Progress;
    }

    #[test]
    fn locks_are_taken_in_their_order_and_again_once_they_are_free() {
        let (first, last) = (Ordered::new(First), Ordered::new(Last));
        for _ in 0..2 {
            let one = first.lock();
            let other = last.lock();
            drop(one);
            drop(other);
        }
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "Lines is locked out of order"))]
    fn a_lock_out_of_order_is_found_though_nobody_waits() {
        let (first, last) = (Ordered::new(First), Ordered::new(Last));
        let _last = last.lock();
        let _first = first.lock();
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "Progress is locked out of order"))]
    fn two_locks_of_one_place_are_found() {
        let (one, other) = (Ordered::new(Last), Ordered::new(Last));
        let _one = one.lock();
        let _other = other.lock();
    }
}
