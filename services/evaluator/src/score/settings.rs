//! Constants of the metrics that other tools let their users choose; the defaults are the
//! literature's.

use serde::Serialize;

/// What the table of metrics says, unless `evaluator run` is asked for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::Args)]
pub struct Settings {
    /// k of precision, recall, density, coverage and realism
    #[arg(long, default_value_t = 5, value_name = "K", value_parser = clap::value_parser!(u32).range(1..))]
    pub neighbours: u32,
    /// At most so many images of each side for precision and its kin, drawn by the seed
    #[arg(long, default_value_t = 10_000, value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(2..))]
    pub neighbour_images: u32,
    /// Subsets of the kernel distance
    #[arg(long, default_value_t = 100, value_name = "SUBSETS", value_parser = clap::value_parser!(u32).range(1..))]
    pub kid_subsets: u32,
    /// Images in each of these subsets; all of a smaller set
    #[arg(long, default_value_t = 1_000, value_name = "IMAGES", value_parser = clap::value_parser!(u32).range(2..))]
    pub kid_subset_size: u32,
    /// Splits of the Inception Score
    #[arg(long, default_value_t = 10, value_name = "SPLITS", value_parser = clap::value_parser!(u32).range(1..))]
    pub isc_splits: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            neighbours: 5,
            neighbour_images: 10_000,
            kid_subsets: 100,
            kid_subset_size: 1_000,
            isc_splits: 10,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn the_command_line_starts_from_the_literature() {
        assert_eq!(Line::parse_from(["run"]).settings, Settings::default());
    }
}
