//! The stack machine of the pickle format.

use super::{ENDS_EARLY, Id, Node, PickleError, lines};
use std::{borrow::Cow, collections::HashMap};

pub(super) struct Machine<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    pub nodes: Vec<Node<'a>>,
    pub stack: Vec<Id>,
    pub marks: Vec<usize>,
    pub memo: HashMap<u64, Id>,
    /// Entries of all lists, tuples and dicts so far.
    pub entries: usize,
}

type Step<T> = Result<T, PickleError>;

/// Most objects of a pickle, some 200 MB; a checkpoint of thousands of tensors has a tenth of it.
const MAX_NODES: usize = 2_000_000;
/// Most entries of the stack: a list is built on it.
const MAX_STACK: usize = 8_000_000;
/// Most entries of all lists, tuples and dicts together, some 130 MB: an entry takes eight times
/// the byte or two that ask for it, and may be asked for again after it was dropped.
const MAX_ENTRIES: usize = 16_000_000;
/// Longest name of a class or function in bytes: two opcodes repeat a name that is given once.
const MAX_NAME: usize = 1024;

impl<'a> Machine<'a> {
    /// Runs until STOP; returns the object on top.
    pub fn run(&mut self) -> Step<Id> {
        loop {
            let opcode = self.take(1)?[0];
            if opcode == b'.' {
                return self.pop();
            }
            self.step(opcode)?;
            // An object takes a hundred times the byte that asks for it.
            if self.nodes.len() > MAX_NODES {
                return Err(self.error(format!("more than {MAX_NODES} objects")));
            }
            if self.stack.len() > MAX_STACK || self.marks.len() > MAX_STACK {
                return Err(self.error(format!("more than {MAX_STACK} objects on the stack")));
            }
            if self.memo.len() > MAX_NODES {
                return Err(self.error(format!("more than {MAX_NODES} entries of the memo")));
            }
            if self.entries > MAX_ENTRIES {
                return Err(self.error(format!("more than {MAX_ENTRIES} entries of collections")));
            }
        }
    }

