//! Values of the sweep file that may be written in several forms.

use super::ExtractorTable;
use cedm_contract::Precision;
use serde::{
    Deserialize, Deserializer,
    de::{self, value::MapAccessDeserializer},
};
use std::fmt;

/// An extractor as its name alone, or as a table.
pub(super) struct ExtractorFile(pub(super) ExtractorTable);

impl<'de> Deserialize<'de> for ExtractorFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ExtractorFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(
                    "the name of an extractor, or a table with name, weights, dim, \
                     precision and adapt",
                )
            }
            fn visit_str<E: de::Error>(self, name: &str) -> Result<ExtractorFile, E> {
                Ok(ExtractorFile(ExtractorTable {
                    name: name.to_owned(),
                    weights: None,
                    dim: None,
                    precision: Precision::default(),
                    adapt: None,
                }))
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<ExtractorFile, A::Error> {
                ExtractorTable::deserialize(MapAccessDeserializer::new(map)).map(ExtractorFile)
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Values of C: `"bound"`, `"c_max"`, a number, or a list of numbers.
pub(crate) enum ClustersFile {
    /// A word; the rules check which.
    Word(String),
    /// Numbers, in the order of the file.
    List(Vec<u32>),
}

impl<'de> Deserialize<'de> for ClustersFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = ClustersFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"bound\", \"c_max\", or a list of whole numbers such as [10, 20, 40]")
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<ClustersFile, E> {
                Ok(ClustersFile::Word(word.to_owned()))
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<ClustersFile, E> {
                u32::try_from(number)
                    .map(|c| ClustersFile::List(vec![c]))
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<ClustersFile, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(ClustersFile::List(list))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Values of `candidates`: how many, or which.
pub(crate) enum CandidatesFile {
    /// So many, placed by a rule.
    Count(u32),
    /// These, in the order of the file.
    List(Vec<u32>),
    /// Neither; the rules say so.
    Word(String),
}

impl<'de> Deserialize<'de> for CandidatesFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = CandidatesFile;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number, or a list of whole numbers such as [10, 20, 40]")
            }
            fn visit_i64<E: de::Error>(self, number: i64) -> Result<CandidatesFile, E> {
                u32::try_from(number)
                    .map(CandidatesFile::Count)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }
            fn visit_str<E: de::Error>(self, word: &str) -> Result<CandidatesFile, E> {
                Ok(CandidatesFile::Word(word.to_owned()))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<CandidatesFile, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(CandidatesFile::List(list))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A section that may stand once, `[section]`, or several times, `[[section]]`.
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = OneOrMany<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a table, or a list of tables")
            }
            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<OneOrMany<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(|one| OneOrMany(vec![one]))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<OneOrMany<T>, A::Error> {
                let mut many = Vec::new();
                while let Some(item) = items.next_element()? {
                    many.push(item);
                }
                Ok(OneOrMany(many))
            }
        }
        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}
