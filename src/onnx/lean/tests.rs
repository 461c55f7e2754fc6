//! A small model written by hand, with a branch within.

use super::buffer::{Buffer, IDENTIFIER};
use super::*;
use proptest::prelude::*;

enum Value {
    Text(&'static str),
    Byte(u8),
    Table(Vec<(usize, Value)>),
    List(Vec<Value>),
}

use Value::{Byte, List, Table, Text};

fn texts(texts: &[&'static str]) -> Value {
    List(texts.iter().map(|text| Text(text)).collect())
}

fn aligned(bytes: &mut Vec<u8>) -> usize {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.len()
}

fn put(bytes: &mut [u8], at: usize, number: usize) {
    bytes[at..at + 4].copy_from_slice(&(number as u32).to_le_bytes());
}

/// Writes a value and says where it lies.
fn write(bytes: &mut Vec<u8>, value: &Value) -> usize {
    let at = aligned(bytes);
    match value {
        Text(text) => {
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
            bytes.push(0);
            at
        }
        Byte(_) => unreachable!("a byte lies in its table"),
        List(items) => {
            bytes.extend((items.len() as u32).to_le_bytes());
            bytes.resize(bytes.len() + 4 * items.len(), 0);
            for (i, item) in items.iter().enumerate() {
                let place = at + 4 + 4 * i;
                let target = write(bytes, item);
                put(bytes, place, target - place);
            }
            at
        }
        Table(fields) => {
            let slots = fields
                .iter()
                .map(|(number, _)| number + 1)
                .max()
                .unwrap_or(0);
            let table_bytes = 4 + 4 * fields.len();
            bytes.extend(((4 + 2 * slots) as u16).to_le_bytes());
            bytes.extend((table_bytes as u16).to_le_bytes());
            bytes.resize(bytes.len() + 2 * slots, 0);
            let table = aligned(bytes);
            bytes.resize(table + table_bytes, 0);
            put(bytes, table, table - at);
            for (i, (number, value)) in fields.iter().enumerate() {
                let place = table + 4 + 4 * i;
                let slot = at + 4 + 2 * number;
                bytes[slot..slot + 2].copy_from_slice(&((place - table) as u16).to_le_bytes());
                if let Byte(byte) = value {
                    bytes[place] = *byte;
                } else {
                    let target = write(bytes, value);
                    put(bytes, place, target - place);
                }
            }
            table
        }
    }
}

fn model(graph: Value) -> Image {
    let model = Table(vec![(field::MODEL_GRAPH, graph)]);
    let mut bytes = [&[0; 4], IDENTIFIER].concat();
    let session = write(&mut bytes, &Table(vec![(field::SESSION_MODEL, model)]));
    put(&mut bytes, 0, session);
    Image::of(&bytes).unwrap()
}

/// A tensor with a shape, which is empty here.
fn value(name: &'static str) -> Value {
    let tensor = Table(vec![
        (field::TENSOR_TYPE_ELEMENT, Byte(1)),
        (field::TENSOR_TYPE_SHAPE, Table(vec![])),
    ]);
    let kind = Table(vec![
        (field::TYPE_KIND, Byte(1)),
        (field::TYPE_VALUE, tensor),
    ]);
    Table(vec![
        (field::VALUE_NAME, Text(name)),
        (field::VALUE_TYPE, kind),
    ])
}

fn weight(name: &'static str) -> Value {
    Table(vec![(field::TENSOR_NAME, Text(name))])
}

fn node(
    name: &'static str,
    inputs: &[&'static str],
    outputs: &[&'static str],
) -> Vec<(usize, Value)> {
    vec![
        (field::NODE_NAME, Text(name)),
        (field::NODE_INPUTS, texts(inputs)),
        (field::NODE_OUTPUTS, texts(outputs)),
    ]
}

/// `/add` adds `/weight` to `sound`; `/if` has a branch that gives what came of it, seen from within.
fn nested() -> Image {
    let branch = Table(vec![
        (
            field::GRAPH_NODE_ARGS,
            List(vec![value("/sum"), value("/inner")]),
        ),
        (
            field::GRAPH_NODES,
            List(vec![Table(node("/copy", &["/sum", ""], &["/inner"]))]),
        ),
        (field::GRAPH_OUTPUTS, texts(&["/inner"])),
    ]);
    let mut branching = node("/if", &["#0"], &["words"]);
    branching.push((field::NODE_IMPLICIT_INPUTS, texts(&["/sum"])));
    let then = Table(vec![(field::ATTRIBUTE_GRAPH, branch)]);
    branching.push((field::NODE_ATTRIBUTES, List(vec![then])));
    model(Table(vec![
        (field::GRAPH_INITIALIZERS, List(vec![weight("/weight")])),
        (
            field::GRAPH_NODE_ARGS,
            List(
                ["sound", "#0", "/weight", "/sum", "words"]
                    .map(value)
                    .into(),
            ),
        ),
        (
            field::GRAPH_NODES,
            List(vec![
                Table(node("/add", &["sound", "/weight"], &["/sum"])),
                Table(branching),
            ]),
        ),
        (field::GRAPH_INPUTS, texts(&["sound", "#0"])),
        (field::GRAPH_OUTPUTS, texts(&["words"])),
    ]))
}

/// What a graph says of itself, in words.
fn told(buffer: &Buffer<'_>, graph: usize) -> Vec<String> {
    let text = |at| String::from_utf8_lossy(buffer.string(at).unwrap()).into_owned();
    let child = |table, field| text(buffer.child(table, field).unwrap());
    let list = |table, field| {
        let strings = buffer.vector(table, field).unwrap();
        strings.into_iter().map(text).collect::<Vec<_>>().join(" ")
    };
    let mut lines = Vec::new();
    for tensor in buffer.vector(graph, field::GRAPH_INITIALIZERS).unwrap() {
        lines.push(format!("weight {}", child(tensor, field::TENSOR_NAME)));
    }
    for value in buffer.vector(graph, field::GRAPH_NODE_ARGS).unwrap() {
        let kind = buffer.child(value, field::VALUE_TYPE).unwrap();
        let tensor = buffer.child(kind, field::TYPE_VALUE).unwrap();
        assert!(buffer.field(tensor, field::TENSOR_TYPE_ELEMENT).is_some());
        let has_shape = buffer.field(tensor, field::TENSOR_TYPE_SHAPE).is_some();
        let shape = if has_shape { "shaped" } else { "plain" };
        lines.push(format!("{shape} {}", child(value, field::VALUE_NAME)));
    }
    for node in buffer.vector(graph, field::GRAPH_NODES).unwrap() {
        lines.push(format!(
            "node {:?}: {} | {} -> {}",
            child(node, field::NODE_NAME),
            list(node, field::NODE_INPUTS),
            list(node, field::NODE_IMPLICIT_INPUTS),
            list(node, field::NODE_OUTPUTS),
        ));
        for attribute in buffer.vector(node, field::NODE_ATTRIBUTES).unwrap() {
            let within = buffer.child(attribute, field::ATTRIBUTE_GRAPH).unwrap();
            lines.extend(
                told(buffer, within)
                    .into_iter()
                    .map(|line| format!("  {line}")),
            );
        }
    }
    lines.push(format!(
        "{} -> {}",
        list(graph, field::GRAPH_INPUTS),
        list(graph, field::GRAPH_OUTPUTS)
    ));
    lines
}

fn is_unchanged(model: &Image, lean: Lean, as_it_was: &[u8]) -> bool {
    lean.shapes.is_some() || lean.names.is_some() || model[..] == *as_it_was
}

#[test]
fn what_is_no_model_in_this_format_stays_as_it_is() {
    for bytes in [
        &b""[..],
        b"ORTM",
        b"\x08\0\0\0ORTM",
        b"\xff\xff\xff\xffORTM\0\0\0\0",
    ] {
        let mut model = Image::of(bytes).unwrap();
        let lean = make_lean(&mut model);
        assert_eq!((lean.shapes, lean.names), (None, None));
        assert_eq!(model[..], *bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_damaged_model_makes_nothing_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = nested().to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if is_cut {
            bytes.truncate(length.index(bytes.len()));
        }
        let mut model = Image::of(&bytes).unwrap();
        let lean = make_lean(&mut model);
        prop_assert!(is_unchanged(&model, lean, &bytes));
    }
}

#[test]
fn new_names_lie_where_they_may_whatever_the_length_before() {
    for odd in 0..4 {
        let mut model = nested();
        assert!(model.append(&vec![0; odd]));
        let length = model.len();
        make_lean(&mut model);
        let buffer = Buffer(&model);
        let graph = buffer.graphs().unwrap()[0];
        for node in buffer.vector(graph, field::GRAPH_NODES).unwrap() {
            let outputs = buffer.vector(node, field::NODE_OUTPUTS).unwrap();
            for at in outputs.into_iter().filter(|at| *at > length) {
                let end = at + 4 + buffer.u32(at).unwrap();
                assert_eq!((at % 4, model[end]), (0, 0));
            }
        }
    }
}

#[test]
fn what_finds_no_room_stays_as_it_is() {
    let mut model = nested();
    while model.append(&[0; 4]) {}
    let as_it_was = model.to_vec();
    let lean = make_lean(&mut model);
    assert_eq!((lean.shapes, lean.names), (None, None));
    assert_eq!(model[..], as_it_was[..]);
}

#[test]
fn a_model_whose_nodes_have_lists_of_graphs_stays_as_it_is() {
    let attribute = Table(vec![(field::ATTRIBUTE_GRAPHS, List(vec![Table(vec![])]))]);
    let mut node = node("/switch", &[], &["/sum"]);
    node.push((field::NODE_ATTRIBUTES, List(vec![attribute])));
    let mut model = model(Table(vec![(field::GRAPH_NODES, List(vec![Table(node)]))]));
    let as_it_was = model.to_vec();
    make_lean(&mut model);
    assert_eq!(model[..], as_it_was[..]);
}

#[test]
fn values_lose_their_shapes_and_long_names_and_stay_connected_as_they_were() {
    let mut model = nested();
    make_lean(&mut model);
    let buffer = Buffer(&model);
    let told = told(&buffer, buffer.graphs().unwrap()[0]);
    // #0 is the name of an input and can't be given again.
    let lean = [
        "weight #1",
        "plain sound",
        "plain #0",
        "shaped #1",
        "plain #2",
        "plain words",
        r#"node "": sound #1 |  -> #2"#,
        r#"node "": #0 | #2 -> words"#,
        "  plain #2",
        "  plain #3",
        r#"  node "": #2  |  -> #3"#,
        "   -> #3",
        "sound #0 -> words",
    ];
    assert_eq!(told, lean);
}

#[test]
fn what_is_lean_already_stays_lean() {
    let mut model = nested();
    make_lean(&mut model);
    let once = told(&Buffer(&model), Buffer(&model).graphs().unwrap()[0]);
    make_lean(&mut model);
    let twice = told(&Buffer(&model), Buffer(&model).graphs().unwrap()[0]);
    assert_eq!(once, twice);
}

#[test]
fn a_model_with_sparse_weights_keeps_its_names() {
    let mut model = model(Table(vec![
        (field::GRAPH_NODE_ARGS, List(vec![value("/sum")])),
        (field::GRAPH_SPARSE_INITIALIZERS, List(vec![Table(vec![])])),
    ]));
    make_lean(&mut model);
    let buffer = Buffer(&model);
    let told = told(&buffer, buffer.graphs().unwrap()[0]);
    assert_eq!(told[0], "plain /sum");
}