    fn step(&mut self, opcode: u8) -> Step<()> {
        match opcode {
            // PROTO and FRAME: version and frame length say nothing about the object.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            // MARK; NONE, NEWTRUE, NEWFALSE.
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            // BININT, BININT1, BININT2: of these only the first is signed. LONG1, LONG4. BINFLOAT.
            b'J' => self.fixed_int(4, true)?,
            b'K' => self.fixed_int(1, false)?,
            b'M' => self.fixed_int(2, false)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'G' => {
                let bytes = self
                    .take(8)?
                    .try_into()
                    .expect("invariant: eight bytes were taken");
                self.push(Node::Float(f64::from_be_bytes(bytes)));
            }
            // Protocol 0 writes a line of text for each: INT, LONG, FLOAT, STRING, UNICODE.
            b'I' => self.int_line()?,
            b'L' => self.long_line()?,
            b'F' => {
                let line = self.line()?;
                let number = line.parse().map_err(|_| self.error("not a float"))?;
                self.push(Node::Float(number));
            }
            b'S' => {
                let line = self.line()?;
                let bytes = lines::string(line).ok_or_else(|| self.error("not a string"))?;
                self.push(Node::Bytes(Cow::Owned(bytes)));
            }
            b'V' => {
                let line = self.line_bytes()?;
                let text = lines::unicode(line).ok_or_else(|| self.error("not a text"))?;
                self.push(Node::Text(Cow::Owned(text)));
            }
            // SHORT_BINSTRING and SHORT_BINBYTES; BINSTRING and BINBYTES; BINBYTES8 and BYTEARRAY8.
            b'U' | b'C' => self.bytes_of(1)?,
            b'T' | b'B' => self.bytes_of(4)?,
            0x8e | 0x96 => self.bytes_of(8)?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8.
            0x8c => self.text_of(1)?,
            b'X' => self.text_of(4)?,
            0x8d => self.text_of(8)?,
            // EMPTY_LIST and EMPTY_SET, EMPTY_DICT, EMPTY_TUPLE.
            b']' | 0x8f => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b')' => self.push(Node::Tuple(Vec::new())),
            // TUPLE, LIST and FROZENSET, DICT: of everything above the mark.
            b't' => self.collect(Node::Tuple)?,
            b'l' | 0x91 => self.collect(Node::List)?,
            b'd' => {
                let items = self.pairs_above_mark()?;
                self.push(Node::Dict(items));
            }
            // TUPLE1 to TUPLE3 need no mark.
            0x85..=0x87 => {
                let from = self
                    .stack
                    .len()
                    .checked_sub((opcode - 0x84) as usize)
                    .ok_or_else(|| self.error("the stack is empty"))?;
                let ids = self.stack.split_off(from);
                self.push(Node::Tuple(ids));
            }
            // APPEND; APPENDS and ADDITEMS; SETITEM; SETITEMS.
            b'a' => {
                let id = self.pop()?;
                self.append(vec![id])?;
            }
            b'e' | 0x90 => {
                let ids = self.above_mark()?;
                self.append(ids)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(vec![(key, value)])?;
            }
            b'u' => {
                let items = self.pairs_above_mark()?;
                self.set(items)?;
            }
            // POP, POP_MARK, DUP.
            b'0' => drop(self.pop()?),
            b'1' => drop(self.above_mark()?),
            b'2' => self.stack.push(self.top()?),
            // PUT and GET with the index as text; PERSID; INST and OBJ make an object of a class.
            b'p' => {
                let (key, top) = (self.index_line()?, self.top()?);
                self.memo.insert(key, top);
            }
            b'g' => {
                let key = self.index_line()?;
                self.recall_key(key)?;
            }
            b'P' => {
                let name = self.line()?;
                self.push(Node::Text(Cow::Borrowed(name)));
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            b'i' => {
                let (module, name) = (self.name_line()?.into(), self.name_line()?.into());
                let args = self.above_mark()?;
                self.push(Node::Global { module, name });
                let callable = self.pop()?;
                self.object(callable, args)?;
            }
            b'o' => {
                let mut args = self.above_mark()?;
                if args.is_empty() {
                    return Err(self.error("an object without a class"));
                }
                let callable = args.remove(0);
                self.object(callable, args)?;
            }
            // BINPUT, LONG_BINPUT; MEMOIZE takes the next free index; BINGET, LONG_BINGET.
            b'q' => self.put(1)?,
            b'r' => self.put(4)?,
            0x94 => {
                let (key, top) = (self.memo.len() as u64, self.top()?);
                self.memo.insert(key, top);
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            // GLOBAL and STACK_GLOBAL name a class or function; it is recorded, never imported.
            b'c' => {
                let (module, name) = (self.name_line()?.into(), self.name_line()?.into());
                self.push(Node::Global { module, name });
            }
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                self.push(Node::Global { module, name });
            }
            // REDUCE and NEWOBJ would call it: recorded as a call, never made.
            b'R' | 0x81 => {
                let (args, callable) = (self.pop()?, self.pop()?);
                self.push(Node::Call {
                    callable,
                    args,
                    state: None,
                    items: Vec::new(),
                });
            }
            // NEWOBJ_EX: as NEWOBJ, with keyword arguments, which nothing here needs.
            0x92 => {
                let (_keywords, args, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.push(Node::Call {
                    callable,
                    args,
                    state: None,
                    items: Vec::new(),
                });
            }
            // BUILD sets the state of the object below; BINPERSID refers to something outside.
            b'b' => self.build()?,
            b'Q' => {
                let id = self.pop()?;
                self.push(Node::Persistent(id));
            }
            // NEXT_BUFFER and READONLY_BUFFER.
            0x97 | 0x98 => return Err(self.error("its buffers are kept outside the pickle")),
            other => return Err(self.error(format!("unknown opcode 0x{other:02x}"))),
        }
        Ok(())
    }

    fn error(&self, reason: impl Into<String>) -> PickleError {
        PickleError {
            offset: self.at,
            reason: reason.into(),
        }
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        // The count comes from the file: it may overflow or point beyond the end.
        let end = self
            .at
            .checked_add(count)
            .filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            self.error(format!(
                "{ENDS_EARLY}: expected {count} more bytes, found {}",
                self.bytes.len() - self.at
            ))
        })?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    /// An unsigned little-endian number of `width` bytes.
    fn number(&mut self, width: usize) -> Step<u64> {
        Ok(self
            .take(width)?
            .iter()
            .rev()
            .fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    }

    fn line_bytes(&mut self) -> Step<&'a [u8]> {
        let rest = &self.bytes[self.at..];
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(|| self.error("a line has no end"))?;
        self.at += end + 1;
        Ok(&rest[..end])
    }

    fn line(&mut self) -> Step<&'a str> {
        let line = self.line_bytes()?;
        std::str::from_utf8(line).map_err(|_| self.error("a name is not UTF-8"))
    }

