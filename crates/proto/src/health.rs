//! The health of a process: why it cannot serve, if so.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Serialize;

/// The present faults of a process. Cheap to clone; all clones share them.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, &'static str>>>);

/// Why a process cannot serve.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reason {
    /// Its kind, in a word.
    pub name: &'static str,
    /// In words.
    pub text: String,
}

impl Health {
    /// Adds a fault: its kind in a word, and a text.
    pub fn fails(&self, name: &'static str, text: &str) {
        self.lock().insert(text.to_owned(), name);
    }

    /// Removes the fault with this text.
    pub fn recovers(&self, text: &str) {
        self.lock().remove(text);
    }

    /// All present faults.
    pub fn reasons(&self) -> Vec<Reason> {
        let reason = |(text, name): (&String, &&'static str)| Reason { name, text: text.clone() };
        self.lock().iter().map(reason).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, &'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
