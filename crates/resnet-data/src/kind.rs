//! What a file is: by its first bytes, and by its ending where those say nothing.

use std::fmt;
use std::io::Read;
use std::path::Path;

/// Endings of pictures that are decoded, in any case.
pub(crate) const EXTENSIONS: [&str; 19] = [
    "jpg", "jpeg", "jpe", "jfif", "jif", "png", "apng", "webp", "bmp", "dib", "gif", "tif", "tiff", "btf", "tf8",
    "pnm", "ppm", "pgm", "pbm",
];

/// Bytes from the beginning that tell what a file is: enough for the first directory of a TIFF.
pub(crate) const HEAD: u64 = 4096;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture that is decoded; or a file with a picture's ending and a beginning that nothing is known to have,
    /// which is a picture that is broken.
    Picture(Format),
    /// A picture, video, document or archive that is recognised but not decoded.
    Unreadable(Unreadable),
    /// No picture: text, tables, anything else.
    Other,
}

/// The format of a picture that is decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JPEG (JFIF, EXIF, MPO).
    Jpeg,
    /// PNG and APNG.
    Png,
    /// WebP.
    WebP,
    /// GIF.
    Gif,
    /// Windows' and OS/2's bitmaps.
    Bmp,
    /// TIFF and BigTIFF.
    Tiff,
    /// PBM, PGM, PPM and PAM, as text or bytes.
    Pnm,
    /// Of a picture's ending, but of no known content.
    Unknown,
}

/// A kind of file that is recognised but not decoded, such as HEIC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Unreadable {
    /// The kind: `HEIC`, `camera raw`, `PDF`, `video`.
    pub name: &'static str,
    /// What makes a readable picture of it.
    pub hint: &'static str,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// What the file at `path` is. Its first 4096 bytes are read; its ending counts where they say nothing.
///
/// ```
/// use resnet_data::{Kind, kind_of};
/// # let folder = std::env::temp_dir().join(format!("kind-{}", std::process::id()));
/// # std::fs::create_dir_all(&folder)?;
/// # let path = folder.join("photo.jpg");
/// # std::fs::write(&path, b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")?;
/// match kind_of(&path)? {
///     Kind::Picture(format) => println!("{format:?}"),
///     Kind::Unreadable(kind) => {
///         assert_eq!(kind.name, "HEIC");
///         assert_eq!(kind.hint, "save it as JPEG, e.g. `magick in.heic out.jpg`");
///     }
///     Kind::Other => println!("no picture"),
/// }
/// # std::fs::remove_dir_all(&folder)?;
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Where the file cannot be opened or read; pipes and devices are not.
pub fn kind_of(path: impl AsRef<Path>) -> std::io::Result<Kind> {
    let path = path.as_ref();
    let mut head = Vec::new();
    resnet_files::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(Kind::of(&head, path))
}

impl Kind {
    /// What a file is, by its first bytes (4096 are enough) and its name.
    pub fn of(head: &[u8], path: &Path) -> Self {
        let ending = Self::of_ending(path);
        match (Self::of_content(head), ending) {
            // The raw files of most cameras are TIFF inside: a small preview, then the sensor's data.
            (Self::Picture(Format::Tiff), Self::Unreadable(raw)) => Self::Unreadable(raw),
            (Self::Other, ending) => ending,
            (content, _) => content,
        }
    }

    /// What the ending says, without a look into the file.
    pub fn of_ending(path: &Path) -> Self {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if EXTENSIONS.contains(&ending.as_str()) {
            return Self::Picture(Format::Unknown);
        }
        let known = ENDINGS.iter().find(|(endings, _)| endings.contains(&ending.as_str()));
        known.map_or(Self::Other, |&(_, kind)| Self::Unreadable(kind))
    }

    /// What the first bytes say.
    pub fn of_content(head: &[u8]) -> Self {
        match Format::of(head) {
            Some(Format::Tiff) if is_raw(head) => Self::Unreadable(RAW),
            Some(format) => Self::Picture(format),
            None => unreadable(head).map_or(Self::Other, Self::Unreadable),
        }
    }

    /// True for a picture that is decoded, or should be one by its ending.
    pub fn is_picture(&self) -> bool {
        matches!(self, Self::Picture(_))
    }
}

