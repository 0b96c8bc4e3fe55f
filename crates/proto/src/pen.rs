//! The pen: the right to type on a line. At most one session has it at a time.
//!
//! ```text
//!          take (free)              take (held): refused, nothing changes
//!   Free ──────────────▶ Held ◀────────────────┐
//!     ▲                  │ ▲ │ ask             │ deny, withdraw
//!     │   release        │ │ └──────▶ Held, asked for ──┐
//!     └──────────────────┘ └───────── grant, release, force: another holder
//! ```

use jiff::Timestamp;

use crate::id::SessionId;

/// The session that writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its session.
    pub session: SessionId,
    /// Its user.
    pub user: String,
    /// When it got the pen.
    pub since: Timestamp,
}

/// A request for the pen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The session that asks.
    pub session: SessionId,
    /// Its user.
    pub user: String,
    /// Why, in its user's words.
    pub reason: Option<String>,
    /// Numbers the requests for a pen, so that a withdrawn or denied one is not confused with the
    /// next one of the same session.
    pub number: u64,
}

/// The outcome of asking for the pen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Asked {
    /// It was free, or the asking session's already.
    Taken,
    /// The holder must answer the request with this number.
    Pending(u64),
    /// The session asks already; the holder's time limit stays the same.
    Again,
    /// Another session asks already; only one can ask at a time.
    Another(Request),
}

/// The pen of one line.
#[derive(Clone, Debug, Default)]
pub struct Pen {
    holder: Option<Holder>,
    request: Option<Request>,
    /// Requests so far.
    requests: u64,
}

impl Pen {
    /// The session that writes.
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
    }

    /// The session that asks for it, if the pen is held.
    pub fn request(&self) -> Option<&Request> {
        self.request.as_ref()
    }

    /// Whether `session` writes.
    pub fn is_held_by(&self, session: SessionId) -> bool {
        self.holder.as_ref().is_some_and(|holder| holder.session == session)
    }

    /// Gives a free pen to `candidate`.
    ///
    /// # Errors
    ///
    /// The present holder, when there is one.
    pub fn take(&mut self, candidate: Holder) -> Result<(), Holder> {
        match &self.holder {
            Some(holder) => Err(holder.clone()),
            None => {
                self.holder = Some(candidate);
                Ok(())
            }
        }
    }

    /// Asks for the pen: takes it if it is free, otherwise waits for the holder's answer. Sets the
    /// request's number.
    pub fn ask(&mut self, mut request: Request, now: Timestamp) -> Asked {
        match (&self.holder, &mut self.request) {
            (None, _) => {
                self.holder = Some(request.holds_since(now));
                Asked::Taken
            }
            (Some(holder), _) if holder.session == request.session => Asked::Taken,
            (Some(_), Some(other)) if other.session != request.session => {
                Asked::Another(other.clone())
            }
            (Some(_), Some(before)) => {
                before.reason = request.reason;
                Asked::Again
            }
            (Some(_), None) => {
                self.requests += 1;
                request.number = self.requests;
                self.request = Some(request);
                Asked::Pending(self.requests)
            }
        }
    }

    /// Hands the pen to the session that asks for it; returns the earlier holder, or none if no
    /// session asks.
    pub fn grant(&mut self, now: Timestamp) -> Option<Holder> {
        let request = self.request.take()?;
        self.holder.replace(request.holds_since(now))
    }

    /// The holder keeps the pen; returns the request.
    pub fn deny(&mut self) -> Option<Request> {
        self.request.take()
    }

    /// Withdraws the request of `session`; false if there was none.
    pub fn withdraw(&mut self, session: SessionId) -> bool {
        self.request.take_if(|request| request.session == session).is_some()
    }

    /// Gives the pen to `candidate` even if another session holds it; returns the session that lost
    /// it. Withdraws any request.
    pub fn force(&mut self, candidate: Holder) -> Option<Holder> {
        self.request = None;
        self.holder.replace(candidate)
    }

    /// Frees the pen, and withdraws any request.
    pub fn clear(&mut self) {
        (self.holder, self.request) = (None, None);
    }

    /// Takes the pen from `session` if it holds it. Then it is free, or goes to the session that
    /// asked.
    pub fn release(&mut self, session: SessionId, now: Timestamp) -> Option<Holder> {
        let released = self.holder.take_if(|holder| holder.session == session)?;
        self.holder = self.request.take().map(|request| request.holds_since(now));
        Some(released)
    }
}

