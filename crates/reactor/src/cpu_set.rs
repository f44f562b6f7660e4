//! Sets of processors, written as Linux writes them: `0,2-3`.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The highest number of processors that Linux can be built for on any architecture (`CONFIG_NR_CPUS`).
pub const MAX_CPUS: u32 = 8192;

/// A set of processor numbers below [`MAX_CPUS`].
///
/// Its text form is the kernel's list format: numbers and ranges, separated by commas (`0,2-3`).
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct CpuSet {
    /// Bit `n` of word `w` stands for processor `64 w + n`; the last word is not zero.
    words: Vec<u64>,
}

/// Why a text is no list of processors.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{input:?} is no list of processors: {rule}")]
pub struct CpuSetError {
    /// The text as it was given.
    pub input: String,
    /// The rule that it breaks.
    pub rule: CpuSetRule,
}

/// The rules for lists of processors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CpuSetRule {
    /// There must be at least one item.
    #[error("it must name at least one processor, as in \"0,2-3\"")]
    Empty,
    /// Items are decimal numbers or ranges of them.
    #[error("items are decimal numbers or ranges, as in \"0,2-3\"")]
    NotANumber,
    /// A range must not end before it starts.
    #[error("a range must not end before it starts")]
    ReversedRange,
    /// Numbers are below [`MAX_CPUS`].
    #[error("processor numbers are below {MAX_CPUS}")]
    TooLarge,
}

impl CpuSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { words: Vec::new() }
    }

    /// Adds processor `cpu`.
    ///
    /// # Panics
    /// If `cpu` is not below [`MAX_CPUS`].
    pub fn insert(&mut self, cpu: u32) {
        assert!(cpu < MAX_CPUS, "processor numbers are below {MAX_CPUS}");
        let (word, bit) = position(cpu);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
    }

    /// Whether processor `cpu` is in the set.
    pub fn contains(&self, cpu: u32) -> bool {
        let (word, bit) = position(cpu);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    /// How many processors are in the set.
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Whether no processor is in the set.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// The lowest processor of the set.
    pub fn first(&self) -> Option<u32> {
        self.iter().next()
    }

    /// The processors, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..)
            .step_by(64)
            .zip(&self.words)
            .flat_map(|(base, &bits)| (0u32..64).filter(move |bit| bits & (1 << bit) != 0).map(move |bit| base + bit))
    }

    /// The processors that are in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        self.iter().filter(|&cpu| other.contains(cpu)).collect()
    }

    /// The processors of this set that `other` lacks.
    pub fn difference(&self, other: &Self) -> Self {
        self.iter().filter(|&cpu| !other.contains(cpu)).collect()
    }

    /// Parses the kernel's list format, in which an empty text is the empty set (a memory node without
    /// processors has one).
    pub(crate) fn parse_kernel_list(text: &str) -> Result<Self, CpuSetError> {
        let text = text.trim();
        if text.is_empty() { Ok(Self::new()) } else { text.parse() }
    }
}

fn position(cpu: u32) -> (usize, u64) {
    let word = usize::try_from(cpu / 64).expect("Linux has pointers of at least 32 bits");
    (word, 1 << (cpu % 64))
}

impl FromIterator<u32> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u32>>(cpus: I) -> Self {
        let mut set = Self::new();
        cpus.into_iter().for_each(|cpu| set.insert(cpu));
        set
    }
}

impl FromStr for CpuSet {
    type Err = CpuSetError;

    fn from_str(input: &str) -> Result<Self, CpuSetError> {
        let broken = |rule| CpuSetError { input: input.to_owned(), rule };
        if input.trim().is_empty() {
            return Err(broken(CpuSetRule::Empty));
        }
        let mut set = Self::new();
        for item in input.split(',') {
            let (first, last) = item.split_once('-').unwrap_or((item, item));
            let first = parse_cpu(first).map_err(broken)?;
            let last = parse_cpu(last).map_err(broken)?;
            if last < first {
                return Err(broken(CpuSetRule::ReversedRange));
            }
            (first..=last).for_each(|cpu| set.insert(cpu));
        }
        Ok(set)
    }
}

fn parse_cpu(text: &str) -> Result<u32, CpuSetRule> {
    let digits = text.trim();
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(CpuSetRule::NotANumber);
    }
    digits.parse().ok().filter(|&cpu| cpu < MAX_CPUS).ok_or(CpuSetRule::TooLarge)
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while let Some(next) = cpus.next_if_eq(&(last + 1)) {
                last = next;
            }
            write!(f, "{separator}{first}")?;
            if last > first {
                write!(f, "-{last}")?;
            }
            separator = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn parses_numbers_and_ranges() {
        let set: CpuSet = "0,2-4, 64".parse().expect("a valid list");
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 2, 3, 4, 64]);
        assert_eq!(set.len(), 5);
        assert_eq!(set.to_string(), "0,2-4,64");
        assert!(set.contains(3) && !set.contains(1) && !set.contains(65) && !set.contains(5000));
    }

    #[test]
    fn names_the_input_and_the_rule_it_breaks() {
        for (input, rule) in [
            ("", CpuSetRule::Empty),
            (" ", CpuSetRule::Empty),
            ("0,", CpuSetRule::NotANumber),
            ("a", CpuSetRule::NotANumber),
            ("+1", CpuSetRule::NotANumber),
            ("1-", CpuSetRule::NotANumber),
            ("1-2-3", CpuSetRule::NotANumber),
            ("3-1", CpuSetRule::ReversedRange),
            ("8192", CpuSetRule::TooLarge),
            ("0-99999999999999999999", CpuSetRule::TooLarge),
        ] {
            let error = input.parse::<CpuSet>().expect_err(input);
            assert_eq!(error, CpuSetError { input: input.to_owned(), rule });
            assert!(error.to_string().contains(&format!("{input:?}")), "{error}");
        }
    }

    #[test]
    fn the_kernel_writes_an_empty_line_for_no_processors() {
        assert_eq!(CpuSet::parse_kernel_list("\n"), Ok(CpuSet::new()));
        assert_eq!(CpuSet::new().to_string(), "");
    }

    proptest! {
        #[test]
        fn text_form_and_set_operations_agree_with_a_plain_set(
            a in proptest::collection::btree_set(0..300u32, 1..40),
            b in proptest::collection::btree_set(0..300u32, 0..40),
        ) {
            let (set_a, set_b): (CpuSet, CpuSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            prop_assert_eq!(set_a.to_string().parse::<CpuSet>(), Ok(set_a.clone()));
            prop_assert!(set_a.intersection(&set_b).iter().eq(a.intersection(&b).copied()));
            prop_assert!(set_a.difference(&set_b).iter().eq(a.difference(&b).copied()));
            prop_assert_eq!(set_a.intersection(&set_b).is_empty(), a.is_disjoint(&b));
            prop_assert_eq!(set_a.first(), a.first().copied());
        }
    }
}
