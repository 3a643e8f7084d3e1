//! Where the messages of a body end, as gRPC frames them: a byte, the length, so many bytes.

use crate::options::count;

/// How far a body's last message has come.
#[derive(Debug)]
pub(crate) struct Framing {
    head: [u8; HEAD_BYTES],
    /// How many bytes of the head have come.
    head_count: usize,
    /// How many bytes of the message are still to come.
    left: usize,
    max: usize,
    /// A message was too large: nothing is made of what comes behind its head.
    is_over: bool,
}

const HEAD_BYTES: usize = 5;

impl Framing {
    /// Of messages of up to so many bytes.
    pub(crate) fn new(max: u32) -> Self {
        Self { head: [0; HEAD_BYTES], head_count: 0, left: 0, max: count(max), is_over: false }
    }

    /// Where the last message ends of those that end in this data, or where a head ends that is refused.
    pub(crate) fn last_border(&mut self, data: &[u8]) -> Option<usize> {
        let (mut at, mut border) = (0, None);
        while at < data.len() {
            if self.is_over {
                return Some(data.len());
            }
            if self.left > 0 {
                let step = self.left.min(data.len() - at);
                at += step;
                self.left -= step;
            } else {
                self.head[self.head_count] = data[at];
                self.head_count += 1;
                at += 1;
                if self.head_count < HEAD_BYTES {
                    continue;
                }
                let [_, length @ ..] = self.head;
                (self.left, self.head_count) = (count(u32::from_be_bytes(length)), 0);
                self.is_over = self.left > self.max;
            }
            if self.left == 0 {
                border = Some(at);
            }
        }
        if self.is_over { Some(data.len()) } else { border }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn however_it_is_cut_the_last_whole_message_is_found(
            lengths in prop::collection::vec(0_u8..40, 0..10),
            cuts in prop::collection::vec(1_usize..30, 1..40),
        ) {
            let (mut bytes, mut borders) = (Vec::new(), vec![]);
            for length in lengths {
                bytes.extend([0, 0, 0, 0, length]);
                bytes.extend(vec![length; usize::from(length)]);
                borders.push(bytes.len());
            }
            let (mut framing, mut from) = (Framing::new(39), 0);
            for size in cuts.into_iter().cycle() {
                let to = bytes.len().min(from + size);
                let expected = borders.iter().copied().filter(|border| (from + 1..=to).contains(border)).max();
                prop_assert_eq!(framing.last_border(&bytes[from..to]).map(|border| from + border), expected);
                from = to;
                if from == bytes.len() {
                    break;
                }
            }
        }
    }

    #[test]
    fn a_head_that_says_too_much_is_passed_on_with_all_that_follows() {
        let mut framing = Framing::new(10);
        assert_eq!(framing.last_border(&[0, 0, 0, 0]), None);
        assert_eq!(framing.last_border(&[11, 1, 2]), Some(3));
        assert_eq!(framing.last_border(&[3]), Some(1));
    }
}
