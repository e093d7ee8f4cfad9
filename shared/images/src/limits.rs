//! How much an honest data set may contain, so that a hostile one ends early.

/// Bounds on what an archive may expand to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members of one archive.
    pub members: u64,
    /// Bytes of one encoded image or one array file in memory.
    pub member_bytes: u64,
    /// Pixels of one image; the default is Pillow's own bomb threshold, 2 × 89,478,485.
    pub pixels: u64,
    /// Bytes that a compressed archive may expand to, at least; see `expansion`.
    pub expanded_bytes: u64,
    /// An archive may always expand to this many times its own size.
    pub expansion: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: 50_000_000,
            member_bytes: 1 << 30,
            pixels: 178_956_970,
            expanded_bytes: 16 << 30,
            expansion: 64,
        }
    }
}

impl Limits {
    /// Bytes that an archive of `compressed` bytes may expand to.
    pub fn expanded_from(&self, compressed: u64) -> u64 {
        self.expanded_bytes
            .max(compressed.saturating_mul(self.expansion))
    }
}
