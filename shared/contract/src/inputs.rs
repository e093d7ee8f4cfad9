//! Typed inputs: a struct per kind of job whose fields are the roles of its inputs.
//!
//! On the wire, inputs are a list of (role, manifest key, digest) in a fixed order, and that order
//! is hashed into the job key. In the program they are a struct, made by [`inputs!`] in the kind's
//! file: the planner fills in every field, the worker takes every field out again, and the order of
//! the fields is the order on the wire.

use crate::{ContractError, Kind};
use std::collections::BTreeMap;

/// The inputs of one kind of job, with a `T` for each of them.
pub trait Inputs<T>: Sized {
    /// Every input with its role, in the order that is hashed into the job key.
    fn into_roles(self) -> Vec<(String, T)>;

    /// The inputs of a job of `kind`, found by role.
    ///
    /// # Errors
    /// [`ContractError::Role`] for a role that is missing, unknown, given twice or misnumbered.
    fn from_roles<'a>(
        kind: Kind,
        roles: impl IntoIterator<Item = (&'a str, T)>,
    ) -> Result<Self, ContractError>;
}

/// A field of an inputs struct: `T` for one input, `Option<T>` for one that may be absent, `Vec<T>`
/// for a numbered list (`shard/00000`, …), a map from (C, seed) for probes (`probe/20/0`), and
/// `Vec<(String, T)>` for inputs whose roles are free.
pub trait Role<T>: Sized {
    /// Appends the inputs of this role.
    fn write(self, role: &'static str, to: &mut Vec<(String, T)>);
    /// Takes the inputs of this role out of `from`.
    ///
    /// # Errors
    /// [`ContractError::Role`] when they are missing or misnumbered.
    fn read(role: &'static str, from: &mut RoleReader<'_, T>) -> Result<Self, ContractError>;
}

/// The inputs of a job that no field has taken yet.
pub struct RoleReader<'a, T> {
    kind: Kind,
    left: Vec<(&'a str, T)>,
    known: Vec<&'static str>,
}

impl<'a, T> RoleReader<'a, T> {
    /// All inputs of a job of `kind`.
    pub fn new(kind: Kind, roles: impl IntoIterator<Item = (&'a str, T)>) -> Self {
        Self {
            kind,
            left: roles.into_iter().collect(),
            known: Vec::new(),
        }
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`ContractError::Role`] when an input is left: its role is unknown, or was given twice.
    pub fn finish(self) -> Result<(), ContractError> {
        let Some((role, _)) = self.left.first() else {
            return Ok(());
        };
        Err(if self.known.contains(role) {
            self.error(role, "it twice", "it once")
        } else {
            self.error(role, "it", format!("only {}", self.known.join(", ")))
        })
    }

    fn take(&mut self, role: &'static str) -> Option<T> {
        self.known.push(role);
        let at = self.left.iter().position(|(found, _)| *found == role)?;
        Some(self.left.remove(at).1)
    }

    /// Inputs whose roles are `<prefix>/<something>`, each with what follows the slash.
    fn take_below(&mut self, prefix: &'static str) -> Vec<(&'a str, T)> {
        self.known.push(prefix);
        let mut taken = Vec::new();
        let mut left = Vec::new();
        for (role, input) in std::mem::take(&mut self.left) {
            match role
                .strip_prefix(prefix)
                .and_then(|rest| rest.strip_prefix('/'))
            {
                Some(rest) => taken.push((rest, input)),
                None => left.push((role, input)),
            }
        }
        self.left = left;
        taken
    }

    fn error(
        &self,
        role: &str,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> ContractError {
        ContractError::Role {
            kind: self.kind,
            role: role.chars().take(80).collect(),
            found: found.into(),
            expected: expected.into(),
        }
    }
}

impl<T> Role<T> for T {
    fn write(self, role: &'static str, to: &mut Vec<(String, T)>) {
        to.push((role.to_owned(), self));
    }
    fn read(role: &'static str, from: &mut RoleReader<'_, T>) -> Result<Self, ContractError> {
        from.take(role)
            .ok_or_else(|| from.error(role, "none", "one"))
    }
}

impl<T> Role<T> for Option<T> {
    fn write(self, role: &'static str, to: &mut Vec<(String, T)>) {
        to.extend(self.map(|input| (role.to_owned(), input)));
    }
    fn read(role: &'static str, from: &mut RoleReader<'_, T>) -> Result<Self, ContractError> {
        Ok(from.take(role))
    }
}

/// `shard/00007`: the role of one input of a numbered list.
pub fn numbered_role(role: &str, index: usize) -> String {
    format!("{role}/{index:05}")
}

impl<T> Role<T> for Vec<T> {
    fn write(self, role: &'static str, to: &mut Vec<(String, T)>) {
        to.extend(
            self.into_iter()
                .enumerate()
                .map(|(index, input)| (numbered_role(role, index), input)),
        );
    }
    fn read(role: &'static str, from: &mut RoleReader<'_, T>) -> Result<Self, ContractError> {
        let mut inputs = Vec::new();
        for (index, (found, input)) in from.take_below(role).into_iter().enumerate() {
            let expected = numbered_role(role, index);
            if expected[role.len() + 1..] != *found {
                let found = format!("{role}/{found}");
                return Err(from.error(&found, format!("it as number {index}"), expected));
            }
            inputs.push(input);
        }
        Ok(inputs)
    }
}

impl<T> Role<T> for BTreeMap<(u32, u64), T> {
    fn write(self, role: &'static str, to: &mut Vec<(String, T)>) {
        to.extend(
            self.into_iter()
                .map(|((clusters, seed), input)| (format!("{role}/{clusters}/{seed}"), input)),
        );
    }
    fn read(role: &'static str, from: &mut RoleReader<'_, T>) -> Result<Self, ContractError> {
        let mut inputs = BTreeMap::new();
        for (found, input) in from.take_below(role) {
            let numbers = found
                .split_once('/')
                .and_then(|(clusters, seed)| Some((clusters.parse().ok()?, seed.parse().ok()?)));
            let at = format!("{role}/{found}");
            let numbers =
                numbers.ok_or_else(|| from.error(&at, "it", format!("{role}/<C>/<seed>")))?;
            if inputs.insert(numbers, input).is_some() {
                return Err(from.error(&at, "it twice", "it once"));
            }
        }
        Ok(inputs)
    }
}

impl<T> Role<T> for Vec<(String, T)> {
    fn write(self, _: &'static str, to: &mut Vec<(String, T)>) {
        to.extend(self);
    }
    fn read(_: &'static str, from: &mut RoleReader<'_, T>) -> Result<Self, ContractError> {
        let all = std::mem::take(&mut from.left);
        Ok(all
            .into_iter()
            .map(|(role, input)| (role.to_owned(), input))
            .collect())
    }
}

/// Makes the inputs struct of a kind: each field is `name: type as "role"` with a type that
/// implements [`Role`].
macro_rules! inputs {
    (
        $(#[$doc:meta])*
        pub struct $name:ident<$t:ident> {
            $($(#[$field_doc:meta])* pub $field:ident: $type:ty as $role:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name<$t> {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl<$t> $crate::Inputs<$t> for $name<$t> {
            fn into_roles(self) -> Vec<(String, $t)> {
                let mut roles = Vec::new();
                $(<$type as $crate::Role<$t>>::write(self.$field, $role, &mut roles);)*
                roles
            }
            fn from_roles<'a>(
                kind: $crate::Kind,
                roles: impl IntoIterator<Item = (&'a str, $t)>,
            ) -> Result<Self, $crate::ContractError> {
                let mut reader = $crate::RoleReader::new(kind, roles);
                let inputs = Self {
                    $($field: <$type as $crate::Role<$t>>::read($role, &mut reader)?,)*
                };
                reader.finish()?;
                Ok(inputs)
            }
        }
    };
}
pub(crate) use inputs;

/// The inputs of a kind that reads nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoInputs;

impl<T> Inputs<T> for NoInputs {
    fn into_roles(self) -> Vec<(String, T)> {
        Vec::new()
    }
    fn from_roles<'a>(
        kind: Kind,
        roles: impl IntoIterator<Item = (&'a str, T)>,
    ) -> Result<Self, ContractError> {
        match roles.into_iter().next() {
            None => Ok(Self),
            Some((role, _)) => Err(RoleReader::<()>::new(kind, []).error(role, "it", "no inputs")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    inputs! {
        /// One field of each type.
        pub struct Every<T> {
            /// One input, always there.
            pub images: T as "images",
            /// One input that may be absent.
            pub fit: Option<T> as "fit",
            /// Inputs numbered from 0.
            pub shards: Vec<T> as "shard",
            /// By C and seed.
            pub probes: BTreeMap<(u32, u64), T> as "probe",
        }
    }

    fn every() -> Every<u8> {
        Every {
            images: 1,
            fit: None,
            shards: vec![2, 3],
            probes: BTreeMap::from([((20, 0), 5), ((5, 1), 4)]),
        }
    }

    fn read(roles: &[(&str, u8)]) -> Result<Every<u8>, String> {
        Every::from_roles(Kind::Score, roles.iter().copied()).map_err(|error| error.to_string())
    }

    #[test]
    fn roles_are_written_in_the_order_of_the_fields_and_read_back() {
        let roles = every().into_roles();
        let found: Vec<&str> = roles.iter().map(|(role, _)| role.as_str()).collect();
        let expected = [
            "images",
            "shard/00000",
            "shard/00001",
            "probe/5/1",
            "probe/20/0",
        ];
        assert_eq!(found, expected);
        let borrowed: Vec<(&str, u8)> = roles.iter().map(|(role, t)| (role.as_str(), *t)).collect();
        assert_eq!(read(&borrowed).unwrap(), every());
    }

    #[test]
    fn wrong_roles_are_named() {
        let images = ("images", 1);
        for (roles, expect) in [
            (
                vec![],
                "input `images` of a score job: found none, expected one",
            ),
            (
                vec![images, ("guide", 2)],
                "input `guide` of a score job: found it, expected only images, fit, shard, probe",
            ),
            (
                vec![images, images],
                "input `images` of a score job: found it twice, expected it once",
            ),
            (
                vec![images, ("shard/00001", 2)],
                "input `shard/00001` of a score job: found it as number 0, expected shard/00000",
            ),
            (
                vec![images, ("probe/x/1", 2)],
                "input `probe/x/1` of a score job: found it, expected probe/<C>/<seed>",
            ),
            (
                vec![images, ("probe/7/1", 2), ("probe/7/1", 2)],
                "input `probe/7/1` of a score job: found it twice, expected it once",
            ),
        ] {
            assert_eq!(read(&roles).unwrap_err(), expect);
        }
    }
}
