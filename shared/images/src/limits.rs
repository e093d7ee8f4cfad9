//! Bounds on archives, so that a malicious one fails early instead of filling memory or disk.

/// Bounds on what an archive may expand to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Number of members of one archive.
    pub members: u64,
    /// Bytes of one encoded image.
    pub member_bytes: u64,
    /// Bytes of one file of labels.
    pub label_bytes: u64,
    /// Pixels of one image; the default is Pillow's own bomb threshold, 2 × 89,478,485.
    pub pixels: u64,
    /// Bytes of one decoded image.
    pub decoded_bytes: u64,
    /// Bytes of memory while one image is decoded: its file, its pixels, and what its decoder
    /// keeps.
    pub image_memory: u64,
    /// Bytes of the images that are decoded at one time, encoded and decoded: a larger image is
    /// decoded alone.
    pub in_flight_bytes: u64,
    /// Side of the images of a set in pixels, after resizing.
    pub side: usize,
    /// Bytes of the pixels of one shard, which is filled in memory; at least one image fits.
    pub shard_bytes: u64,
    /// Bytes that a compressed archive may always expand to, however small it is.
    pub expanded_bytes: u64,
    /// A larger archive may expand to this many times its own size.
    pub expansion: u64,
    /// Bytes that the images of a set may always decode to, all together.
    pub all_decoded_bytes: u64,
    /// The images of a larger set may decode to this many times their encoded size.
    pub decoded_expansion: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // ImageNet-21k has 14 million images.
            members: 50_000_000,
            member_bytes: 256 << 20,
            // `dataset.json` of 14 million images takes half of it.
            label_bytes: 1 << 30,
            pixels: 178_956_970,
            // 130 million pixels in colour: more than any camera for stills, but for the largest.
            decoded_bytes: 400 << 20,
            // A progressive JPEG file of 120 million pixels with half as many of each colour.
            image_memory: 768 << 20,
            in_flight_bytes: 256 << 20,
            // Larger than any diffusion model draws: such a set was meant to be resized.
            side: 4096,
            // 4,096 images of 200×200 in colour.
            shard_bytes: 512 << 20,
            expanded_bytes: 1 << 30,
            // Raw pixels compress by less; zip bombs by a thousand and more.
            expansion: 64,
            // A dozen scans of 13,000×13,000 pixels.
            all_decoded_bytes: 2 << 30,
            // Drawings in black and white compress by some hundred; an image of one colour in a
            // large frame by eight thousand.
            decoded_expansion: 256,
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
