//! Tensors of libtorch from npy files.

use cedm_tensor_files::{NpyHeader, NpyType, check_memory};
use std::io::Read;
use tch::{Kind, Tensor};

/// The array of an npy file, on the CPU, in row-major order: in its own type where libtorch has it,
/// int64 for longer unsigned integers, float64 for big-endian floats. At most the bytes that its
/// header declares are read.
///
/// # Errors
/// What is wrong with it: another format, a type that is not read, a shape that is not filled.
pub fn read(mut reader: impl Read) -> Result<Tensor, String> {
    // The numbers are counted below, where there is more to say of them.
    let header = NpyHeader::read(&mut reader, u64::MAX)?;
    let expected = header.bytes().ok_or("its size overflows")?;
    check_memory(expected)?;
    let mut bytes = Vec::new();
    let read = reader.take(expected).read_to_end(&mut bytes);
    read.map_err(|error| error.to_string())?;
    if bytes.len() as u64 != expected {
        return Err(format!(
            "found {} bytes of numbers, expected {expected}: truncated?",
            bytes.len()
        ));
    }
    tensor(&header, &bytes)
}

fn tensor(header: &NpyHeader, bytes: &[u8]) -> Result<Tensor, String> {
    let shape: Result<Vec<i64>, _> = header
        .shape
        .iter()
        .map(|side| i64::try_from(*side))
        .collect();
    let shape = shape.map_err(|_| format!("shape {:?} is too large", header.shape))?;
    let libtorch = |error: tch::TchError| error.to_string();
    let Some(kind) = kind_of(header.dtype) else {
        // Already in row-major order.
        let whole = NpyHeader {
            offset: 0,
            ..header.clone()
        };
        let flat = match header.dtype.kind {
            'f' => Tensor::from_slice(&whole.floats(bytes)?),
            _ => Tensor::from_slice(
                &whole
                    .integers(bytes)
                    .map_err(|reason| format!("found {reason}, of at most 64 bits, or floats"))?,
            ),
        };
        return flat.f_view(shape.as_slice()).map_err(libtorch);
    };
    if !header.fortran_order {
        return Tensor::f_from_data_size(bytes, &shape, kind).map_err(libtorch);
    }
    let reversed: Vec<i64> = shape.iter().rev().copied().collect();
    let axes: Vec<i64> = (0..shape.len() as i64).rev().collect();
    let tensor = Tensor::f_from_data_size(bytes, &reversed, kind).map_err(libtorch)?;
    Ok(tensor.permute(axes).contiguous())
}

/// The type of libtorch for the bytes as they are.
fn kind_of(dtype: NpyType) -> Option<Kind> {
    if dtype.big_endian && dtype.size > 1 {
        return None;
    }
    Some(match (dtype.kind, dtype.size) {
        ('b', 1) => Kind::Bool,
        ('f', 2) => Kind::Half,
        ('f', 4) => Kind::Float,
        ('f', 8) => Kind::Double,
        ('i', 1) => Kind::Int8,
        ('i', 2) => Kind::Int16,
        ('i', 4) => Kind::Int,
        ('i', 8) => Kind::Int64,
        ('u', 1) => Kind::Uint8,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let fortran = if fortran { "True" } else { "False" };
        let text =
            format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let length = (text.len() as u16).to_le_bytes();
        [b"\x93NUMPY\x01\x00", &length[..], text.as_bytes(), data].concat()
    }

    #[test]
    fn arrays_of_every_type_and_order_are_tensors() {
        let columns = npy("|u1", true, "(2, 3)", &[1, 4, 2, 5, 3, 6]);
        let tensor = read(&columns[..]).unwrap();
        assert_eq!((tensor.kind(), tensor.size()), (Kind::Uint8, vec![2, 3]));
        assert_eq!(tensor.int64_value(&[1, 0]), 4);
        let big = npy(">f4", false, "(2,)", &[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0]);
        assert_eq!(
            Vec::<f64>::try_from(read(&big[..]).unwrap()).unwrap(),
            [1.0, -2.0]
        );
        let unsigned = npy("<u4", false, "(1,)", &[0, 0, 0, 0x80]);
        assert_eq!(read(&unsigned[..]).unwrap().int64_value(&[0]), 1 << 31);
        for (bytes, expected) in [
            (npy("<c8", false, "(1,)", &[0; 8]), "expected integers"),
            (
                npy("<f4", false, "(4611686018427387904, 4)", &[0; 8]),
                "counted",
            ),
            (
                npy("<f4", false, "(3,)", &[0; 8]),
                "found 8 bytes of numbers, expected 12",
            ),
        ] {
            let error = read(&bytes[..]).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }
}
