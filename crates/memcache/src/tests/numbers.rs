//! A check of both sides of the text protocol.

/// What was read as a number stands in the input as one.
pub(crate) fn numbers_were_sent(seen: &str, mark: &str, input: &[u8]) {
    let Some((_, rest)) = seen.split_once(mark) else { return };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    assert!(input.windows(digits.len()).any(|part| part == digits.as_bytes()), "{digits} was made up");
}
