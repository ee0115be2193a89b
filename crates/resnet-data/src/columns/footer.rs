//! A parquet file's footer: its columns, its row groups and where their bytes lie.

use super::{Outcome, thrift};

/// Groups of columns within each other.
const DEEPEST: usize = 32;

/// No column has a longer name, with those of its groups: each column has them all, so that one long name and many
/// columns would fill the memory.
const LONGEST_NAME: usize = 4096;

/// How a column's values are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Physical {
    Boolean,
    Int32,
    Int64,
    Float,
    Double,
    Bytes,
    /// What no picture and no label is: dates of 96 bits, decimals of fixed length.
    Other,
}

/// A column that holds values, by the names on the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Leaf {
    pub(crate) path: String,
    pub(crate) physical: Physical,
    /// Bytes that are said to be text.
    pub(crate) text: bool,
    /// What its values are said to be, where that is nothing that a class could be.
    pub(crate) measure: Option<&'static str>,
    /// Whether a row may have several values.
    pub(crate) repeated: bool,
    /// How many levels of the way may be missing; a value stands where all are there.
    pub(super) levels: u32,
}

/// The bytes of a column in a row group.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    pub(super) start: u64,
    pub(super) length: usize,
    pub(super) codec: i64,
    pub(super) values: usize,
    /// Why it cannot be read here.
    pub(super) refused: Option<&'static str>,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) rows: usize,
    pub(super) chunks: Vec<Chunk>,
}

#[derive(Debug)]
pub(super) struct Footer {
    pub(super) leaves: Vec<Leaf>,
    pub(super) groups: Vec<Group>,
    pub(super) pairs: Vec<(String, String)>,
}

