//! Headers and numbers of npy files, which NumPy writes; an npz file is a zip archive of them.
//!
//! Own code, since files of strangers are read: the header's shape is a claim, and nothing is
//! multiplied, reserved or read by it before it has been compared with the bytes that are there.

mod header_text;
mod write;

use header_text::Parser;
use std::{fmt, io::Read};
pub use write::write_npy;

/// What an npy file holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyHeader {
    /// Type of the numbers.
    pub dtype: NpyType,
    /// Whether the first index varies fastest (`order="F"`), instead of the last.
    pub fortran_order: bool,
    /// Lengths of the axes; none for a single number.
    pub shape: Vec<usize>,
    /// Number of numbers, the product of the shape.
    pub count: usize,
    /// Position of the first number in the file.
    pub offset: u64,
}

/// Type of the numbers in an npy file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NpyType {
    /// NumPy's kind: `b` truth values, `i` and `u` integers, `f` floats, `c` complex numbers, `U`
    /// and `S` texts.
    pub kind: char,
    /// Bytes of one number.
    pub size: usize,
    /// Whether the most significant byte comes first.
    pub big_endian: bool,
}

impl fmt::Display for NpyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.kind {
            'b' => "bool",
            'i' => "int",
            'u' => "uint",
            'f' => "float",
            'c' => "complex",
            other => return write!(f, "{other}{}", self.size),
        };
        let order = if self.big_endian && self.size > 1 {
            " in big-endian order"
        } else {
            ""
        };
        match self.kind {
            'b' => f.write_str(name),
            _ => write!(f, "{name}{}{order}", 8 * self.size),
        }
    }
}

/// The first bytes of every npy file.
pub const NPY_MAGIC: &[u8] = b"\x93NUMPY";
/// Headers are short; NumPy itself refuses more than 10,000 characters by default.
const HEADER_LIMIT: usize = 64 << 10;

impl NpyHeader {
    /// Reads the header at the start of a file, of which `length` bytes exist.
    ///
    /// # Errors
    /// What is wrong with it: another format, a structured or object array, a shape that the file
    /// cannot hold.
    pub fn read(reader: &mut impl Read, length: u64) -> Result<Self, String> {
        let early = |error: std::io::Error| format!("npy header: {error}");
        let mut start = [0; 8];
        reader.read_exact(&mut start).map_err(early)?;
        if !start.starts_with(NPY_MAGIC) {
            return Err("not an npy file".to_owned());
        }
        let mut size = [0; 4];
        let width = if start[6] == 1 { 2 } else { 4 };
        reader.read_exact(&mut size[..width]).map_err(early)?;
        let size = u32::from_le_bytes(size) as usize;
        if size > HEADER_LIMIT {
            return Err(format!(
                "npy header: {size} bytes, expected at most {HEADER_LIMIT}"
            ));
        }
        let mut text = vec![0; size];
        reader.read_exact(&mut text).map_err(early)?;
        let text = String::from_utf8_lossy(&text);
        let header = Parser::new(&text)
            .header((8 + width + size) as u64)
            .map_err(|reason| format!("npy header: {reason}"))?;
        let end = header
            .bytes()
            .and_then(|bytes| bytes.checked_add(header.offset));
        if end.is_none_or(|end| end > length) {
            return Err(format!(
                "truncated: {length} bytes do not hold an array of shape {:?}",
                header.shape
            ));
        }
        Ok(header)
    }

    /// Bytes of all numbers; `None` when that does not fit into 64 bits.
    pub fn bytes(&self) -> Option<u64> {
        (self.count as u64).checked_mul(self.dtype.size as u64)
    }

