//! Why something is not registered.

use thiserror::Error;

/// Why a metric was not registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("the metric `{metric}` can't be registered: {refusal}")]
pub struct RegisterError {
    /// Its name.
    pub metric: &'static str,
    /// The rule that it breaks.
    pub refusal: Refusal,
}

/// The rule that a metric breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The name is none.
    #[error("a name has lower-case letters, digits and underscores, and begins with a letter")]
    BadName,
    /// A counter's name does not say that it is one.
    #[error("a counter's name ends in `_total`")]
    NotTotal,
    /// The name says that it is a counter.
    #[error("only a counter's name ends in `_total`")]
    Total,
    /// The name is what a histogram's parts are called.
    #[error("`_bucket`, `_count` and `_sum` are for the parts of histograms")]
    ReservedSuffix,
    /// The unit is not a base unit.
    #[error("`{0}` is no base unit: use seconds, bytes, ratios")]
    BadUnit(&'static str),
    /// The unit of a name and what its buckets hold contradict each other.
    #[error("the name of a histogram of times, and of no other, ends in `_seconds`")]
    NotSeconds,
    /// There is no help text.
    #[error("it needs a help text")]
    NoHelp,
    /// A label's name is none.
    #[error(
        "the label's name `{0}` must have lower-case letters, digits and single underscores, and begin with a letter"
    )]
    BadLabel(&'static str),
    /// A label's name is used by the registry itself.
    #[error("the label `{0}` is set by the registry")]
    ReservedLabel(&'static str),
    /// A label is given twice.
    #[error("the label `{0}` is given twice")]
    RepeatedLabel(&'static str),
    /// There is one of this name with these labels.
    #[error("there is one of this name with the same labels")]
    Duplicate,
    /// There is one of this name with another kind, help text or scope.
    #[error("one of this name has another kind, help text or scope")]
    Different,
    /// It is of another kind than was asked for.
    #[error("it is of another kind")]
    WrongKind,
    /// The shard has as many series as it may.
    #[error("the shard has as many series as it may, {}", crate::MAX_SERIES)]
    TooMany,
}
