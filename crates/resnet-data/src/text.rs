//! Small files of text, as editors of all systems leave them.

use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// No list of classes is longer, in bytes.
const LONGEST: u64 = 16 << 20;

/// The text of bytes without its byte order mark; UTF-16 where the mark says so.
///
/// `None` where it is neither.
pub(crate) fn decoded(bytes: &[u8]) -> Option<String> {
    let wide = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|&pair| unit(pair)).collect();
        String::from_utf16(&units).ok()
    };
    match bytes {
        [0xef, 0xbb, 0xbf, text @ ..] => String::from_utf8(text.to_vec()).ok(),
        [0xff, 0xfe, text @ ..] => wide(text, u16::from_le_bytes),
        [0xfe, 0xff, text @ ..] => wide(text, u16::from_be_bytes),
        text => String::from_utf8(text.to_vec()).ok(),
    }
}

/// The lines of a file of text, without the blanks around them and without empty ones at its end.
pub(crate) fn lines(path: &Path) -> Result<Vec<String>> {
    let mut bytes = Vec::new();
    let file = resnet_files::open(path).map_err(Error::io(path))?;
    file.take(LONGEST + 1).read_to_end(&mut bytes).map_err(Error::io(path))?;
    if bytes.len() as u64 > LONGEST {
        return Err(Error::format(path, "it is no list of names: it has more than 16 MB"));
    }
    let text = decoded(&bytes).ok_or_else(|| Error::format(path, "it is not text in UTF-8; save it as UTF-8"))?;
    let mut lines: Vec<String> = text.lines().map(|line| line.trim().to_string()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_and_line_ends_are_no_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("classes.txt");
        let wide: Vec<u8> = "\u{feff}cat\r\nø\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for bytes in [&b"\xef\xbb\xbfcat\r\n\xc3\xb8\r\n\r\n"[..], b"cat\n \xc3\xb8 \n", &wide] {
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(lines(&path).unwrap(), ["cat", "ø"]);
        }
        std::fs::write(&path, b"caf\xe9").unwrap();
        assert!(lines(&path).unwrap_err().to_string().contains("classes.txt: it is not text in UTF-8"));
    }
}
