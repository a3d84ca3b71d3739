//! Pieces of a file on their way: small enough for every server, and each row
//! remembers its line in the file.

use orderwire_api::problem::ProblemError;

/// The most rows of a piece.
pub(super) const ROWS_MAX: usize = 2_000;
/// The most bytes of a piece, unless one row alone has more.
pub(super) const BYTES_MAX: usize = 1 << 20;

/// Successive rows as NDJSON.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// The position of its first row in the file, from 0.
    pub(super) first: u64,
    body: Vec<u8>,
    lines: Vec<u64>,
}

impl Chunk {
    /// A piece behind so many rows of the file.
    pub(super) fn after(first: u64) -> Self {
        Self { first, ..Self::default() }
    }

    /// Whether another row of this length belongs to it.
    pub(super) fn has_room(&self, length: usize) -> bool {
        self.lines.is_empty() || self.lines.len() < ROWS_MAX && self.body.len() + length < BYTES_MAX
    }

    /// Adds a row and the line where it stands in the file.
    pub(super) fn push(&mut self, line: u64, json: &str) {
        self.lines.push(line);
        self.body.extend_from_slice(json.as_bytes());
        self.body.push(b'\n');
    }

    pub(super) fn rows(&self) -> u64 {
        self.lines.len() as u64
    }

    /// Its body; what follows is the next piece.
    pub(super) fn take(&mut self) -> (Vec<u8>, Lines) {
        self.first += self.rows();
        (std::mem::take(&mut self.body), Lines(std::mem::take(&mut self.lines)))
    }
}

/// The lines of a piece's rows.
pub(super) struct Lines(Vec<u64>);

impl Lines {
    /// The faults that the server found, by line of the file instead of the piece.
    pub(super) fn in_file(&self, faults: &[ProblemError]) -> Vec<ProblemError> {
        let line = |of_piece: u64| {
            let at = usize::try_from(of_piece).ok()?.checked_sub(1)?;
            self.0.get(at).copied()
        };
        let placed = |fault: &ProblemError| ProblemError { line: fault.line.and_then(line), ..fault.clone() };
        faults.iter().map(placed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_bounded_by_rows_and_bytes_but_take_one_row_always() {
        let mut chunk = Chunk::default();
        assert!(chunk.has_room(BYTES_MAX * 2));
        for line in 0..ROWS_MAX {
            assert!(chunk.has_room(2), "{line}");
            chunk.push(line as u64 + 2, "{}");
        }
        assert!(!chunk.has_room(2));
        let (body, _) = chunk.take();
        assert_eq!((body.len(), chunk.first, chunk.rows()), (3 * ROWS_MAX, ROWS_MAX as u64, 0));
        chunk.push(1, &"x".repeat(BYTES_MAX - 10));
        assert!(!chunk.has_room(10));
    }

    #[test]
    fn faults_are_told_by_their_line_in_the_file() {
        let mut chunk = Chunk::default();
        chunk.push(17, "{}");
        chunk.push(23, "{}");
        let (_, lines) = chunk.take();
        let fault = |line| ProblemError { line, pointer: "/a".into(), detail: "x".into() };
        let placed = lines.in_file(&[fault(Some(2)), fault(Some(9)), fault(None)]);
        assert_eq!(placed.iter().map(|fault| fault.line).collect::<Vec<_>>(), [Some(23), None, None]);
    }
}
