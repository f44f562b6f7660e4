//! Messages of netlink(7), as far as interfaces and addresses are told of by them.

/// `NLMSG_ERROR`.
pub(super) const ERROR: u16 = 2;
/// `NLM_F_REQUEST`.
pub(super) const REQUEST: u16 = 1;

/// Bytes of a message's header, and of an attribute's.
pub(super) const MESSAGE_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;

/// Of an attribute's type without the bits that tell how it is encoded.
const TYPE_BITS: u16 = 0x3fff;

/// A request of a kind: what the kind begins with, which is a multiple of four bytes, and one attribute, if there is any.
pub(super) fn request(kind: u16, begin: &[u8], attribute: Option<(u16, &[u8])>) -> Vec<u8> {
    let half = |len: usize| u16::try_from(len).unwrap_or(u16::MAX).to_ne_bytes();
    let mut message = vec![0; MESSAGE_BYTES];
    message[4..6].copy_from_slice(&kind.to_ne_bytes());
    message[6..8].copy_from_slice(&REQUEST.to_ne_bytes());
    message.extend(begin);
    if let Some((of, value)) = attribute {
        message.extend(half(ATTRIBUTE_BYTES + value.len()));
        message.extend(of.to_ne_bytes());
        message.extend(value);
        message.resize(message.len().next_multiple_of(4), 0);
    }
    let len = u32::try_from(message.len()).unwrap_or(u32::MAX);
    message[..4].copy_from_slice(&len.to_ne_bytes());
    message
}

/// Takes the next message off what has come: its type, and what is behind its header.
pub(super) fn next_message<'a>(left: &mut &'a [u8]) -> Option<(u16, &'a [u8])> {
    let len = usize::try_from(u32::from_ne_bytes(*left.first_chunk()?)).ok()?;
    let message = left.get(..len)?;
    let kind = u16::from_ne_bytes(message.get(4..6)?.try_into().ok()?);
    let content = message.get(MESSAGE_BYTES..)?;
    *left = left.get(len.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, content))
}

/// The value of an attribute of that type, if there is one.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let [a, b, c, d] = *attributes.first_chunk()?;
        let len = usize::from(u16::from_ne_bytes([a, b]));
        let value = attributes.get(ATTRIBUTE_BYTES..len)?;
        if u16::from_ne_bytes([c, d]) & TYPE_BITS == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An attribute as it lies in a message.
    fn encoded(kind: u16, value: &[u8]) -> Vec<u8> {
        request(0, &[], Some((kind, value)))[MESSAGE_BYTES..].to_vec()
    }

    #[test]
    fn attributes_are_found_behind_others() {
        let all = [encoded(1, &[7; 4]), encoded(3 | 0x8000, &[1; 5]), encoded(4, &[9; 4])].concat();
        assert_eq!(attribute(&all, 1), Some(&[7; 4][..]));
        assert_eq!(attribute(&all, 3), Some(&[1; 5][..]));
        assert_eq!(attribute(&all, 4), Some(&[9; 4][..]));
        assert_eq!(attribute(&all, 2), None);
        assert_eq!(attribute(&[], 1), None);
    }

    #[test]
    fn attributes_without_sense_end_the_search() {
        for len in [0_u16, 3, 9, u16::MAX] {
            let broken = [&len.to_ne_bytes()[..], &[0; 6]].concat();
            assert_eq!(attribute(&broken, 4), None, "{len}");
        }
    }

    #[test]
    fn messages_come_one_after_the_other_until_one_makes_no_sense() {
        let all = [request(16, &[1; 4], None), request(20, &[2; 8], Some((1, b"abc")))].concat();
        let mut left = &all[..];
        assert_eq!(next_message(&mut left), Some((16, &[1; 4][..])));
        let (kind, content) = next_message(&mut left).unwrap();
        assert_eq!((kind, &content[..8], attribute(&content[8..], 1)), (20, &[2; 8][..], Some(&b"abc"[..])));
        assert_eq!(next_message(&mut left), None);
        for len in [0_u32, 15, 21, u32::MAX] {
            let broken = [&len.to_ne_bytes()[..], &[0; 16]].concat();
            assert_eq!(next_message(&mut &broken[..]), None, "{len}");
        }
    }
}
