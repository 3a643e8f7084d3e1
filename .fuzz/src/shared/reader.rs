//! Taking an input apart.

/// Reads an input from its front. Where it has ended everything is zero, so that no input is too short.
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether everything was read.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Everything that is left.
    pub(crate) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// `len` bytes, or what there is of them.
    pub(crate) fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (bytes, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        bytes
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let bytes = self.bytes(N);
        array[..bytes.len()].copy_from_slice(bytes);
        array
    }

    pub(crate) fn u8(&mut self) -> u8 {
        u8::from_le_bytes(self.array())
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    /// A number below `limit`, which is not 0, from two bytes.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::from(self.u16()) % limit
    }

    /// A short text of at least one byte; what is not UTF-8 is replaced.
    pub(crate) fn text(&mut self, len_max: usize) -> String {
        let len = usize::from(self.u8()) % len_max;
        let text = String::from_utf8_lossy(self.bytes(len)).into_owned();
        if text.is_empty() { "t".to_owned() } else { text }
    }

    /// Writes a few bytes of the input over some of `bytes`. Says whether that changed anything.
    pub(crate) fn patch(&mut self, bytes: &mut [u8]) -> bool {
        let before = bytes.to_vec();
        for _ in 0..self.u8() % 8 {
            if bytes.is_empty() {
                break;
            }
            let at = self.below(bytes.len());
            let len = usize::from(self.u8() % 9);
            let patch = self.bytes(len);
            let len = patch.len().min(bytes.len() - at);
            bytes[at..at + len].copy_from_slice(&patch[..len]);
        }
        before != bytes
    }
}
