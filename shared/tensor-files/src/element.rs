//! The plain numbers that tensors are read as.

use safetensors::Dtype;

/// A number of one of the types that services read without libtorch.
pub trait Element: Copy {
    /// The type in the file; no other is converted.
    const DTYPE: Dtype;
    /// The type in the header of an npy file.
    const NPY_DESCR: &'static str;
    /// Numbers of a tensor's little-endian bytes.
    fn from_bytes(bytes: &[u8]) -> Vec<Self>;
    /// The little-endian bytes of numbers.
    fn to_bytes(values: &[Self]) -> Vec<u8>;
}

macro_rules! elements {
    ($($type:ty => $dtype:ident $descr:literal),* $(,)?) => { $(
        impl Element for $type {
            const DTYPE: Dtype = Dtype::$dtype;
            const NPY_DESCR: &'static str = $descr;
            fn from_bytes(bytes: &[u8]) -> Vec<Self> {
                let (chunks, _) = bytes.as_chunks();
                chunks.iter().map(|chunk| Self::from_le_bytes(*chunk)).collect()
            }
            fn to_bytes(values: &[Self]) -> Vec<u8> {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            }
        }
    )* };
}

elements!(u8 => U8 "|u1", i32 => I32 "<i4", i64 => I64 "<i8", f32 => F32 "<f4", f64 => F64 "<f8");
