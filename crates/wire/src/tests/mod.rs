//! The crate's tests that need its insides: shapes made for a test, and the parts of a signature.

mod calls;
mod cbor;
mod hostile;
mod json;
mod query;
mod rules;
mod sigv4_examples;
mod sigv4_refusals;
mod sigv4_vectors;
