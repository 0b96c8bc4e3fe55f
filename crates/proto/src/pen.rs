//! The pen: who may write to a line. At most one session at a time.
//!
//! ```text
//!          take (free)                take (held): refused, nothing changes
//!   Free ───────────────▶ Held ──┐
//!     ▲                    │ ▲   │ force: another holder
//!     └──── release ───────┘ └───┘
//! ```

use jiff::Timestamp;

use crate::id::SessionId;

/// The session that writes, and since when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// Its session.
    pub session: SessionId,
    /// Its user.
    pub user: String,
    /// When it got the pen.
    pub since: Timestamp,
}

/// The pen of one line.
#[derive(Clone, Debug, Default)]
pub struct Pen {
    holder: Option<Holder>,
}

impl Pen {
    /// Who writes.
    pub fn holder(&self) -> Option<&Holder> {
        self.holder.as_ref()
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

    /// Gives the pen to `candidate` whoever holds it; returns the one who lost it.
    pub fn force(&mut self, candidate: Holder) -> Option<Holder> {
        self.holder.replace(candidate)
    }

    /// Frees the pen if `session` holds it.
    pub fn release(&mut self, session: SessionId) -> Option<Holder> {
        self.holder.take_if(|holder| holder.session == session)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Take(usize),
        Force(usize),
        Release(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        (0..3usize, 0..4usize).prop_map(|(kind, who)| match kind {
            0 => Step::Take(who),
            1 => Step::Force(who),
            _ => Step::Release(who),
        })
    }

    proptest! {
        #[test]
        fn the_pen_has_one_holder_and_only_force_takes_it_from_them(
            steps in proptest::collection::vec(step(), 0..60)
        ) {
            let sessions: Vec<_> = (0..4).map(|_| SessionId::new()).collect();
            let candidate = |who: usize| Holder {
                session: sessions[who],
                user: format!("user{who}"),
                since: Timestamp::UNIX_EPOCH,
            };
            let mut pen = Pen::default();
            let mut model: Option<usize> = None;
            for step in steps {
                match step {
                    Step::Take(who) => match model {
                        None => {
                            prop_assert!(pen.take(candidate(who)).is_ok());
                            model = Some(who);
                        }
                        Some(holder) => {
                            let refused = pen.take(candidate(who)).unwrap_err();
                            prop_assert_eq!(refused.session, sessions[holder]);
                        }
                    },
                    Step::Force(who) => {
                        let loser = pen.force(candidate(who)).map(|holder| holder.session);
                        prop_assert_eq!(loser, model.map(|holder| sessions[holder]));
                        model = Some(who);
                    }
                    Step::Release(who) => {
                        prop_assert_eq!(pen.release(sessions[who]).is_some(), model == Some(who));
                        if model == Some(who) {
                            model = None;
                        }
                    }
                }
                for (who, session) in sessions.iter().enumerate() {
                    prop_assert_eq!(pen.is_held_by(*session), model == Some(who));
                }
            }
        }
    }
}
