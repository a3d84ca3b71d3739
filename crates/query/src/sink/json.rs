//! Rows as JSON objects.

use std::io::Write;

use orderwire_store::{Cell, Column};

use super::{FLAG, Shape, json_text};

/// The frame around rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// `[…]`
    Array,
    /// One object without a frame, for whoever asked for exactly one.
    Single,
    /// `{"values":[…],"cache": true}`: a view.
    View,
}

/// Rows as JSON objects in a frame.
pub(crate) struct JsonRows {
    heads: Heads,
    frame: Frame,
}

impl JsonRows {
    pub(crate) fn new(columns: &[Column], frame: Frame) -> Self {
        Self { heads: Heads::new(columns), frame }
    }
}

impl Shape for JsonRows {
    fn open(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.frame {
            Frame::Array => b"[".as_slice(),
            Frame::Single => b"",
            Frame::View => b"{\"values\":[",
        });
    }

    fn row(&mut self, out: &mut Vec<u8>, cells: &mut dyn Iterator<Item = Cell<'_>>, first: bool) {
        if !first {
            out.extend_from_slice(b",\n");
        }
        self.heads.object(out, cells);
    }

    fn close(&mut self, out: &mut Vec<u8>, _: bool) {
        match self.frame {
            Frame::Array => out.push(b']'),
            Frame::Single => {}
            Frame::View => {
                out.extend_from_slice(b"],");
                out.extend_from_slice(FLAG);
                out.extend_from_slice(b"true}");
            }
        }
    }
}

/// What stands before each value of a row: `{"a":`, `,"b":`, written once.
pub(super) struct Heads(Vec<Vec<u8>>);

impl Heads {
    pub(super) fn new(columns: &[Column]) -> Self {
        let head = |(i, column): (usize, &Column)| {
            let mut head = vec![if i == 0 { b'{' } else { b',' }];
            json_text(&mut head, &column.alias);
            head.push(b':');
            head
        };
        Self(columns.iter().enumerate().map(head).collect())
    }

    pub(super) fn object(&self, out: &mut Vec<u8>, cells: &mut dyn Iterator<Item = Cell<'_>>) {
        for (head, cell) in self.0.iter().zip(cells) {
            out.extend_from_slice(head);
            value(out, cell);
        }
        out.push(b'}');
    }
}

/// A value as JSON.
pub(super) fn value(out: &mut Vec<u8>, cell: Cell<'_>) {
    const INFALLIBLE: &str = "a buffer takes any value";
    match cell {
        Cell::Null => out.extend_from_slice(b"null"),
        Cell::Text(text) => json_text(out, text),
        Cell::Integer(number) => serde_json::to_writer(out, &number).expect(INFALLIBLE),
        // The shortest digits that read back as the same number.
        Cell::Float(number) => serde_json::to_writer(out, &number).expect(INFALLIBLE),
        Cell::Boolean(yes) => out.extend_from_slice(if yes { b"true" } else { b"false" }),
        Cell::Timestamp(moment) => write!(out, "\"{moment}\"").expect(INFALLIBLE),
        Cell::Decimal(number) => write!(out, "{number}").expect(INFALLIBLE),
        Cell::Date(date) => write!(out, "\"{date}\"").expect(INFALLIBLE),
        Cell::Uuid(id) => write!(out, "\"{id}\"").expect(INFALLIBLE),
        Cell::Json(text) | Cell::Texts(text) => out.extend_from_slice(text.as_bytes()),
    }
}
