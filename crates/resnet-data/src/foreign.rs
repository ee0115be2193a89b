//! Files that are not what their names say.

/// What a file is, by its first bytes, and what to do with it; `None` where they are nothing known.
pub(crate) fn what_it_is(head: &[u8]) -> Option<&'static str> {
    const KNOWN: &[(&[u8], &str)] = &[
        (b"version https://git-lfs", "it is a Git LFS pointer and not the file itself; run git lfs pull"),
        (b"\x1f\x8b", "it is compressed with gzip; unpack it (gunzip)"),
        (b"\x28\xb5\x2f\xfd", "it is compressed with zstd; unpack it (unzstd)"),
        (b"\xfd7zXZ\0", "it is compressed with xz; unpack it (unxz)"),
        (b"BZh", "it is compressed with bzip2; unpack it (bunzip2)"),
        (b"\x04\x22\x4d\x18", "it is compressed with LZ4; unpack it (unlz4)"),
        (b"PK\x03\x04", "it is a zip archive; unpack it, and name the folder or write it again with tar"),
        (b"PK\x05\x06", "it is an empty zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive; unpack it, and name the folder or write it again with tar"),
        (b"Rar!", "it is a RAR archive; unpack it, and name the folder or write it again with tar"),
        (b"PAR1", "it is a parquet file; name it with parquet:"),
        (b"PARE", "it is an encrypted parquet file; write it again without encryption"),
        (b"ARROW1", "it is an Arrow or Feather file; write it as parquet"),
        (b"\x89HDF\r\n", "it is an HDF5 file; write its images as files or parquet"),
        (b"\x93NUMPY", "it is a NumPy array; write its images as files or parquet"),
        (b"SQLite format 3", "it is an SQLite database; write its images as files or parquet"),
    ];
    if head.is_empty() {
        return Some("it is empty");
    }
    if let Some((_, what)) = KNOWN.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Some(what);
    }
    if head.get(257..262) == Some(b"ustar") {
        return Some("it is a tar file; name it with shards:");
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start().to_ascii_lowercase();
    let begins = |with: &[u8]| text.starts_with(with);
    match () {
        () if begins(b"<!doctype html") || begins(b"<html") => {
            Some("it is a page of HTML, such as a server sends in place of a file; fetch the file itself")
        }
        () if begins(b"<?xml") || begins(b"<error") => {
            Some("it is XML, such as a server sends in place of a file; fetch the file itself")
        }
        () if begins(b"{") => Some("it is JSON, such as a server sends in place of a file; fetch the file itself"),
        () if head.iter().all(|&byte| byte == 0) => Some("it begins with zeros alone: it was never written in full"),
        () => None,
    }
}
