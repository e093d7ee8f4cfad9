//! Pseudo-labels from text (spec §8): every image gets the class whose text embedding is nearest by
//! cosine.

use super::files::read_vectors;
use anyhow::ensure;
use cedm_contract::kinds::extract::features::FEATURES;
use cedm_nets::arrays;
use std::path::Path;
use tch::{Kind, Tensor};

/// The class of each image. Text embeddings \[classes, d\], or \[classes, prompts, d\]: each prompt
/// is normalised, those of a class are averaged, and the mean is normalised.
///
/// # Errors
/// When a file cannot be read, or the two are of different widths.
pub fn pseudo_labels(text: &Path, images: &Path) -> anyhow::Result<Vec<i64>> {
    let (_, prompts) = arrays::array(text, &["text_embeddings", FEATURES.name])?;
    let prompts = prompts.to_kind(Kind::Float);
    let embeddings = read_vectors(images)?;
    let size = prompts.size();
    let texts = [(text, &prompts), (images, &embeddings)];
    for (file, tensor) in texts {
        ensure!(
            tensor.numel() > 0,
            "{} has shape {:?}: expected at least one number on each axis",
            file.display(),
            tensor.size()
        );
    }
    ensure!(
        matches!(size.len(), 2 | 3) && size.last() == embeddings.size().last(),
        "{} has shape {size:?}: expected [classes, {width}] or [classes, prompts, {width}], the \
         width of {}",
        text.display(),
        images.display(),
        width = embeddings.size()[1],
    );
    let prompts = prompts.view([size[0], -1, embeddings.size()[1]]);
    let classes = unit(&unit(&prompts).mean_dim([1i64].as_slice(), false, Kind::Float));
    Ok(Vec::<i64>::try_from(
        unit(&embeddings).matmul(&classes.tr()).argmax(1, false),
    )?)
}

/// Rows along the last axis at unit length.
fn unit(rows: &Tensor) -> Tensor {
    rows / rows
        .norm_scalaropt_dim(2, [-1i64].as_slice(), true)
        .clamp_min(1e-12)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cedm_torch::tensor_files::write;

    #[test]
    fn an_image_gets_the_class_that_its_prompts_point_to() {
        let folder = tempfile::tempdir().unwrap();
        let (text, images) = (
            folder.path().join("text.safetensors"),
            folder.path().join("images.safetensors"),
        );
        // Length must not matter: the long prompt of class 0 points away from what the class means
        // on average.
        let prompts =
            Tensor::from_slice(&[9f32, 9.0, 0.1, -0.1, 0.0, 1.0, 0.0, 1.0]).view([2, 2, 2]);
        write(&text, &[("text_embeddings", &prompts)], &[]).unwrap();
        let embeddings = Tensor::from_slice(&[5f32, 1.0, 0.1, 0.9]).view([2, 2]);
        write(&images, &[("features", &embeddings)], &[]).unwrap();
        assert_eq!(pseudo_labels(&text, &images).unwrap(), [0, 1]);
        write(&images, &[("features", &embeddings.view([1, 4]))], &[]).unwrap();
        let error = pseudo_labels(&text, &images).unwrap_err().to_string();
        assert!(
            error.contains("has shape [2, 2, 2]: expected [classes, 4] or [classes, prompts, 4]"),
            "{error}"
        );
        // Of no class none is the nearest.
        let none = Tensor::zeros([0, 4], (Kind::Float, tch::Device::Cpu));
        for (file, name) in [(&images, "features"), (&text, "text_embeddings")] {
            write(file, &[(name, &none)], &[]).unwrap();
            let error = pseudo_labels(&text, &images).unwrap_err().to_string();
            assert!(
                error.contains(&*file.to_string_lossy()) && error.contains("has shape [0, 4]"),
                "{error}"
            );
        }
    }
}
