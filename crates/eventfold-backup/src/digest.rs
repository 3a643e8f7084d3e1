//! Seeing that a sealed segment is what its footer says.

use eventfold_codec::{ByteDigest, Digest};
use eventfold_store::SealedFile;

/// Sums a sealed segment's bytes as they come.
#[derive(Debug)]
pub(crate) struct Summing {
    digest: ByteDigest,
    sealed: SealedFile,
    /// How many bytes are still to be summed.
    left: u64,
}

impl Summing {
    pub(crate) fn new(sealed: SealedFile) -> Self {
        Self { digest: ByteDigest::new(Digest(sealed.previous_digest)), sealed, left: sealed.data_end }
    }

    /// Adds the bytes that follow.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        let count = usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
        self.digest.update(&bytes[..count]);
        self.left -= count as u64;
    }

    /// Whether all bytes have come, and are those that have to be there.
    pub(crate) fn is_right(&self) -> bool {
        self.left == 0 && self.digest.finish() == Digest(self.sealed.digest)
    }
}
