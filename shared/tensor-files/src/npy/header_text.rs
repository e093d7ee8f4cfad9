//! The text of an npy header.

use super::{NpyHeader, NpyType};

/// Reads the header's text, a Python dict of three known keys.
pub(super) struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.trim() }
    }

    pub(super) fn header(mut self, offset: u64) -> Result<NpyHeader, String> {
        let (mut dtype, mut fortran_order, mut shape) = (None, None, None);
        self.expect("{")?;
        while !self.accept("}") {
            let key = self.text()?;
            self.expect(":")?;
            match key {
                "descr" => {
                    if self.rest.starts_with(['[', '(']) {
                        return Err("a structured array, expected plain numbers".to_owned());
                    }
                    dtype = Some(dtype_of(self.text()?)?);
                }
                "fortran_order" => fortran_order = Some(self.truth()?),
                "shape" => shape = Some(self.shape()?),
                other => return Err(format!("unknown key `{other}`")),
            }
            self.accept(",");
        }
        let shape = shape.ok_or("`shape` is missing")?;
        let count = shape
            .iter()
            .try_fold(1usize, |count: usize, length| count.checked_mul(*length))
            .ok_or_else(|| format!("shape {shape:?} has more elements than can be counted"))?;
        Ok(NpyHeader {
            dtype: dtype.ok_or("`descr` is missing")?,
            fortran_order: fortran_order.ok_or("`fortran_order` is missing")?,
            shape,
            count,
            offset,
        })
    }

    fn accept(&mut self, token: &str) -> bool {
        let found = self.rest.strip_prefix(token);
        if let Some(rest) = found {
            self.rest = rest.trim_start();
        }
        found.is_some()
    }

    fn expect(&mut self, token: &str) -> Result<(), String> {
        if self.accept(token) {
            return Ok(());
        }
        let found: String = self.rest.chars().take(20).collect();
        Err(format!("found {found:?}, expected {token:?}"))
    }

    /// A quoted text without escapes, which no header needs.
    fn text(&mut self) -> Result<&'a str, String> {
        let quote = if self.rest.starts_with('"') {
            "\""
        } else {
            "'"
        };
        self.expect(quote)?;
        let (text, rest) = self.rest.split_once(quote).ok_or("a text has no end")?;
        self.rest = rest.trim_start();
        Ok(text)
    }

    fn truth(&mut self) -> Result<bool, String> {
        if self.accept("True") {
            return Ok(true);
        }
        self.expect("False").map(|()| false)
    }

    fn shape(&mut self) -> Result<Vec<usize>, String> {
        let mut shape = Vec::new();
        self.expect("(")?;
        while !self.accept(")") {
            // NumPy's own limit is 64 axes.
            if shape.len() == 64 {
                return Err("more than 64 axes".to_owned());
            }
            let digits = self.rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = self.rest.split_at(digits);
            let length = number.parse();
            shape.push(length.map_err(|_| format!("length {number:?} of an axis"))?);
            self.rest = rest.trim_start();
            // Python 2 wrote long integers with an L.
            self.accept("L");
            if !self.accept(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(shape)
    }
}

fn dtype_of(text: &str) -> Result<NpyType, String> {
    let unknown = || format!("dtype {text:?}, expected a type of plain numbers such as '<f4'");
    let (order, rest) = match text.chars().next().ok_or_else(unknown)? {
        order @ ('<' | '>' | '|' | '=') => (order, &text[1..]),
        _ => ('<', text),
    };
    let kind = rest.chars().next().ok_or_else(unknown)?;
    let (kind, size) = match (kind, rest.get(1..)) {
        ('?', Some("")) => ('b', 1),
        ('b' | 'i' | 'u' | 'f' | 'c' | 'S', Some(size)) => {
            (kind, size.parse().map_err(|_| unknown())?)
        }
        // Characters of 32 bits.
        ('U', Some(size)) => {
            let count = size
                .parse::<usize>()
                .ok()
                .and_then(|count| count.checked_mul(4));
            (kind, count.ok_or_else(unknown)?)
        }
        ('O', _) => return Err("an array of Python objects, expected plain numbers".to_owned()),
        _ => return Err(unknown()),
    };
    if !matches!(kind, 'U' | 'S') && !matches!(size, 1 | 2 | 4 | 8 | 16) {
        return Err(unknown());
    }
    Ok(NpyType {
        kind,
        size,
        big_endian: order == '>',
    })
}
