//! The keys that the sweep file's own deserialisers accept, with their types.
//!
//! [`Probe`] is a deserialiser without input: it records what each `Deserialize` implementation
//! asks for and answers with a dummy value. Types that accept several forms ask for "any" value;
//! there the field list is taken from the error that an unknown key provokes, and the search starts
//! over.

mod contents;

use contents::{Elements, Fields, Variant};
use serde::{
    Deserialize,
    de::{self, Deserializer, Visitor},
    forward_to_deserialize_any,
};
use std::{cell::RefCell, collections::BTreeMap, fmt};

/// Every accepted key by its dotted path (`clustering.temi.heads`), with its type in words; tables
/// have the type `table`.
pub(super) fn accepted_keys<T: for<'de> Deserialize<'de>>() -> BTreeMap<String, String> {
    let state = RefCell::new(State::default());
    loop {
        state.borrow_mut().found.clear();
        let probe = Probe {
            path: String::new(),
            state: &state,
        };
        match T::deserialize(probe) {
            Ok(_) => return state.into_inner().found,
            Err(_) if std::mem::take(&mut state.borrow_mut().start_over) => {}
            Err(error) => panic!("the search over the sweep file's keys failed: {error}"),
        }
    }
}

#[derive(Default)]
struct State {
    found: BTreeMap<String, String>,
    /// How values of "any" type are to be answered, by path.
    forms: BTreeMap<String, Form>,
    /// Set when an error has added to `forms`, so that the search starts over.
    start_over: bool,
}

#[derive(Clone)]
enum Form {
    Table(&'static [&'static str]),
    Word(String),
}

#[derive(Debug)]
enum Error {
    UnknownField(&'static [&'static str]),
    InvalidType(String),
    Other(String),
}
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::UnknownField(known) => write!(f, "unknown field; known are {known:?}"),
            Error::InvalidType(expected) => write!(f, "expected {expected}"),
            Error::Other(message) => f.write_str(message),
        }
    }
}
impl std::error::Error for Error {}
impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error::Other(message.to_string())
    }
    fn invalid_type(_: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Error::InvalidType(expected.to_string())
    }
    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Error::UnknownField(expected)
    }
}

#[derive(Clone)]
struct Probe<'a> {
    path: String,
    state: &'a RefCell<State>,
}

impl Probe<'_> {
    fn record(&self, kind: &str) {
        let mut state = self.state.borrow_mut();
        state.found.insert(self.path.clone(), kind.to_owned());
    }
    fn below(&self, key: &str) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self {
            path: format!("{}{dot}{key}", self.path),
            state: self.state,
        }
    }
    /// The type of a list's elements, recorded under a path of its own.
    fn elements_type(&self) -> String {
        let path = format!("{}[]", self.path);
        let found = self.state.borrow_mut().found.remove(&path);
        found.unwrap_or_default()
    }
}

macro_rules! scalars {
    ($($method:ident $visit:ident $value:expr, $kind:literal;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            self.record($kind);
            visitor.$visit($value)
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Error;

    scalars! {
        deserialize_bool visit_bool false, "`true` or `false`";
        deserialize_u32 visit_u32 1, "whole number";
        deserialize_u64 visit_u64 1, "whole number";
        deserialize_f64 visit_f64 1.0, "number";
        deserialize_str visit_str "text", "text";
        deserialize_string visit_str "text", "text";
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let form = self.state.borrow().forms.get(&self.path).cloned();
        let result = match &form {
            Some(Form::Word(kind)) => {
                self.record(kind);
                return visitor.visit_str("text");
            }
            Some(Form::Table(fields)) => {
                self.record("table");
                return visitor.visit_map(Fields::new(&self, fields));
            }
            None => visitor.visit_map(Fields::new(&self, &["an unknown key"])),
        };
        let form = match result {
            Err(Error::UnknownField(fields)) => Form::Table(fields),
            Err(Error::InvalidType(expected)) => Form::Word(expected),
            other => return other,
        };
        let mut state = self.state.borrow_mut();
        state.forms.insert(self.path.clone(), form);
        state.start_over = true;
        Err(Error::Other("start over".to_owned()))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let value = visitor.visit_seq(Elements {
            probe: &self,
            left: 1,
        })?;
        match self.elements_type().as_str() {
            // A list of tables: `[[clustering]]`.
            "" => self.record("table"),
            element => self.record(&format!("list of {}", plural(element))),
        }
        Ok(value)
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        let value = visitor.visit_seq(Elements {
            probe: &self,
            left: length,
        })?;
        let element = plural(&self.elements_type());
        self.record(&format!("list of {length} {element}"));
        Ok(value)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.record("table");
        visitor.visit_map(Fields::new(&self, fields))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let quoted: Vec<String> = variants
            .iter()
            .map(|name| format!("`\"{name}\"`"))
            .collect();
        self.record(&quoted.join(", "));
        visitor.visit_enum(Variant(variants[0]))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u128 f32 char bytes byte_buf unit unit_struct tuple_struct map
        identifier ignored_any
    }
}

fn plural(kind: &str) -> String {
    match kind {
        "text" => "texts".to_owned(),
        kind => format!("{kind}s"),
    }
}
