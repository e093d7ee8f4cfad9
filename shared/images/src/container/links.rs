//! Links inside an archive: second names of its own members.

use super::Member;
use crate::Skipped;
use std::collections::{BTreeMap, HashMap};

/// A link, with the full name of what it stands for.
pub struct Link {
    /// Its own name among the members.
    pub name: String,
    /// The member that it names; `None` where that lies outside the archive.
    pub target: Option<String>,
}

impl Link {
    /// A symbolic link, whose target is relative to its own folder.
    pub fn symbolic(name: String, target: &str) -> Self {
        let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
        let target = normal(folder, &target.replace('\\', "/"));
        Self { name, target }
    }
}

/// `path` seen from `folder`, without `.` and `..`; `None` when it leaves the archive.
fn normal(folder: &str, path: &str) -> Option<String> {
    if path.starts_with('/') {
        return None;
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in folder.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// Links longer than this are loops.
const LONGEST_CHAIN: usize = 40;
/// Members that links may always add, and how many times the members of the archive they may add
/// beyond: links to a folder of thousands could otherwise stand for millions.
const ADDED: usize = 100_000;
const ADDED_FOR_EACH: usize = 4;

/// Bytes that links may always repeat, and how many times the bytes of the members they may repeat
/// beyond: each repetition is read and decoded.
const REPEATED: u64 = 1 << 30;
const REPEATED_FOR_EACH: u64 = 4;

/// The members that the links stand for, under the links' names, and the links that lead nowhere. A
/// link to a folder stands for everything in it.
///
/// # Errors
/// When they stand for far more members than the archive has.
pub fn resolve(
    members: &[Member],
    links: Vec<Link>,
) -> Result<(Vec<Member>, Vec<Skipped>), String> {
    let most = ADDED.max(ADDED_FOR_EACH.saturating_mul(members.len() + links.len()));
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    if links.is_empty() {
        return Ok((found, lost));
    }
    let own = members.iter().map(|member| member.size);
    let own = own.fold(0, u64::saturating_add);
    let most_bytes = REPEATED.max(own.saturating_mul(REPEATED_FOR_EACH));
    let mut repeated = 0u64;
    let by_name: BTreeMap<&str, &Member> = members
        .iter()
        .map(|member| (member.name.as_str(), member))
        .collect();
    let targets: HashMap<&str, Option<&str>> = links
        .iter()
        .map(|link| (link.name.as_str(), link.target.as_deref()))
        .collect();
    for link in &links {
        let mut target = link.target.as_deref();
        for _ in 0..LONGEST_CHAIN {
            match target.and_then(|name| targets.get(name)) {
                Some(next) => target = *next,
                None => break,
            }
        }
        let before = found.len();
        if let Some(target) = target {
            if let Some(member) = by_name.get(target) {
                found.push(Member {
                    name: link.name.clone(),
                    ..(*member).clone()
                });
            } else {
                let folder = format!("{target}/");
                let inside = by_name.range(folder.as_str()..);
                let inside = inside.take_while(|(name, _)| name.starts_with(&folder));
                found.extend(inside.map(|(name, member)| Member {
                    name: format!("{}/{}", link.name, &name[folder.len()..]),
                    ..(*member).clone()
                }));
            }
        }
        let added = found[before..].iter().map(|member| member.size);
        repeated = added.fold(repeated, u64::saturating_add);
        if repeated > most_bytes {
            return Err(format!(
                "its links repeat more than {most_bytes} bytes, of {own} in the archive"
            ));
        }
        if found.len() > most {
            return Err(format!(
                "its links stand for more than {most} members, of {} in the archive",
                members.len()
            ));
        }
        if found.len() == before {
            let reason = match &link.target {
                Some(target) => format!("a link to `{target}`, which is not in the archive"),
                None => "a link to a place outside the archive".to_owned(),
            };
            lost.push(Skipped {
                name: link.name.clone(),
                reason,
            });
        }
    }
    Ok((found, lost))
}