impl Format {
    /// The format of a picture that is decoded, by its first bytes.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        // Samsung's and others' files begin with line feeds or a copied header now and then; Pillow refuses those.
        let starts = |magic: &[u8]| head.starts_with(magic);
        if starts(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"RIFF") && head.get(8..12) == Some(b"WEBP") {
            Some(Self::WebP)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Self::Gif)
        } else if [&b"II*\0"[..], b"MM\0*", b"MM*\0", b"II\0*", b"II+\0", b"MM\0+"].into_iter().any(starts) {
            Some(Self::Tiff)
        } else if starts(b"BM") && is_bitmap(head) {
            Some(Self::Bmp)
        } else if is_anymap(head) {
            Some(Self::Pnm)
        } else {
            None
        }
    }
}

/// True for a bitmap: `BM` alone begins many a text.
fn is_bitmap(head: &[u8]) -> bool {
    let size = head.get(14..18).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    matches!(size, Some(12 | 16 | 40 | 52 | 56 | 64 | 108 | 124))
}

/// True for `P1` to `P7` and a white space or a comment, then a digit, a comment or a PAM's keyword.
fn is_anymap(head: &[u8]) -> bool {
    let [b'P', digit @ b'1'..=b'7', rest @ ..] = head else { return false };
    let Some(first) = rest.first().filter(|byte| byte.is_ascii_whitespace() || **byte == b'#') else { return false };
    let next = rest.iter().find(|byte| !byte.is_ascii_whitespace()).unwrap_or(first);
    *next == b'#' || if *digit == b'7' { next.is_ascii_uppercase() } else { next.is_ascii_digit() }
}

const fn kind(name: &'static str, hint: &'static str) -> Unreadable {
    Unreadable { name, hint }
}

const RAW: Unreadable = kind("camera raw", "develop it to JPEG, e.g. `magick in.dng out.jpg` or with darktable");
const HEIC: Unreadable = kind("HEIC", "save it as JPEG, e.g. `magick in.heic out.jpg`");
const AVIF: Unreadable = kind("AVIF", "save it as JPEG, e.g. `magick in.avif out.jpg`");
const JXL: Unreadable = kind("JPEG XL", "save it as JPEG, e.g. `djxl in.jxl out.jpg`");
const JP2: Unreadable = kind("JPEG 2000", "save it as PNG, e.g. `magick in.jp2 out.png`");
const PSD: Unreadable = kind("PSD", "save it as PNG, e.g. `magick 'in.psd[0]' out.png`");
const PDF: Unreadable = kind("PDF", "save its pages as PNG, e.g. `pdftoppm -png in.pdf page`");
const SVG: Unreadable = kind("SVG", "draw it as PNG, e.g. `rsvg-convert in.svg -o out.png`");
const EPS: Unreadable = kind("PostScript", "draw it as PNG, e.g. `magick -density 150 in.eps out.png`");
const DICOM: Unreadable = kind("DICOM", "save it as PNG, e.g. `dcmj2pnm +on in.dcm out.png`");
const FITS: Unreadable = kind("FITS", "save it as PNG, e.g. `magick in.fits out.png`");
const EXR: Unreadable = kind("OpenEXR", "save it as PNG, e.g. `magick in.exr out.png`");
const HDR: Unreadable = kind("Radiance HDR", "save it as PNG, e.g. `magick in.hdr out.png`");
const ICON: Unreadable = kind("icon", "save it as PNG, e.g. `magick 'in.ico[0]' out.png`");
const TGA: Unreadable = kind("TGA", "save it as PNG, e.g. `magick in.tga out.png`");
const QOI: Unreadable = kind("QOI", "save it as PNG, e.g. `magick in.qoi out.png`");
const OLD: Unreadable = kind("picture of an old format", "save it as PNG, e.g. `magick in out.png`");
const XCF: Unreadable = kind("XCF", "export it as PNG from GIMP");
const VIDEO: Unreadable = kind("video", "save frames of it as JPEG, e.g. `ffmpeg -i in.mp4 -r 1 %05d.jpg`");
const ARCHIVE: Unreadable = kind("archive", "unpack it");

