//! The number of sessions that a user and an address may have in this process, on all lines
//! together.

use serialproxy_limits::Place;
use serialproxy_limits::Places;
use serialproxy_limits::Source;
use serialproxy_proto::refusal::Refusal;

use crate::visitor::Visitor;

/// The places of sessions. Clones share them.
#[derive(Clone, Debug)]
pub struct SessionPlaces {
    users: Places<String>,
    sources: Places<Source>,
}

/// The places of a session, until this is dropped.
#[derive(Debug)]
pub(crate) struct Taken {
    _user: Place<String>,
    _source: Option<Place<Source>>,
}

impl SessionPlaces {
    /// The maximum for each user, and for each address; 0 means no limit.
    pub fn new(of_user: usize, of_source: usize) -> Self {
        Self { users: Places::new(of_user), sources: Places::new(of_source) }
    }

    pub(crate) fn enter(&self, visitor: &Visitor) -> Result<Taken, Refusal> {
        let user = self.users.enter(visitor.user.clone()).ok_or_else(|| {
            Refusal::TooMany(format!(
                "user {} has {} sessions, which is the maximum",
                visitor.user,
                self.users.most()
            ))
        })?;
        let source = match visitor.source {
            None => None,
            Some(source) => Some(self.sources.enter(source).ok_or_else(|| {
                Refusal::TooMany(format!(
                    "{} sessions come from {source}, which is the maximum",
                    self.sources.most()
                ))
            })?),
        };
        Ok(Taken { _user: user, _source: source })
    }
}
