//! Pickles by hand, honest and hostile.

use proptest::prelude::*;

use super::*;

/// The root's value as Python would print it, to a depth of three.
fn shown(bytes: &[u8]) -> String {
    fn show(arena: &Arena, id: Id, depth: usize) -> String {
        if depth == 0 {
            return "…".into();
        }
        let list = |items: &[Id]| items.iter().map(|&item| show(arena, item, depth - 1)).collect::<Vec<_>>().join(", ");
        match arena.get(id) {
            Value::None => "None".into(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Float(value) => format!("{value:?}"),
            Value::Str(value) => format!("{value:?}"),
            Value::Sequence(items) => format!("({})", list(items)),
            Value::Dict(items) => {
                let pair =
                    |(k, v): &(Id, Id)| format!("{}: {}", show(arena, *k, depth - 1), show(arena, *v, depth - 1));
                format!("{{{}}}", items.iter().map(pair).collect::<Vec<_>>().join(", "))
            }
            Value::Object { class, .. } => format!("<{class}>"),
            Value::Bytes(_) => "<>".into(),
            other => format!("{other:?}"),
        }
    }
    let unpickled = unpickle(bytes).unwrap();
    assert_eq!(unpickled.length, bytes.len());
    show(&unpickled.arena, unpickled.root, 3)
}

/// `pickle.dumps({"a": [1, -2, 2.5], "b": (None, True), "c": 300}, protocol)`.
#[test]
fn protocols_0_2_and_4_agree() {
    let expected = r#"{"a": (1, -2, 2.5), "b": (None, true), "c": 300}"#;
    let protocol_0 = b"(dp0\nVa\np1\n(lp2\nI1\naI-2\naF2.5\nasVb\np3\n(NI01\ntp4\nsVc\np5\nI300\ns.";
    let protocol_2 = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01]q\x02(K\x01J\xfe\xff\xff\xffG@\x04\x00\x00\x00\x00\x00\x00eX\x01\x00\x00\x00bq\x03N\x88\x86q\x04X\x01\x00\x00\x00cq\x05M,\x01u.";
    let protocol_4 = b"\x80\x04\x95(\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94]\x94(K\x01J\xfe\xff\xff\xffG@\x04\x00\x00\x00\x00\x00\x00e\x8c\x01b\x94N\x88\x86\x94\x8c\x01c\x94M,\x01u.";
    for bytes in [&protocol_0[..], protocol_2, protocol_4] {
        assert_eq!(shown(bytes), expected);
    }
}

#[test]
fn calls_are_inert() {
    // cos.system("true") as REDUCE and as INST.
    assert_eq!(shown(b"cos\nsystem\n(S'true'\ntR."), "<os.system>");
    assert_eq!(shown(b"(S'true'\nios\nsystem\n."), "<os.system>");
    // A call of what such a call returned, and attributes set on it.
    assert_eq!(shown(b"cbuiltins\ngetattr\n)R)R}b."), "<builtins.getattr>");
    assert_eq!(shown(b"\x80\x04\x8c\x02os\x8c\x06system\x93)\x81."), "<os.system>");
}

#[test]
fn long_numbers() {
    assert_eq!(shown(b"\x8a\x00."), "0");
    assert_eq!(shown(b"\x8a\x01\xff."), "-1");
    assert_eq!(shown(b"\x8a\x06\x00\x00\x00\x00\x00\x01."), "1099511627776");
    assert_eq!(shown(b"\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01."), "<>");
}

#[test]
fn lies_about_lengths_are_errors() {
    for bytes in [
        &b"\x8d\xff\xff\xff\xff\xff\xff\xff\xff."[..], // BINUNICODE8
        b"\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",      // BINBYTES8
        b"X\xff\xff\xff\xffabc.",
        b"\x8b\xff\xff\xff\xff.", // LONG4
        b"",
        b"K",
        b".",
        b"t.",
        b"(\x85.",
        b"h\x05.",
        b"a.",
        b"\xff.",
        b"cos\n",
    ] {
        assert!(unpickle(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn a_list_that_holds_itself_and_one_nested_a_million_deep() {
    assert_eq!(shown(b"]q\x00h\x00a."), "(((…)))");
    let mut deep = b")".to_vec();
    deep.extend(std::iter::repeat_n(0x85, 1_000_000));
    deep.push(b'.');
    assert!(unpickle(&deep).is_ok());
}

#[test]
fn a_list_copied_over_and_over_is_stopped() {
    // A list of 100,000, then tuple(list) 100,000 times: ten thousand million places.
    let mut bomb = b"](".to_vec();
    bomb.extend(std::iter::repeat_n(b'N', 100_000));
    bomb.extend(b"eq\x00cbuiltins\ntuple\nq\x010");
    for _ in 0..100_000 {
        bomb.extend(b"h\x01h\x00\x85R0");
    }
    bomb.extend(b"N.");
    let error = unpickle(&bomb).err().unwrap().to_string();
    assert!(error.contains("more values"), "{error}");
}

proptest! {
    /// Instructions in any order, with arguments that are sometimes theirs.
    #[test]
    fn no_program_makes_it_panic(parts in prop::collection::vec(part(), 0..60)) {
        let _ = unpickle(&parts.concat());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = unpickle(&bytes);
    }
}

fn part() -> impl Strategy<Value = Vec<u8>> {
    let fixed: &[&[u8]] = &[
        b"(",
        b")",
        b"]",
        b"}",
        b"N",
        b"K\x00",
        b"K\x07",
        b"J\xff\xff\xff\xff",
        b"U\x01a",
        b"q\x00",
        b"h\x00",
        b"q\x01",
        b"h\x01",
        b"t",
        b"l",
        b"d",
        b"\x85",
        b"\x86",
        b"\x87",
        b"R",
        b"b",
        b"o",
        b"\x81",
        b"\x92",
        b"s",
        b"u",
        b"a",
        b"e",
        b"0",
        b"1",
        b"2",
        b"Q",
        b"\x93",
        b"\x94",
        b"\x8f",
        b"\x90",
        b"\x91",
        b".",
        b"U\x07storage",
        b"ctorch\nFloatStorage\n",
        b"ctorch\nuint32\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch._utils\n_rebuild_tensor_v3\n",
        b"ctorch._tensor\n_rebuild_from_type_v2\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"ccollections\nOrderedDict\n",
        b"cbuiltins\ntuple\n",
        b"(ios\nsystem\n",
    ];
    prop_oneof![
        8 => prop::sample::select(fixed).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ]
}
