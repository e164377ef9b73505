//! Faults under the engine.
