//! What a client gave us that we hand back but never decide on: JSON text kept as it will be
//! echoed, and tags. A decision that needs a field takes it out at the edge into a typed record,
//! never from here.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Tags in the order of their keys.
pub type Tags = BTreeMap<String, String>;

/// JSON text made by the frontend, opaque to everything else.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Document(Arc<str>);

impl Document {
    pub fn new(json: impl Into<Arc<str>>) -> Self {
        Self(json.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Document {
    fn default() -> Self {
        Self("{}".into())
    }
}
