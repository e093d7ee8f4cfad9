//! Python pickles read as data: a stack machine that builds a tree and never imports, calls or
//! executes anything.
//!
//! A call in a pickle is kept as a [`Node::Call`]; whoever reads the tree interprets the few calls
//! that it knows and ignores the rest. Protocols 0 to 5, opcodes as in CPython's
//! `pickletools`. Memory is bounded by the bytes and by a largest number of objects.

use std::{borrow::Cow, collections::HashMap};

mod lines;
mod machine;

/// Index of a node in its pickle.
pub type Id = usize;

/// Why bytes cannot be read as a pickle.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("pickle at byte {offset}: {reason}")]
pub struct PickleError {
    /// Position in the bytes.
    pub offset: usize,
    /// What was found, and what was expected.
    pub reason: String,
}

impl PickleError {
    /// Whether all bytes were read and more were expected.
    pub fn ends_early(&self) -> bool {
        self.reason.starts_with(ENDS_EARLY)
    }
}

/// How the reason begins where bytes are missing.
const ENDS_EARLY: &str = "ends early";

/// One object of a pickle.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    /// The value `None`.
    None,
    /// `True` or `False`.
    Bool(bool),
    /// An integer that fits 64 bits.
    Int(i64),
    /// A longer integer: little-endian two's complement.
    Long(&'a [u8]),
    /// A float of 64 bits.
    Float(f64),
    /// A `str` of Python 3.
    Text(Cow<'a, str>),
    /// Bytes, or a `str` of Python 2.
    Bytes(Cow<'a, [u8]>),
    /// A list or set.
    List(Vec<Id>),
    /// A tuple of nodes.
    Tuple(Vec<Id>),
    /// A dict as pairs of key and value, in order.
    Dict(Vec<(Id, Id)>),
    /// A class or function by name; it is never imported.
    Global {
        /// Module that it is imported from.
        module: Cow<'a, str>,
        /// Name inside the module.
        name: Cow<'a, str>,
    },
    /// A reference to something outside the pickle; its identifier.
    Persistent(Id),
    /// A call that the pickle asks for; it is never made.
    Call {
        /// Node of the function or class.
        callable: Id,
        /// Node of the arguments, a tuple.
        args: Id,
        /// State that is set on the result.
        state: Option<Id>,
        /// Keys and values that are set on the result (an `OrderedDict`).
        items: Vec<(Id, Id)>,
    },
}

/// A pickle as a tree, which borrows strings from the bytes.
#[derive(Debug)]
pub struct Pickle<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
    /// Number of bytes read; another pickle may follow.
    pub length: usize,
}

impl<'a> Pickle<'a> {
    /// Reads the first pickle in `bytes`.
    ///
    /// # Errors
    /// When the bytes end early, hold an unknown opcode, or use a stack that is empty.
    pub fn read(bytes: &'a [u8]) -> Result<Self, PickleError> {
        // The memo lets later opcodes refer to earlier objects; marks delimit what collections
        // take.
        let mut machine = machine::Machine {
            bytes,
            at: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            entries: 0,
        };
        let root = machine.run()?;
        Ok(Self {
            nodes: machine.nodes,
            root,
            length: machine.at,
        })
    }

    /// The node of the whole object.
    pub fn root(&self) -> Id {
        self.root
    }

    /// Indices of all nodes, in the order in which they were read.
    pub fn ids(&self) -> std::ops::Range<Id> {
        0..self.nodes.len()
    }

    /// The node with this index.
    pub fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id]
    }

    /// A text, also from bytes in UTF-8, which is how Python 2 wrote names.
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            Node::Bytes(bytes) => std::str::from_utf8(bytes).ok(),
            // Python 3 writes bytes into protocol 2 as `_codecs.encode(text, "latin1")`.
            Node::Call { .. } => match self.call(id)? {
                (("_codecs", "encode"), [text, ..]) => match self.node(*text) {
                    Node::Text(text) => Some(text),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        }
    }

    /// Bytes, in each way that Python writes them.
    pub fn bytes(&self, id: Id) -> Option<Cow<'_, [u8]>> {
        match self.node(id) {
            Node::Bytes(bytes) => Some(Cow::Borrowed(bytes)),
            // Python 3 writes bytes into protocols 0 to 2 as `_codecs.encode(text, "latin1")`: each
            // character is one byte.
            Node::Call { .. } => match self.call(id)? {
                (("_codecs", "encode"), args) => self
                    .text(*args.first()?)?
                    .chars()
                    .map(|c| u8::try_from(u32::from(c)).ok())
                    .collect::<Option<Vec<u8>>>()
                    .map(Cow::Owned),
                // `bytearray(bytes)`, and `bytes()` without arguments for none. One inside the
                // other would be nothing that Python writes.
                (("builtins" | "__builtin__", "bytearray" | "bytes"), args) => {
                    let Some(inner) = args.first() else {
                        return Some(Cow::Borrowed(&[]));
                    };
                    match self.call(*inner) {
                        Some((("builtins" | "__builtin__", _), _)) => None,
                        _ => self.bytes(*inner),
                    }
                }
                _ => None,
            },
            _ => None,
        }
    }

    /// An integer or truth value.
    pub fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Int(value) => Some(*value),
            Node::Bool(value) => Some(i64::from(*value)),
            _ => None,
        }
    }

    /// The elements of a list or tuple.
    pub fn elements(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::List(ids) | Node::Tuple(ids) => Some(ids),
            _ => None,
        }
    }

    /// The keys and values of a dict, an `OrderedDict`, or an object of another class whose items
    /// are set as those of a dict (`defaultdict`, `EasyDict`).
    pub fn items(&self, id: Id) -> Option<impl Iterator<Item = (Id, Id)>> {
        // Python 2 passes the pairs to the constructor, later versions set them afterwards.
        let (given, items) = match self.node(id) {
            Node::Dict(items) => (&[][..], items),
            Node::Call {
                callable,
                args,
                items,
                ..
            } if !items.is_empty()
                || self.global(*callable) == Some(("collections", "OrderedDict")) =>
            {
                let list = self.elements(*args).and_then(|args| args.first());
                (
                    list.and_then(|list| self.elements(*list)).unwrap_or(&[]),
                    items,
                )
            }
            _ => return None,
        };
        let pair = |id: &Id| match self.elements(*id)? {
            [key, value] => Some((*key, *value)),
            _ => None,
        };
        Some(given.iter().filter_map(pair).chain(items.iter().copied()))
    }

    /// The value under a text key of a dict; of several the last, as in Python.
    pub fn get(&self, id: Id, key: &str) -> Option<Id> {
        // A list of pairs and not a map: keys may be anything, and pickles of data sets have few.
        self.items(id)?
            .filter(|(name, _)| self.text(*name) == Some(key))
            .last()
            .map(|(_, value)| value)
    }

    /// Module and name of a global.
    pub fn global(&self, id: Id) -> Option<(&str, &str)> {
        match self.node(id) {
            Node::Global { module, name } => Some((module, name)),
            _ => None,
        }
    }

    /// Name of the callable and the arguments of a call.
    pub fn call(&self, id: Id) -> Option<((&str, &str), &[Id])> {
        match self.node(id) {
            Node::Call { callable, args, .. } => {
                Some((self.global(*callable)?, self.elements(*args)?))
            }
            _ => None,
        }
    }

    /// State that was set on a called object.
    pub fn state(&self, id: Id) -> Option<Id> {
        match self.node(id) {
            Node::Call { state, .. } => *state,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