    /// The numbers of a whole file in memory as integers, in row-major order.
    ///
    /// # Errors
    /// For types that are no integers or truth values, and unsigned numbers of 64 bits above the
    /// largest signed one.
    pub fn integers(&self, file: &[u8]) -> Result<Vec<i64>, String> {
        let NpyType { kind, size, .. } = self.dtype;
        if !matches!((kind, size), ('b', 1) | ('i' | 'u', 1 | 2 | 4 | 8)) {
            return Err(format!("dtype {}, expected integers", self.dtype));
        }
        let mut numbers = Vec::with_capacity(self.count);
        for bytes in self.items(file)? {
            let number = self.dtype.unsigned(bytes);
            numbers.push(if kind == 'i' {
                // The sign bit of a shorter number moves to the top and back.
                let shift = 64 - 8 * size as u32;
                ((number << shift) as i64) >> shift
            } else {
                i64::try_from(number)
                    .map_err(|_| format!("the number {number}, expected at most {}", i64::MAX))?
            });
        }
        Ok(self.row_major(numbers))
    }

    /// The numbers of a whole file in memory as floats, in row-major order: floats of 16, 32 and 64
    /// bits, and integers.
    ///
    /// # Errors
    /// For other types.
    pub fn floats(&self, file: &[u8]) -> Result<Vec<f64>, String> {
        let NpyType { kind, size, .. } = self.dtype;
        if kind != 'f' {
            let integers = self.integers(file);
            let integers = integers
                .map_err(|_| format!("dtype {}, expected floats or integers", self.dtype))?;
            return Ok(integers.into_iter().map(|number| number as f64).collect());
        }
        if !matches!(size, 2 | 4 | 8) {
            return Err(format!("dtype {}, expected floats", self.dtype));
        }
        let items = self.items(file)?;
        Ok(self.row_major(items.map(|bytes| self.dtype.float(bytes)).collect()))
    }

    /// The first text of a whole file in memory, without the zeros that fill it up.
    ///
    /// # Errors
    /// For arrays of other types, and characters that are none.
    pub fn text(&self, file: &[u8]) -> Result<Option<String>, String> {
        if !matches!(self.dtype.kind, 'U' | 'S') {
            return Err(format!("dtype {}, expected text", self.dtype));
        }
        let Some(bytes) = self.items(file)?.next() else {
            return Ok(None);
        };
        let text: Option<String> = if self.dtype.kind == 'S' {
            String::from_utf8(bytes.to_vec()).ok()
        } else {
            let codes = bytes
                .chunks_exact(4)
                .map(|code| self.dtype.unsigned(code) as u32);
            codes.map(char::from_u32).collect()
        };
        let text = text.ok_or("its characters are none")?;
        Ok(Some(text.trim_end_matches('\0').to_owned()))
    }

    fn items<'a>(&self, file: &'a [u8]) -> Result<std::slice::ChunksExact<'a, u8>, String> {
        let from = usize::try_from(self.offset).ok();
        let bytes = self.bytes().and_then(|bytes| usize::try_from(bytes).ok());
        let data = from.zip(bytes).and_then(|(from, bytes)| {
            let end = from.checked_add(bytes)?;
            file.get(from..end)
        });
        let lacking = || format!("truncated: {} bytes of shape {:?}", file.len(), self.shape);
        Ok(data
            .ok_or_else(lacking)?
            .chunks_exact(self.dtype.size.max(1)))
    }

    /// Numbers in the order of the file, brought into row-major order.
    fn row_major<T: Copy>(&self, numbers: Vec<T>) -> Vec<T> {
        if !self.fortran_order || self.shape.len() < 2 || numbers.is_empty() {
            return numbers;
        }
        let mut index = vec![0usize; self.shape.len()];
        let mut out = Vec::with_capacity(numbers.len());
        for _ in 0..numbers.len() {
            // The first axis is the innermost of the file.
            let at = index
                .iter()
                .zip(&self.shape)
                .rev()
                .fold(0, |at, (index, length)| at * length + index);
            out.push(numbers[at]);
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
            }
        }
        out
    }
}

impl NpyType {
    /// One number's bytes as an unsigned integer.
    fn unsigned(self, bytes: &[u8]) -> u64 {
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        if self.big_endian {
            bytes.iter().fold(0, join)
        } else {
            bytes.iter().rev().fold(0, join)
        }
    }

    /// One number's bytes as a float; NaN for sizes other than 2, 4 and 8.
    pub fn float(self, bytes: &[u8]) -> f64 {
        let bits = self.unsigned(bytes);
        match self.size {
            8 => f64::from_bits(bits),
            4 => f32::from_bits(bits as u32).into(),
            2 => half(bits as u16),
            _ => f64::NAN,
        }
    }
}

