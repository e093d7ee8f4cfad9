//! The option that limits the memory of a search for neighbours.

/// Memory for tiles of similarities. In addition, a search holds one unit-length copy of its rows
/// (of two blocks in a part of a shared search) and at most 32·k bytes per row.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Memory {
    /// Memory in MiB for tiles of similarities in a search for neighbours; larger tiles are faster
    /// as long as they fit into the cache
    #[arg(long, env = "CEDM_NEIGHBOUR_TILE_MIB", default_value_t = cedm_clustering::neighbours::DEFAULT_TILE_BYTES >> 20,
        value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    neighbour_tile_mib: u64,
}

impl Memory {
    /// The memory for tiles in bytes.
    pub fn tile_bytes(&self) -> u64 {
        self.neighbour_tile_mib << 20
    }
}
