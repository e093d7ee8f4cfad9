//! Shards of images as tensors.

use cedm_images::Shard;
use tch::Tensor;

/// The images of a shard as uint8 \[n, channels, side, side\] on the CPU.
pub fn images_of(shard: &Shard) -> Tensor {
    let sides = [
        shard.count,
        shard.channels,
        shard.resolution,
        shard.resolution,
    ];
    Tensor::from_slice(&shard.images).view(sides.map(|side| side as i64))
}
