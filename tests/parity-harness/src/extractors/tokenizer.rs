//! Token ids of texts.

use super::{Verdict, exact, listing::Listing};
use crate::fixture::Fixture;
use anyhow::Context;
use cedm_nets::clip::Tokenizer;
use tch::{Kind, Tensor};

pub fn check(_: &Fixture, listing: &Listing) -> anyhow::Result<Verdict> {
    if listing.name.ends_with(".txt.gz") {
        return Ok(Verdict::PartOf("the texts beside it".to_owned()));
    }
    let tensors = listing.tensors();
    if tensors.len() == 1 && tensors.contains_key("ids") {
        return Ok(Verdict::PartOf("the texts beside it".to_owned()));
    }
    if !listing.name.ends_with(".json") {
        return Ok(Verdict::NotMine);
    }
    let json = listing.json(&listing.name)?;
    let Some(prompts) = json["prompts"].as_array() else {
        return Ok(Verdict::NotMine);
    };
    let tokenizer = beside(listing)?;
    let (mut lines, mut texts) = (Vec::new(), Vec::new());
    for prompt in prompts {
        let text = prompt["text"].as_str().context("a prompt has a text")?;
        let expect: Vec<i64> = prompt["ids"]
            .as_array()
            .context("a prompt has ids")?
            .iter()
            .filter_map(|id| id.as_i64())
            .collect();
        let shown: String = text.chars().take(24).collect();
        // The list ends at the first end token; the padded ids below hold what may follow it in a
        // text that names the token.
        let mut found = tokenizer.encode(text);
        let end = found
            .iter()
            .position(|id| Some(id) == expect.last())
            .map_or(found.len(), |at| at + 1);
        found.truncate(end);
        lines.push(exact(format!("ids of {shown:?}"), found == expect));
        texts.push(text.to_owned());
    }
    lines.push(exact(
        "padded ids",
        tokenizer.batch(&texts).equal(&ids_beside(listing)?),
    ));
    Ok(Verdict::Checked(lines))
}

/// The tokenizer over the vocabulary in the same folder.
pub fn beside(listing: &Listing) -> anyhow::Result<Tokenizer> {
    let name = listing
        .beside()
        .into_iter()
        .find(|name| name.ends_with(".txt.gz"))
        .context("no vocabulary beside it")?;
    Ok(Tokenizer::read(&listing.path(name))?)
}

/// The padded ids in the same folder.
pub fn ids_beside(listing: &Listing) -> anyhow::Result<Tensor> {
    let holds_ids = |name: &&str| listing.tensors_of(name).keys().eq(["ids"].iter());
    let name = listing
        .beside()
        .into_iter()
        .find(holds_ids)
        .context("no token ids beside it")?;
    Ok(listing
        .read(name)?
        .remove("ids")
        .context("`ids`")?
        .to_kind(Kind::Int64))
}