/// Kinds by their endings, for files whose content says nothing (or TIFF, as that of most raw files does).
const ENDINGS: [(&[&str], Unreadable); 20] = [
    (
        &[
            "cr2", "cr3", "crw", "nef", "nrw", "arw", "srf", "sr2", "dng", "orf", "rw2", "raw", "raf", "pef", "srw",
            "x3f", "3fr", "fff", "iiq", "erf", "mef", "mos", "mrw", "dcr", "kdc", "rwl", "gpr", "ptx", "cap",
        ],
        RAW,
    ),
    (&["heic", "heif", "heics", "heifs", "hif"], HEIC),
    (&["avif", "avifs"], AVIF),
    (&["jxl"], JXL),
    (&["jp2", "j2k", "jpf", "jpx", "jpm", "j2c", "jpc"], JP2),
    (&["psd", "psb"], PSD),
    (&["pdf"], PDF),
    (&["svg", "svgz"], SVG),
    (&["eps", "ps", "ai"], EPS),
    (&["dcm", "dicom"], DICOM),
    (&["fits", "fit", "fts"], FITS),
    (&["exr"], EXR),
    (&["hdr"], HDR),
    (&["ico", "cur", "icns"], ICON),
    (&["tga", "vda", "icb", "vst"], TGA),
    (&["qoi"], QOI),
    (&["pcx", "dcx", "dds", "sgi", "rgb", "bw", "ras", "xbm", "xpm", "pfm", "wmf", "emf", "djvu", "fli", "flc"], OLD),
    (&["xcf"], XCF),
    (
        &[
            "mp4", "m4v", "mov", "avi", "mkv", "webm", "wmv", "flv", "mpg", "mpeg", "mts", "m2ts", "3gp", "3g2", "ogv",
            "vob", "mp", "insv", "lrv",
        ],
        VIDEO,
    ),
    (&["zip", "tar", "gz", "tgz", "bz2", "xz", "zst", "7z", "rar"], ARCHIVE),
];

/// Kinds by their first bytes.
fn unreadable(head: &[u8]) -> Option<Unreadable> {
    let starts = |magic: &[u8]| head.starts_with(magic);
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    if at(4, b"ftyp") {
        return Some(of_brands(head));
    }
    const MAGIC: [(&[u8], Unreadable); 40] = [
        (b"FUJIFILMCCD-RAW", RAW),
        (b"IIRO", RAW),
        (b"IIRS", RAW),
        (b"MMOR", RAW),
        (b"IIU\0", RAW),
        (b"FOVb", RAW),
        (b"\0MRM", RAW),
        (b"II\x1a\0\0\0HEAPCCDR", RAW),
        (b"\xff\x0a", JXL),
        (b"\0\0\0\x0cJXL \r\n\x87\n", JXL),
        (b"\0\0\0\x0cjP  \r\n\x87\n", JP2),
        (b"\xff\x4f\xff\x51", JP2),
        (b"8BPS", PSD),
        (b"%PDF-", PDF),
        (b"%!PS", EPS),
        (b"\xc5\xd0\xd3\xc6", EPS),
        (b"SIMPLE  =", FITS),
        (b"\x76\x2f\x31\x01", EXR),
        (b"#?RADIANCE", HDR),
        (b"#?RGBE", HDR),
        (b"icns", ICON),
        (b"qoif", QOI),
        (b"DDS ", OLD),
        (b"AT&TFORM", OLD),
        (b"\x01\xda\0", OLD),
        (b"\x01\xda\x01", OLD),
        (b"\x59\xa6\x6a\x95", OLD),
        (b"/* XPM */", OLD),
        (b"gimp xcf", XCF),
        (b"\x1a\x45\xdf\xa3", VIDEO),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", VIDEO),
        (b"FLV\x01", VIDEO),
        (b"\0\0\x01\xba", VIDEO),
        (b"\0\0\x01\xb3", VIDEO),
        (b"OggS", VIDEO),
        (b"PK\x03\x04", ARCHIVE),
        (b"\x1f\x8b\x08", ARCHIVE),
        (b"7z\xbc\xaf\x27\x1c", ARCHIVE),
        (b"Rar!\x1a\x07", ARCHIVE),
        (b"\xfd7zXZ\0", ARCHIVE),
    ];
    if let Some(&(_, kind)) = MAGIC.iter().find(|(magic, _)| starts(magic)) {
        return Some(kind);
    }
    if is_icon(head) {
        return Some(ICON);
    }
    if is_tga(head) {
        return Some(TGA);
    }
    if at(128, b"DICM") {
        return Some(DICOM);
    }
    if starts(b"RIFF") && (at(8, b"AVI ") || at(8, b"CDVX")) {
        return Some(VIDEO);
    }
    // QuickTime files of old have no `ftyp`.
    if [&b"moov"[..], b"mdat", b"wide", b"free", b"skip", b"pnot"].iter().any(|name| at(4, name)) && starts(b"\0") {
        return Some(VIDEO);
    }
    is_svg(head).then_some(SVG)
}

