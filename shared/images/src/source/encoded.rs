//! Encoded image files in a container, in the order of their names.

use super::{Labels, Source, labels};
use crate::{
    ImageError, ImportOptions, Limits, Picture,
    budget::{Budget, Share},
    container::Container,
    decode::{self, is_image_name},
};

/// The encoded images of a container.
pub(super) struct Encoded {
    container: Container,
    /// Indices of the members that are images.
    images: Vec<u32>,
    labels: Labels,
    limits: Limits,
}

/// Whether any member has the name of an image.
pub(super) fn has_images(container: &Container) -> bool {
    container
        .members
        .iter()
        .any(|member| is_image_name(&member.name))
}

impl Encoded {
    pub(super) fn open(container: Container, options: &ImportOptions) -> Result<Self, ImageError> {
        let images: Vec<u32> = container
            .members
            .iter()
            .enumerate()
            // Data sets have readmes, lists and labels beside their images.
            .filter(|(_, member)| is_image_name(&member.name))
            .map(|(at, _)| at as u32)
            .collect();
        if images.is_empty() {
            return Err(ImageError::NoImages {
                path: container.path.clone(),
                hint: hint(&container, options),
            });
        }
        let labels = if options.ignore_labels {
            Labels::default()
        } else {
            let names: Vec<&str> = images
                .iter()
                .map(|at| container.members[*at as usize].name.as_str())
                .collect();
            labels::find(&container, &names, options.limits.label_bytes)?
        };
        Ok(Self {
            container,
            images,
            labels,
            limits: options.limits.clone(),
        })
    }
}

/// What a container without images holds instead.
fn hint(container: &Container, options: &ImportOptions) -> String {
    match (&options.inside, container.members.first()) {
        (Some(inside), None) => format!(" below `{inside}`"),
        (_, None) => ": it is empty".to_owned(),
        (_, Some(first)) => format!(
            ": {} members, the first is `{}`",
            container.members.len(),
            first.name
        ),
    }
}

impl Source for Encoded {
    fn len(&self) -> usize {
        self.images.len()
    }
    fn name(&self, index: usize) -> String {
        self.container.members[self.images[index] as usize]
            .name
            .clone()
    }
    fn labels(&self) -> &Labels {
        &self.labels
    }
    fn read<'b>(
        &self,
        index: usize,
        budget: &'b Budget,
    ) -> Result<(Picture, Share<'b>), ImageError> {
        let member = &self.container.members[self.images[index] as usize];
        let bytes = self.container.read(member, self.limits.member_bytes)?;
        let encoded = decode::Encoded::open(&member.name, &bytes, &self.limits)?;
        let share = budget.take(encoded.decoded_bytes() + bytes.len() as u64);
        Ok((encoded.decode()?, share))
    }
}