/// Understands the footer of a file of so many bytes.
pub(super) fn read(bytes: &[u8], file: u64) -> Outcome<Footer> {
    let (footer, _) = thrift::read(bytes)?;
    if footer.field(8).is_some() {
        return Err("it is encrypted; write it again without encryption".to_string());
    }
    let leaves = leaves(footer.list(2))?;
    let (mut rows, mut taken) = (0_u64, 0_u64);
    let mut groups = Vec::with_capacity(footer.list(4).len());
    for group in footer.list(4) {
        let chunks = group.list(1).iter().map(|column| chunk(column, file)).collect::<Outcome<Vec<_>>>()?;
        if chunks.len() != leaves.len() {
            return Err(format!("a row group has {} columns, the file {}", chunks.len(), leaves.len()));
        }
        let count = group.count(3).ok_or("a row group does not say how many rows it has")?;
        rows = rows.saturating_add(count as u64);
        taken = chunks.iter().fold(taken, |taken, chunk| taken.saturating_add(chunk.length as u64));
        groups.push(Group { rows: count, chunks });
    }
    // A picture takes a byte at least: what promises more rows would take memory without end.
    if rows > file {
        return Err(format!("it promises {rows} rows in {file} bytes"));
    }
    // Each byte is read once: columns that lie on each other could make a small file endless.
    if taken > file {
        return Err(format!("its columns take {taken} bytes of {file}: they lie on each other"));
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let pair = |pair: &thrift::Value| Some((text(pair.bytes(1)?), text(pair.bytes(2)?)));
    Ok(Footer { leaves, groups, pairs: footer.list(5).iter().filter_map(pair).collect() })
}

/// The columns with values, in the order of the row groups' chunks.
fn leaves(elements: &[thrift::Value]) -> Outcome<Vec<Leaf>> {
    let mut leaves = Vec::new();
    // Names on the way, each with its levels, whether it repeats, and how many columns of it are still to come.
    let mut way: Vec<(String, u32, bool, usize)> = Vec::new();
    let root = elements.first().ok_or("it has no schema")?;
    way.push((String::new(), 0, false, root.count(5).unwrap_or(0)));
    for element in &elements[1..] {
        while way.last().is_some_and(|(.., left)| *left == 0) {
            way.pop();
        }
        let (before, levels, repeated, left) = way.last_mut().ok_or("its schema has columns that belong nowhere")?;
        *left -= 1;
        let name = String::from_utf8_lossy(element.bytes(4).unwrap_or_default());
        let path = if before.is_empty() { name.into_owned() } else { format!("{before}.{name}") };
        if path.len() > LONGEST_NAME {
            return Err("a column's name is too long".to_string());
        }
        let repetition = element.integer(3).unwrap_or(0);
        let (levels, repeated) = (*levels + u32::from(repetition != 0), *repeated || repetition == 2);
        match (element.count(5).unwrap_or(0), element.integer(1)) {
            (0, Some(kind)) => {
                let physical = match kind {
                    0 => Physical::Boolean,
                    1 => Physical::Int32,
                    2 => Physical::Int64,
                    4 => Physical::Float,
                    5 => Physical::Double,
                    6 => Physical::Bytes,
                    _ => Physical::Other,
                };
                // UTF8, ENUM and JSON, as the older and as the newer field says it.
                let said = element.field(10).is_some_and(|kind| [1, 4, 12].iter().any(|&n| kind.field(n).is_some()));
                let text = said || matches!(element.integer(6), Some(0 | 4 | 19));
                leaves.push(Leaf { path, physical, text, measure: measure(element), repeated, levels });
            }
            (children, _) if way.len() < DEEPEST => way.push((path, levels, repeated, children)),
            _ => return Err("its columns are nested too deeply".to_string()),
        }
    }
    Ok(leaves)
}

/// Dates, times and decimals, as the older and as the newer field, or the way of storage, says it.
fn measure(element: &thrift::Value) -> Option<&'static str> {
    let newer =
        |numbers: &[i16]| element.field(10).is_some_and(|kind| numbers.iter().any(|&n| kind.field(n).is_some()));
    Some(match element.integer(6) {
        _ if newer(&[5]) => "decimals",
        _ if newer(&[6]) => "dates",
        _ if newer(&[7]) => "times",
        _ if newer(&[8]) => "timestamps",
        Some(5) => "decimals",
        Some(6) => "dates",
        Some(7 | 8) => "times",
        Some(9 | 10) => "timestamps",
        Some(21) => "intervals",
        // Of 96 bits.
        _ if element.integer(1) == Some(3) => "timestamps",
        _ => return None,
    })
}

fn chunk(column: &thrift::Value, file: u64) -> Outcome<Chunk> {
    let encrypted = column.field(8).is_some() || column.field(9).is_some();
    let refused = match () {
        () if column.bytes(1).is_some_and(|path| !path.is_empty()) => Some("its values lie in another file"),
        () if encrypted => Some("it is encrypted; write the file again without encryption"),
        () => None,
    };
    let nothing = Chunk { start: 0, length: 0, codec: 0, values: 0, refused };
    let Some(known) = column.field(3) else {
        return Ok(Chunk { refused: refused.or(Some("the footer says nothing of it")), ..nothing });
    };
    if refused.is_some() {
        return Ok(nothing);
    }
    let data = known.integer(9).ok_or("a column does not say where it lies")?;
    let start = match known.integer(11) {
        Some(dictionary) if dictionary > 0 && dictionary < data => dictionary,
        _ => data,
    };
    let (start, length) = (u64::try_from(start).ok(), known.integer(7).and_then(|length| u64::try_from(length).ok()));
    let (Some(start), Some(length)) = (start, length) else { return Err("a column lies before the file".to_string()) };
    if start.checked_add(length).is_none_or(|end| end > file) {
        return Err(format!("a column of {length} bytes at byte {start} ends after the file of {file}: it is cut"));
    }
    Ok(Chunk {
        start,
        length: usize::try_from(length).map_err(|_| "a column is too large")?,
        codec: known.integer(4).unwrap_or(0),
        values: known.count(5).unwrap_or(0),
        refused,
    })
}
