//! Options of `cedm import`.

use cedm_images::SourceArgs;
use clap::Args;

/// Options of `cedm import`.
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// A folder, zip or tar archive of images, EDM archive, WebDataset shards, CIFAR or MNIST
    /// files, numpy array, parquet table or LMDB database: a path or an s3:// URI
    pub path: String,
    /// Name by which sweep files refer to this image set
    #[arg(long)]
    pub name: String,
    /// How the source is read.
    #[command(flatten)]
    pub source: SourceArgs,
    /// Images per stored shard; every shard is one extraction job
    #[arg(long, default_value_t = 2048, value_name = "N")]
    pub shard_size: u32,
    /// Replace the name's present image set by this one
    #[arg(long)]
    pub replace: bool,
}
