//! Whether a process can serve, and why not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use serde::Serialize;

/// What keeps a process from serving. Cheap to clone; all clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<String, &'static str>>>);

/// Why a process cannot serve.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Reason {
    /// Of what kind it is, in a word.
    pub name: &'static str,
    /// In words.
    pub text: String,
}

impl Health {
    /// Something fails: its kind in a word, and what it is in words.
    pub fn fails(&self, name: &'static str, text: &str) {
        self.lock().insert(text.to_owned(), name);
    }

    /// What was said in these words is over.
    pub fn recovers(&self, text: &str) {
        self.lock().remove(text);
    }

    /// All that fails.
    pub fn reasons(&self) -> Vec<Reason> {
        let reason = |(text, name): (&String, &&'static str)| Reason { name, text: text.clone() };
        self.lock().iter().map(reason).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, &'static str>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