    /// A line with the name of a module, class or function.
    fn name_line(&mut self) -> Step<&'a str> {
        let line = self.line()?;
        if line.len() > MAX_NAME {
            return Err(self.long_name(line.len()));
        }
        Ok(line)
    }

    fn long_name(&self, length: usize) -> PickleError {
        self.error(format!(
            "the name of a class or function has {length} bytes, expected at most {MAX_NAME}"
        ))
    }

    fn push(&mut self, node: Node<'a>) {
        self.nodes.push(node);
        self.stack.push(self.nodes.len() - 1);
    }

    fn top(&self) -> Step<Id> {
        self.stack
            .last()
            .copied()
            .ok_or_else(|| self.error("the stack is empty"))
    }

    fn pop(&mut self) -> Step<Id> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn pop_text(&mut self) -> Step<Cow<'a, str>> {
        let id = self.pop()?;
        match &self.nodes[id] {
            Node::Text(text) if text.len() > MAX_NAME => Err(self.long_name(text.len())),
            Node::Text(text) => Ok(text.clone()),
            _ => Err(self.error("the name of a global is not text")),
        }
    }

    fn above_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().filter(|mark| *mark <= self.stack.len());
        let mark = mark.ok_or_else(|| self.error("no mark on the stack"))?;
        let ids = self.stack.split_off(mark);
        self.entries += ids.len();
        Ok(ids)
    }

    /// Keys and values of a dict, one after the other.
    fn pairs_above_mark(&mut self) -> Step<Vec<(Id, Id)>> {
        let ids = self.above_mark()?;
        let (pairs, rest) = ids.as_chunks();
        if !rest.is_empty() {
            return Err(self.error("a key of a dict has no value"));
        }
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    }

    fn collect(&mut self, make: fn(Vec<Id>) -> Node<'a>) -> Step<()> {
        let ids = self.above_mark()?;
        self.push(make(ids));
        Ok(())
    }

    fn fixed_int(&mut self, width: usize, signed: bool) -> Step<()> {
        let value = self.number(width)?;
        self.push(Node::Int(if signed {
            i64::from(value as u32 as i32)
        } else {
            value as i64
        }));
        Ok(())
    }

    fn long(&mut self, width: usize) -> Step<()> {
        let count = self.number(width)? as usize;
        let bytes = self.take(count)?;
        // Two's complement of as many bytes as are needed: the sign is extended to eight.
        let sign = if bytes.last().is_some_and(|byte| byte & 0x80 != 0) {
            0xff
        } else {
            0
        };
        self.push(if count <= 8 {
            let mut whole = [sign; 8];
            whole[..count].copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(whole))
        } else {
            Node::Long(bytes)
        });
        Ok(())
    }

    fn bytes_of(&mut self, width: usize) -> Step<()> {
        let count = self.number(width)? as usize;
        let bytes = self.take(count)?;
        self.push(Node::Bytes(Cow::Borrowed(bytes)));
        Ok(())
    }

    fn text_of(&mut self, width: usize) -> Step<()> {
        let count = self.number(width)? as usize;
        let bytes = self.take(count)?;
        // Lone surrogates may occur in Python text; such a text is kept as bytes.
        self.push(std::str::from_utf8(bytes).map_or_else(
            |_| Node::Bytes(Cow::Borrowed(bytes)),
            |text| Node::Text(Cow::Borrowed(text)),
        ));
        Ok(())
    }

    fn append(&mut self, ids: Vec<Id>) -> Step<()> {
        let top = self.top()?;
        match &mut self.nodes[top] {
            Node::List(list) => list.extend(ids),
            // Appending to the result of a call (a deque) is not interpreted.
            Node::Call { .. } => {}
            _ => return Err(self.error("appends to something that is not a list")),
        }
        Ok(())
    }

    fn set(&mut self, new: Vec<(Id, Id)>) -> Step<()> {
        let top = self.top()?;
        match &mut self.nodes[top] {
            Node::Dict(items) | Node::Call { items, .. } => items.extend(new),
            _ => return Err(self.error("sets items of something that is not a dict")),
        }
        Ok(())
    }

    fn put(&mut self, width: usize) -> Step<()> {
        let (key, top) = (self.number(width)?, self.top()?);
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Step<()> {
        let key = self.number(width)?;
        self.recall_key(key)
    }

    fn recall_key(&mut self, key: u64) -> Step<()> {
        // Memo indices may come in any order and need not be dense.
        let id = *self
            .memo
            .get(&key)
            .ok_or_else(|| self.error(format!("memo {key} was never filled")))?;
        self.stack.push(id);
        Ok(())
    }

    /// `I01\n` and `I00\n` are truth values.
    fn int_line(&mut self) -> Step<()> {
        let line = self.line()?;
        let node = match line.trim() {
            "01" => Node::Bool(true),
            "00" => Node::Bool(false),
            number => Node::Int(number.parse().map_err(|_| self.error("not an integer"))?),
        };
        self.push(node);
        Ok(())
    }

    fn long_line(&mut self) -> Step<()> {
        let line = self.line()?.trim();
        let digits = line.strip_suffix('L').unwrap_or(line);
        let number = digits.parse();
        let number = number.map_err(|_| self.error("not an integer of 64 bits"))?;
        self.push(Node::Int(number));
        Ok(())
    }

    fn index_line(&mut self) -> Step<u64> {
        let line = self.line()?.trim();
        line.parse()
            .map_err(|_| self.error("not an index of the memo"))
    }

    fn object(&mut self, callable: Id, args: Vec<Id>) -> Step<()> {
        self.push(Node::Tuple(args));
        let args = self.pop()?;
        self.push(Node::Call {
            callable,
            args,
            state: None,
            items: Vec::new(),
        });
        Ok(())
    }

    fn build(&mut self) -> Step<()> {
        let new = self.pop()?;
        let top = self.top()?;
        if let Node::Call { state, .. } = &mut self.nodes[top] {
            *state = Some(new);
        }
        Ok(())
    }
}