/// A float of 16 bits (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let size = match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = NPY_MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend((header.len() as u16).to_le_bytes());
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes
    }
    fn read(bytes: &[u8]) -> Result<NpyHeader, String> {
        NpyHeader::read(&mut &bytes[..], bytes.len() as u64)
    }
    fn header(descr: &str, fortran: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}   \n")
    }

    #[test]
    fn numbers_of_every_type_and_order_are_read() {
        let cases: [(&str, &[u8], &[i64]); 8] = [
            ("|u1", &[1, 255], &[1, 255]),
            ("|i1", &[1, 255], &[1, -1]),
            ("|b1", &[0, 1], &[0, 1]),
            ("<i2", &[1, 0, 0xff, 0xff], &[1, -1]),
            (">i2", &[0, 1, 0xff, 0xfe], &[1, -2]),
            ("<u4", &[7, 0, 0, 0, 0, 0, 0, 0x80], &[7, 1 << 31]),
            (
                ">i8",
                &[
                    0, 0, 0, 0, 0, 0, 0, 3, 255, 255, 255, 255, 255, 255, 255, 255,
                ],
                &[3, -1],
            ),
            (
                "<u8",
                &[9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40],
                &[9, 1 << 62],
            ),
        ];
        for (descr, data, expected) in cases {
            let bytes = file(&header(descr, "False", "(2,)"), data);
            assert_eq!(
                read(&bytes).unwrap().integers(&bytes).unwrap(),
                expected,
                "{descr}"
            );
        }
        let reals: [(&str, &[u8], f64); 4] = [
            ("<f4", &1.5f32.to_le_bytes(), 1.5),
            (">f8", &(-0.25f64).to_be_bytes(), -0.25),
            ("<f2", &[0x00, 0xbc], -1.0),
            ("<f2", &[0x01, 0x00], 5.960_464_477_539_063e-8),
        ];
        for (descr, data, expected) in reals {
            let bytes = file(&header(descr, "False", "()"), data);
            assert_eq!(
                read(&bytes).unwrap().floats(&bytes).unwrap(),
                [expected],
                "{descr}"
            );
        }
    }

    #[test]
    fn fortran_order_is_brought_into_row_major_order() {
        // [[1, 2, 3], [4, 5, 6]] by columns.
        let bytes = file(&header("|u1", "True", "(2, 3)"), &[1, 4, 2, 5, 3, 6]);
        let found = read(&bytes).unwrap();
        assert_eq!((found.fortran_order, found.count), (true, 6));
        assert_eq!(found.integers(&bytes).unwrap(), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn hostile_headers_are_named() {
        let giant = "(18446744073709551615, 2)";
        for (text, expected) in [
            (
                header("|u1", "False", giant),
                "more elements than can be counted",
            ),
            (
                header("|u1", "False", "(4294967296, 4294967296)"),
                "more elements",
            ),
            (
                header("<f8", "False", "(2305843009213693952,)"),
                "do not hold",
            ),
            (
                header("|u1", "False", "(99999999999999999999999,)"),
                "length",
            ),
            (header("|u1", "False", "(5,)"), "truncated: "),
            (header("|u1", "Maybe", "(5,)"), "expected \"False\""),
            (header("|O", "False", "(5,)"), "Python objects"),
            (header("<m8", "False", "(5,)"), "plain numbers"),
            (
                "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': ()}".into(),
                "structured",
            ),
            ("{'shape': (".repeat(3_000), "length"),
            ("(".repeat(60_000), "expected \"{\""),
            ("{}".into(), "missing"),
            (String::new(), "expected"),
        ] {
            let error = read(&file(&text, &[0; 4])).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let mut long = NPY_MAGIC.to_vec();
        long.extend([2, 0, 0xff, 0xff, 0xff, 0xff]);
        assert!(read(&long).unwrap_err().contains("expected at most"));
        let whole = file(&header("|u1", "False", "(4,)"), &[0; 4]);
        for end in 0..whole.len() {
            assert!(read(&whole[..end]).is_err(), "cut at {end}");
        }
    }
}
