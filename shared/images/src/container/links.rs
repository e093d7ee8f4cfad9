//! Links inside an archive: second names of its own members.

use super::Member;
use crate::Skipped;
use std::collections::{BTreeMap, HashMap};

/// A link, with the full name of what it stands for.
pub struct Link {
    /// Its own name.
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

/// The members that the links stand for, under the links' names, and the links that lead nowhere. A
/// link to a folder stands for everything in it.
pub fn resolve(members: &[Member], links: Vec<Link>) -> (Vec<Member>, Vec<Skipped>) {
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    if links.is_empty() {
        return (found, lost);
    }
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
    (found, lost)
}
