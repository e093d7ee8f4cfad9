//! Token ids of texts.

use super::{Verdict, exact_match, listing::Listing};
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
        return Ok(Verdict::NotRecognised);
    }
    let json = listing.json(&listing.name)?;
    let Some(prompts) = json["prompts"].as_array() else {
        return Ok(Verdict::NotRecognised);
    };
    let tokenizer = read_listed(listing)?;
    let (mut comparisons, mut texts) = (Vec::new(), Vec::new());
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
        comparisons.push(exact_match(format!("ids of {shown:?}"), found == expect));
        texts.push(text.to_owned());
    }
    comparisons.push(exact_match(
        "padded ids",
        tokenizer.batch(&texts).equal(&read_listed_ids(listing)?),
    ));
    Ok(Verdict::Checked(comparisons))
}

/// The tokenizer over the vocabulary in the same folder.
pub fn read_listed(listing: &Listing) -> anyhow::Result<Tokenizer> {
    let name = listing
        .siblings()
        .into_iter()
        .find(|name| name.ends_with(".txt.gz"))
        .context("no vocabulary beside it")?;
    Ok(Tokenizer::read(&listing.path(name))?)
}

/// The padded ids in the same folder.
pub fn read_listed_ids(listing: &Listing) -> anyhow::Result<Tensor> {
    let holds_ids = |name: &&str| listing.tensors_of(name).keys().eq(["ids"].iter());
    let name = listing
        .siblings()
        .into_iter()
        .find(holds_ids)
        .context("no token ids beside it")?;
    Ok(listing
        .read(name)?
        .remove("ids")
        .context("`ids`")?
        .to_kind(Kind::Int64))
}
