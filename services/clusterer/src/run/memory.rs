//! How much memory a search for neighbours may take.

/// Memory for similarities. Beside it a search holds one unit-length copy of its rows (of two
/// blocks, in a part of a shared search) and at most 32·k bytes per row.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Memory {
    /// MiB for tiles of similarities in a search for neighbours; larger tiles are faster until they
    /// outgrow the cache
    #[arg(long, env = "CEDM_NEIGHBOUR_TILE_MIB", default_value_t = cedm_clustering::neighbours::DEFAULT_TILE_BYTES >> 20,
        value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    neighbour_tile_mib: u64,
}

impl Memory {
    /// In bytes.
    pub fn tile_bytes(&self) -> u64 {
        self.neighbour_tile_mib << 20
    }
}
