//! Bounds on archives, so that a malicious one fails early instead of filling memory or disk.

/// Bounds on what an archive may expand to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Number of members of one archive.
    pub members: u64,
    /// Bytes of one encoded image or one array file in memory.
    pub member_bytes: u64,
    /// Pixels of one image; the default is Pillow's own bomb threshold, 2 × 89,478,485.
    pub pixels: u64,
    /// Bytes that a compressed archive may always expand to, however small it is.
    pub expanded_bytes: u64,
    /// A larger archive may expand to this many times its own size.
    pub expansion: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // ImageNet-21k has 14 million images.
            members: 50_000_000,
            member_bytes: 1 << 30,
            pixels: 178_956_970,
            expanded_bytes: 16 << 30,
            // Raw pixels compress by less; zip bombs by a thousand and more.
            expansion: 64,
        }
    }
}

impl Limits {
    /// Bytes that an archive of `compressed` bytes may expand to.
    pub fn expanded_from(&self, compressed: u64) -> u64 {
        // Whichever is larger: small archives may compress well, large ones must not fill the disk.
        self.expanded_bytes
            .max(compressed.saturating_mul(self.expansion))
    }
}
