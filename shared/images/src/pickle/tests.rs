//! Pickles written by CPython 3.

use super::*;

const ORDERED_2: &[u8] = b"\x80\x02ccollections\x0aOrderedDict\x0aq\x00)Rq\x01(X\x01\x00\x00\x00aq\x02K\x01X\x01\x00\x00\x00bq\x03]q\x04(G?\xf8\x00\x00\x00\x00\x00\x00N\x88eX\x01\x00\x00\x00cq\x05}q\x06X\x01\x00\x00\x00xq\x07c_codecs\x0aencode\x0aq\x08X\x05\x00\x00\x00bytesq\x09X\x06\x00\x00\x00latin1q\x0a\x86q\x0bRq\x0csu.";
const ORDERED_4: &[u8] = b"\x80\x04\x95P\x00\x00\x00\x00\x00\x00\x00\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94(\x8c\x01a\x94K\x01\x8c\x01b\x94]\x94(G?\xf8\x00\x00\x00\x00\x00\x00N\x88e\x8c\x01c\x94}\x94\x8c\x01x\x94C\x05bytes\x94su.";
const CIRCLE: &[u8] = b"\x80\x02]q\x00h\x00a.";
const BIG: &[u8] = b"\x80\x02]q\x00(\x8a\x0b\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01J\xff\xff\xff\xff\x8a\x06\x00\x00\x00\x00\x00\xffJp\x11\x01\x00K\xffe.";
const EVIL: &[u8] = b"\x80\x02cposix\x0asystem\x0aq\x00X\x17\x00\x00\x00touch \
    /tmp/cedm-was-runq\x01\x85q\x02Rq\x03.";

#[test]
fn protocols_two_and_four_give_the_same_tree() {
    for bytes in [ORDERED_2, ORDERED_4] {
        let pickle = Pickle::read(bytes).unwrap();
        assert_eq!(pickle.length, bytes.len());
        let root = pickle.root();
        assert_eq!(pickle.int(pickle.get(root, "a").unwrap()), Some(1));
        let list = pickle.elements(pickle.get(root, "b").unwrap()).unwrap();
        assert_eq!(
            list.iter().map(|id| pickle.node(*id)).collect::<Vec<_>>(),
            [&Node::Float(1.5), &Node::None, &Node::Bool(true)]
        );
        assert!(pickle.get(pickle.get(root, "c").unwrap(), "x").is_some());
    }
}

#[test]
fn integers_of_every_width_are_read() {
    let pickle = Pickle::read(BIG).unwrap();
    let list = pickle.elements(pickle.root()).unwrap();
    assert!(matches!(pickle.node(list[0]), Node::Long(bytes) if bytes.len() == 11));
    assert_eq!(
        list[1..]
            .iter()
            .map(|id| pickle.int(*id).unwrap())
            .collect::<Vec<_>>(),
        [-1, -(1i64 << 40), 70000, 255]
    );
}

#[test]
fn a_list_that_contains_itself_is_read() {
    let pickle = Pickle::read(CIRCLE).unwrap();
    assert_eq!(pickle.elements(pickle.root()), Some(&[pickle.root()][..]));
}

#[test]
fn calls_in_a_pickle_are_not_made() {
    let pickle = Pickle::read(EVIL).unwrap();
    let ((_, name), args) = pickle.call(pickle.root()).unwrap();
    assert_eq!((name, args.len()), ("system", 1));
    assert!(!std::path::Path::new("/tmp/cedm-was-run").exists());
}

#[test]
fn damaged_pickles_are_errors() {
    for end in 0..ORDERED_2.len() {
        assert!(Pickle::read(&ORDERED_2[..end]).is_err());
    }
    for bytes in [
        &b"\x80\x02t."[..],
        b"\x80\x02h\x07.",
        b"\x80\x02\x87.",
        b"\x80\x02?.",
        b"\x80\x02X\xff\xff\xff\xffa.",
        b"K\x01u.",
        b"K\x01K\x02a.",
    ] {
        assert!(Pickle::read(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn bytes_that_python_3_writes_in_protocol_2_can_be_keys() {
    // {b"data": 7}: the key is `_codecs.encode("data", "latin1")`.
    let key = b"c_codecs\nencode\nX\x04\x00\x00\x00dataX\x06\x00\x00\x00latin1\x86R";
    let bytes = [b"\x80\x02}", &key[..], b"K\x07s."].concat();
    let pickle = Pickle::read(&bytes).unwrap();
    assert_eq!(
        pickle
            .get(pickle.root(), "data")
            .and_then(|id| pickle.int(id)),
        Some(7)
    );
}