/// True for Windows' icons and cursors: a directory of some pictures, of which each entry has a byte of nothing.
fn is_icon(head: &[u8]) -> bool {
    let [0, 0, 1 | 2, 0, count, more, _, _, _, 0, ..] = head else { return false };
    (1..=1024).contains(&u16::from_le_bytes([*count, *more]))
}

/// True for a TGA of true colours or greys, which begins with no magic number.
fn is_tga(head: &[u8]) -> bool {
    let &[_, 0, 2 | 3 | 10 | 11, 0, 0, 0, 0, 0, _, _, _, _, w0, w1, h0, h1, depth, flags, ..] = head else {
        return false;
    };
    [w0, w1] != [0, 0] && [h0, h1] != [0, 0] && matches!(depth, 8 | 15 | 16 | 24 | 32) && flags & 0xc0 == 0
}

/// What an ISO container holds, by its brands.
fn of_brands(head: &[u8]) -> Unreadable {
    let length = head.first_chunk().map_or(0, |&bytes| u32::from_be_bytes(bytes)) as usize;
    let brands = &head[8..length.clamp(12, head.len().max(12)).min(head.len())];
    // The first four bytes are the main brand, then come a version and the brands that it is compatible with.
    let any = |names: &[&[u8; 4]]| brands.chunks(4).any(|brand| names.iter().any(|name| brand == *name));
    let main = |names: &[&[u8; 4]]| names.iter().any(|name| brands.starts_with(*name));
    if main(&[b"crx "]) {
        RAW
    } else if any(&[b"avif", b"avis"]) {
        AVIF
    } else if any(&[b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"]) {
        HEIC
    } else if main(&[b"jp2 ", b"jpx ", b"jpm "]) {
        JP2
    } else if main(&[b"jxl "]) {
        JXL
    } else {
        VIDEO
    }
}

/// True where a drawing's root element comes first, behind a declaration and comments.
fn is_svg(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    text.starts_with("<svg") || ((text.starts_with("<?xml") || text.starts_with("<!")) && text.contains("<svg"))
}

/// True for a TIFF that holds a camera's raw data: its first directory is a preview, or says what it is.
fn is_raw(head: &[u8]) -> bool {
    const NEW_SUBFILE_TYPE: u16 = 254;
    const SUB_DIRECTORIES: u16 = 330;
    const DNG_VERSION: u16 = 50706;
    if head.get(8..10) == Some(b"CR") {
        return true;
    }
    let big = head.starts_with(b"MM");
    let u16_at = |at: usize| {
        let bytes: [u8; 2] = head.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if big { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) })
    };
    let u32_at = |at: usize| {
        let bytes: [u8; 4] = head.get(at..at.checked_add(4)?)?.try_into().ok()?;
        Some(if big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let Some(directory) = u32_at(4).map(|at| at as usize) else { return false };
    let (mut preview, mut more) = (false, false);
    for entry in 0..u16_at(directory).unwrap_or(0) {
        let at = directory.saturating_add(2 + 12 * usize::from(entry));
        match u16_at(at) {
            Some(DNG_VERSION) => return true,
            Some(NEW_SUBFILE_TYPE) => preview = u32_at(at + 8).is_some_and(|flags| flags & 1 != 0),
            Some(SUB_DIRECTORIES) => more = true,
            Some(_) => {}
            None => break,
        }
    }
    preview && more
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(head: &[u8], path: &str) -> String {
        match Kind::of(head, Path::new(path)) {
            Kind::Picture(format) => format!("{format:?}"),
            Kind::Unreadable(kind) => kind.to_string(),
            Kind::Other => "other".to_string(),
        }
    }

    #[test]
    fn files_are_told_by_content_and_then_by_ending() {
        for (head, path, expected) in [
            (&b"\xff\xd8\xff\xe0"[..], "a.png", "Jpeg"),
            (b"\x89PNG\r\n\x1a\n", "a.jpg", "Png"),
            (b"RIFF\0\0\0\0WEBP", "a", "WebP"),
            (b"GIF89a", "a.txt", "Gif"),
            (b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0", "a", "Bmp"),
            (b"BM is short for basal metabolism", "a.txt", "other"),
            (b"II*\0\x08\0\0\0\0\0", "a.tif", "Tiff"),
            (b"MM\0+\0\x08\0\0", "a", "Tiff"),
            (b"II*\0\x08\0\0\0\0\0", "a.NEF", "camera raw"),
            (b"II*\0\x10\0\0\0CR\x02\0", "a.tif", "camera raw"),
            (b"P6\n# made by\n2 2", "a", "Pnm"),
            (b"P7\nWIDTH 2", "a", "Pnm"),
            (b"P6 is a processor", "a.txt", "other"),
            (b"P2", "a.txt", "other"),
            (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "a.jpg", "HEIC"),
            (b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif", "a.jpg", "AVIF"),
            (b"\0\0\0\x18ftypavif\0\0\0\0mif1avif", "a", "AVIF"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "a", "video"),
            (b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom", "a", "camera raw"),
            (b"\0\0\0\x18ftypqt  \0\0\0\0qt  ", "a.MOV", "video"),
            (b"ftyp", "a", "other"),
            (b"\0\0\0\x01ftyp", "a", "video"),
            (b"8BPS\0\x01", "a", "PSD"),
            (b"%PDF-1.7", "scan.jpg", "PDF"),
            (b"<?xml version=\"1.0\"?>\n<!-- x --><svg xmlns", "a.xml", "SVG"),
            (b"<?xml version=\"1.0\"?><annotation>", "a.xml", "other"),
            (b"", "a.HEIC", "HEIC"),
            (b"", "a.jpg", "Unknown"),
            (b"<html>", "a.jpeg", "Unknown"),
            (b"a,b\n1,2", "labels.csv", "other"),
            (b"{}", "a.json", "other"),
            (b"PK\x03\x04", "a.zip", "archive"),
            (b"\0\0\x02\0\0\0\0\0\0\0\0\0\x20\0\x20\0\x18\0", "a.img", "TGA"),
            (b"\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\x20\0\x18\0", "a.img", "other"),
            (b"\0\0\x02\0\x01\0\x20\x20\0\0\0\0\0\0\x30\x01\0\0", "a", "icon"),
            (b"\0\0\x01\0\x02\0\x10\x10\x10\0\x01\0\x04\0", "a.jpg", "icon"),
            (b"\0\0\x02", "a.tga", "TGA"),
        ] {
            assert_eq!(name(head, path), expected, "{:?} {path}", String::from_utf8_lossy(head));
        }
        let mut dicom = vec![0; 128];
        dicom.extend(b"DICM");
        assert_eq!(name(&dicom, "IM0001"), "DICOM");
    }

    #[test]
    fn raw_files_are_tiff_whose_first_directory_is_a_preview() {
        let entry = |tag: u16, value: u32| {
            [&tag.to_le_bytes()[..], &4_u16.to_le_bytes(), &1_u32.to_le_bytes(), &value.to_le_bytes()].concat()
        };
        let tiff = |entries: &[Vec<u8>]| {
            [b"II*\0\x08\0\0\0", &(entries.len() as u16).to_le_bytes()[..], &entries.concat(), &[0; 4]].concat()
        };
        assert_eq!(name(&tiff(&[entry(254, 1), entry(330, 8)]), "a"), "camera raw");
        assert_eq!(name(&tiff(&[entry(254, 0), entry(330, 8)]), "a"), "Tiff", "a pyramid's first is its largest");
        assert_eq!(name(&tiff(&[entry(50706, 1)]), "a"), "camera raw");
        assert_eq!(name(b"II*\0\xff\xff\xff\xff", "a"), "Tiff");
    }
}