impl Request {
    fn holds_since(&self, now: Timestamp) -> Holder {
        Holder { session: self.session, user: self.user.clone(), since: now }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Take(usize),
        Ask(usize),
        Grant,
        Deny,
        Withdraw(usize),
        Force(usize),
        Release(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        (0..7usize, 0..4usize).prop_map(|(kind, who)| match kind {
            0 => Step::Take(who),
            1 => Step::Ask(who),
            2 => Step::Grant,
            3 => Step::Deny,
            4 => Step::Withdraw(who),
            5 => Step::Force(who),
            _ => Step::Release(who),
        })
    }

    /// The expected holder and request after a step.
    fn expected(
        (holder, asks): (Option<usize>, Option<usize>),
        step: Step,
    ) -> (Option<usize>, Option<usize>) {
        match step {
            Step::Take(who) => (holder.or(Some(who)), asks),
            Step::Ask(who) => match holder {
                None => (Some(who), None),
                Some(holder) if holder == who => (Some(holder), asks),
                Some(holder) => (Some(holder), asks.or(Some(who))),
            },
            Step::Grant => (asks.or(holder), None),
            Step::Deny => (holder, None),
            Step::Withdraw(who) => (holder, asks.filter(|asks| *asks != who)),
            Step::Force(who) => (Some(who), None),
            Step::Release(who) if holder == Some(who) => (asks, None),
            Step::Release(_) => (holder, asks),
        }
    }

    proptest! {
        #[test]
        fn the_pen_has_one_holder_and_is_asked_for_by_one_other_at_most(
            steps in proptest::collection::vec(step(), 0..60)
        ) {
            let sessions: Vec<_> = (0..4).map(|_| SessionId::new()).collect();
            let now = Timestamp::UNIX_EPOCH;
            let request = |who: usize| Request {
                session: sessions[who],
                user: format!("user{who}"),
                reason: None,
                number: 0,
            };
            let mut pen = Pen::default();
            let mut model = (None, None);
            for step in steps {
                match step {
                    Step::Take(who) => {
                        let taken = pen.take(request(who).holds_since(now));
                        prop_assert_eq!(taken.is_ok(), model.0.is_none());
                    }
                    Step::Ask(who) => {
                        let asked = pen.ask(request(who), now);
                        let free = model.0.is_none() || model.0 == Some(who);
                        prop_assert_eq!(asked == Asked::Taken, free);
                    }
                    Step::Grant => {
                        let loser = pen.grant(now).map(|holder| holder.session);
                        let lost = model.1.and(model.0).map(|who| sessions[who]);
                        prop_assert_eq!(loser, lost);
                    }
                    Step::Deny => prop_assert_eq!(pen.deny().is_some(), model.1.is_some()),
                    Step::Withdraw(who) => {
                        prop_assert_eq!(pen.withdraw(sessions[who]), model.1 == Some(who));
                    }
                    Step::Force(who) => {
                        let loser = pen.force(request(who).holds_since(now));
                        prop_assert_eq!(loser.is_some(), model.0.is_some());
                    }
                    Step::Release(who) => {
                        let released = pen.release(sessions[who], now).is_some();
                        prop_assert_eq!(released, model.0 == Some(who));
                    }
                }
                model = expected(model, step);
                let holder = pen.holder().map(|holder| holder.session);
                let asks = pen.request().map(|request| request.session);
                prop_assert_eq!(holder, model.0.map(|who| sessions[who]));
                prop_assert_eq!(asks, model.1.map(|who| sessions[who]));
                prop_assert!(asks.is_none() || (holder.is_some() && holder != asks));
            }
        }
    }
}
