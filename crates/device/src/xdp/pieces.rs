//! In how many pieces a packet may be sent.

use std::io;

use super::segments;

/// Where the kernel copies: it takes one more than `MAX_SKB_FRAGS`, which is 17 most often.
pub(super) const MOST: usize = 16;

/// A device that reads the frames itself takes two at least: the kernel binds no such socket to another one for packets in pieces.
const FEWEST: usize = 2;

/// How many pieces a packet may have at an interface where several are possible. A device that reads the frames itself
/// has a limit of its own, often five or eight, and the kernel sends nothing of what has more.
pub(super) fn limit(interface: u32, is_zero_copy: bool) -> usize {
    if !is_zero_copy {
        return MOST;
    }
    let told = segments::of(interface);
    if let Err(error) = &told {
        log::info!("in how many pieces the interface {interface} sends is not known: {error}");
    }
    limit_without_copies(told)
}

/// The same where the device reads the frames, by what the kernel tells of it.
fn limit_without_copies(told: io::Result<Option<u32>>) -> usize {
    let told = told.ok().flatten().and_then(|segments| usize::try_from(segments).ok());
    told.unwrap_or(FEWEST).clamp(1, MOST)
}

/// How many pieces a packet has at most of whose buffers some are so many pieces as they lie, and the others are copied, those that
/// stand together to one piece.
pub(super) fn count(buffers: impl Iterator<Item = Option<usize>>) -> usize {
    let (count, _) = buffers.fold((0, false), |(count, is_copied), pieces| match pieces {
        Some(pieces) => (count + pieces, false),
        None => (count + usize::from(!is_copied), true),
    });
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_reads_frames_itself_has_a_limit_of_its_own() {
        assert_eq!(limit(1, false), MOST);
        for (told, expected) in [(1, 1), (2, 2), (5, 5), (8, 8), (16, 16), (17, 16), (u32::MAX, 16), (0, 1)] {
            assert_eq!(limit_without_copies(Ok(Some(told))), expected);
        }
        assert_eq!(limit_without_copies(Ok(None)), FEWEST);
        assert_eq!(limit_without_copies(Err(io::ErrorKind::NotFound.into())), FEWEST);
    }

    #[test]
    fn what_is_copied_together_is_one_piece() {
        let count = |buffers: &[Option<usize>]| count(buffers.iter().copied());
        assert_eq!(count(&[]), 0);
        assert_eq!(count(&[None]), 1);
        assert_eq!(count(&[None, None, None]), 1);
        assert_eq!(count(&[Some(1), Some(2)]), 3);
        assert_eq!(count(&[None, Some(2), None, None, Some(1), None]), 6);
    }
}
