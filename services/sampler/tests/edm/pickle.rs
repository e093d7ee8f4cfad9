//! Pickles as EDM's tools write them: objects that carry the source of their classes.

use tch::{Kind, Tensor};

/// A text as protocol 2 writes it.
pub fn text(text: &str) -> Vec<u8> {
    let length = (text.len() as u32).to_le_bytes();
    [b"X", &length[..], text.as_bytes()].concat()
}

/// Bytes as Python 3 writes them into protocol 2: a text, each of whose characters is one byte.
fn bytes(bytes: &[u8]) -> Vec<u8> {
    let characters: String = bytes.iter().map(|byte| char::from(*byte)).collect();
    [
        &b"c_codecs\nencode\n"[..],
        &text(&characters),
        &text("latin1"),
        b"\x86R",
    ]
    .concat()
}

/// A whole number.
pub fn integer(number: i64) -> Vec<u8> {
    [b"J", &(number as i32).to_le_bytes()[..]].concat()
}

/// A number of 64 bits.
pub fn float(number: f64) -> Vec<u8> {
    [b"G", &number.to_be_bytes()[..]].concat()
}

/// A dict of these entries.
pub fn dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut all = b"}(".to_vec();
    for (key, value) in entries {
        all.extend(text(key));
        all.extend(value);
    }
    all.push(b'u');
    all
}

/// A tensor of float32 whose storage is a file of PyTorch's own inside the pickle.
pub fn tensor(tensor: &Tensor) -> Vec<u8> {
    let values = Vec::<f32>::try_from(tensor.to_kind(Kind::Float).flatten(0, -1)).unwrap();
    let mut storage = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    storage.extend(b"\x80\x02M\xe9\x03.\x80\x02}.\x80\x02(");
    storage.extend(text("storage"));
    storage.extend(b"ctorch\nFloatStorage\n");
    storage.extend([text("0"), text("cpu"), integer(values.len() as i64)].concat());
    storage.extend(b"tQ.\x80\x02]");
    storage.extend(text("0"));
    storage.extend(b"a.");
    storage.extend((values.len() as u64).to_le_bytes());
    storage.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let tuple = |numbers: &[i64]| {
        let numbers: Vec<u8> = numbers.iter().flat_map(|number| integer(*number)).collect();
        [b"(", &numbers[..], b"t"].concat()
    };
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n(ctorch.storage\n_load_from_bytes\n"[..],
        &bytes(&storage),
        b"\x85R",
        &integer(0),
        &tuple(&tensor.size()),
        &tuple(&tensor.contiguous().stride()),
        b"\x89ccollections\nOrderedDict\n)RtR",
    ]
    .concat()
}

/// An object that carries the source of its class, with these attributes.
pub fn object(class: &str, state: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let meta = dict(&[
        ("module_src", text("raise SystemExit")),
        ("class_name", text(class)),
        ("state", dict(state)),
    ]);
    [
        &b"ctorch_utils.persistence\n_reconstruct_persistent_obj\n"[..],
        &meta,
        b"\x85R",
    ]
    .concat()
}

/// A file whose object is a dict of these entries.
pub fn snapshot(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    [b"\x80\x02", &dict(entries)[..], b"."].concat()
}
