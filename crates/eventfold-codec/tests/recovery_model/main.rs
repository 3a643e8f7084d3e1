//! A model check of the recovery decision.
//!
//! The real judge and the real decision read a disk of ten units in two segments, and the steps that the decision plans
//! are carried out on it, while an adversary kills the process, cuts the power, fails syncs, loses a write and lets a unit
//! rot, at every step and in every combination that the [scope](scope::Scope) allows. What is modelled, how far, and what
//! came of it stands in `docs/TESTING.md`.
//!
//! [`sound`] keeps all rules and finds nothing. [`mutants`] leaves each rule out and finds what it is there for.

mod adversary;
mod content;
mod disk;
mod moves;
mod mutants;
mod property;
mod reading;
mod recovery;
mod scope;
mod search;
mod sound;
mod state;
mod writer;
