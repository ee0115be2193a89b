//! What a directory says of its picture.

use super::super::check_size;
use super::super::ifd::{Directory, Order};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const STRIP_LENGTHS: u16 = 279;
const PLANAR: u16 = 284;
const T4_OPTIONS: u16 = 292;
const PREDICTOR: u16 = 317;
const COLOUR_MAP: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_LENGTHS: u16 = 325;
const EXTRA_SAMPLES: u16 = 338;
const SAMPLE_FORMAT: u16 = 339;
const JPEG_TABLES: u16 = 347;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Group3,
    Group4,
    Lzw,
    Jpeg,
    Deflate,
    PackBits,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Photometric {
    WhiteIsZero,
    BlackIsZero,
    Rgb,
    /// The colour map: all reds, all greens, all blues, of 16 bits.
    Palette(Vec<u64>),
    Inks,
    /// Luma and chroma, of JPEG alone.
    YCbCr,
}

/// How a picture lies in its file.
pub(super) struct Layout<'a> {
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) compression: Compression,
    pub(super) photometric: Photometric,
    pub(super) order: Order,
    /// Bits of a sample: 1, 2, 4, 8, 12 or 16.
    pub(super) bits: usize,
    /// Samples of a pixel, alpha and others included.
    pub(super) samples: usize,
    /// True where each sample has strips or tiles of its own.
    pub(super) planar: bool,
    /// True where a sample is stored as its difference to the pixel before.
    pub(super) differences: bool,
    /// True where the first bit of a byte is its lowest.
    pub(super) reversed: bool,
    /// True where colours were multiplied by the alpha that follows them.
    premultiplied: bool,
    tables: &'a [u8],
    /// Width and height of a strip or tile.
    chunk: (usize, usize),
    offsets: Vec<u64>,
    lengths: Option<Vec<u64>>,
}

/// A strip or tile.
pub(super) struct Chunk {
    pub(super) left: usize,
    pub(super) top: usize,
    /// Columns and rows of it that are part of the picture.
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Its own width and height.
    pub(super) width: usize,
    pub(super) height: usize,
    /// Which sample it holds, of planar pictures.
    pub(super) plane: usize,
    offset: usize,
    length: Option<usize>,
}

impl Chunk {
    /// Its bytes, compressed; all up to the file's end where their number is not known.
    pub(super) fn data<'a>(&self, bytes: &'a [u8]) -> Result<&'a [u8], String> {
        let rest = bytes.get(self.offset..).ok_or("the TIFF ends before its picture does: it is truncated")?;
        Ok(&rest[..self.length.unwrap_or(rest.len()).min(rest.len())])
    }
}

impl<'a> Layout<'a> {
    pub(super) fn of(directory: &Directory<'a>, bytes: &[u8]) -> Result<Self, String> {
        let number = |tag| directory.integer(tag).map(|value| usize::try_from(value).unwrap_or(usize::MAX));
        let or = |tag, default| number(tag).unwrap_or(default);
        let (width, height) = (number(WIDTH), number(HEIGHT));
        let (Some(width), Some(height)) = (width, height) else { return Err("the TIFF has no size".to_string()) };
        check_size(width, height)?;
        let compression = compression(or(COMPRESSION, 1), or(T4_OPTIONS, 0))?;
        let planar = or(PLANAR, 1) == 2;
        let bits = directory.integers(BITS).unwrap_or_else(|| vec![1]);
        let samples = or(SAMPLES, 1);
        let extra = directory.integers(EXTRA_SAMPLES).unwrap_or_default();
        let photometric = photometric(or(PHOTOMETRIC, 0), directory)?;
        let colours = match photometric {
            Photometric::Rgb | Photometric::YCbCr => 3,
            Photometric::Inks => 4,
            _ => 1,
        };
        // Beside the colours alpha, or whatever else is said to be no colour: three channels of grey are not a picture.
        let extras = samples.checked_sub(colours);
        let ignored = planar && extras == Some(extra.len()) && extra.iter().all(|&kind| kind == 0);
        if extras.is_none_or(|extras| extras > if colours == 1 { 1 } else { 3 }) && !ignored || samples > 64 {
            return Err(format!(
                "{samples} samples a pixel are not decoded where {colours} and alpha are due: {RESAVE}"
            ));
        }
        let same = bits.iter().take(samples).all(|other| Some(other) == bits.first());
        let bits = bits.first().map_or(1, |&bits| usize::try_from(bits).unwrap_or(usize::MAX));
        let formats = directory.integers(SAMPLE_FORMAT).unwrap_or_else(|| vec![1]);
        let format = formats.first().copied().unwrap_or(1);
        check_samples(&photometric, same, bits, format)?;
        if photometric == Photometric::YCbCr && compression != Compression::Jpeg {
            return Err("luma and chroma without JPEG are not decoded: save it as RGB".to_string());
        }
        if compression == Compression::Jpeg && (bits != 8 || matches!(photometric, Photometric::Palette(_))) {
            return Err(format!("JPEG of {bits} bits in a TIFF is not decoded"));
        }
        if matches!(compression, Compression::Group3 | Compression::Group4) && (bits, samples) != (1, 1) {
            return Err("a fax has one bit a pixel".to_string());
        }
        let tiled = directory.has(TILE_OFFSETS) && !directory.has(STRIP_OFFSETS);
        let (offsets, lengths, chunk) = if tiled {
            (TILE_OFFSETS, TILE_LENGTHS, (or(TILE_WIDTH, 0), or(TILE_HEIGHT, 0)))
        } else {
            (STRIP_OFFSETS, STRIP_LENGTHS, (width, or(ROWS_PER_STRIP, height).min(height)))
        };
        let predictor = or(PREDICTOR, 1);
        let packed = matches!(compression, Compression::Lzw | Compression::Deflate);
        if packed && predictor > 2 {
            return Err(format!("predictor {predictor} is not decoded"));
        }
        let layout = Self {
            width,
            height,
            compression,
            photometric,
            order: directory.order(),
            bits,
            samples,
            planar,
            differences: packed && predictor == 2,
            reversed: or(FILL_ORDER, 1) == 2,
            premultiplied: extra.first() == Some(&1),
            tables: directory.bytes(JPEG_TABLES).unwrap_or_default(),
            chunk,
            offsets: directory.integers(offsets).ok_or("the TIFF does not say where its picture lies")?,
            lengths: directory.integers(lengths).filter(|_| compression != Compression::None),
        };
        layout.check(bytes)?;
        Ok(layout)
    }

    fn check(&self, bytes: &[u8]) -> Result<(), String> {
        let (width, height) = self.chunk;
        if width == 0 || height == 0 {
            return Err("its strips or tiles have no size".to_string());
        }
        let planes = if self.planar { self.samples } else { 1 };
        let grid = self.width.div_ceil(width).checked_mul(self.height.div_ceil(height));
        if grid.and_then(|grid| grid.checked_mul(planes)).is_none_or(|count| count > self.offsets.len()) {
            return Err("strips or tiles are missing".to_string());
        }
        // Each is read once; where many of them are said to be the same large part of the file, that takes for ever.
        let total = self.lengths.iter().flatten().fold(0_u64, |sum, &length| sum.saturating_add(length));
        if total > 4 * bytes.len() as u64 + (1 << 20) {
            return Err("its strips or tiles are larger than the file".to_string());
        }
        Ok(())
    }

    /// Values kept of a pixel until it is RGB: a grey or an index, three colours, or four with alpha or of inks.
    pub(super) fn kept(&self) -> usize {
        match self.photometric {
            _ if self.compression == Compression::Jpeg && !self.planar => 3,
            Photometric::Rgb if self.premultiplied && self.samples > 3 => 4,
            Photometric::Rgb | Photometric::YCbCr => 3,
            Photometric::Inks => 4,
            _ => 1,
        }
    }

    /// The strips or tiles that hold the values kept.
    pub(super) fn chunks(&self) -> impl Iterator<Item = Chunk> {
        let (width, height) = self.chunk;
        let (across, down) = (self.width.div_ceil(width), self.height.div_ceil(height));
        let planes = if self.planar { self.kept() } else { 1 };
        (0..planes * across * down).map(move |index| {
            let (left, top) = (index % across * width, index / across % down * height);
            // As Pillow: of several that all cover the picture the last counts.
            let last = (across * down, self.planar, self.compression) == (1, false, Compression::None);
            let place = if last { self.offsets.len() - 1 } else { index };
            let number = |values: &[u64]| values.get(place).map(|&value| usize::try_from(value).unwrap_or(usize::MAX));
            Chunk {
                left,
                top,
                columns: width.min(self.width - left),
                rows: height.min(self.height - top),
                width,
                height,
                plane: index / (across * down),
                offset: number(&self.offsets).unwrap_or(usize::MAX),
                length: self.lengths.as_deref().and_then(number),
            }
        })
    }

    /// A JPEG of its own of a part, the tables that all parts share before it, and what its colours are.
    pub(super) fn jpeg_stream(&self, part: &[u8]) -> Vec<u8> {
        const START: [u8; 2] = [0xff, 0xd8];
        const END: [u8; 2] = [0xff, 0xd9];
        let transform = u8::from(self.photometric == Photometric::YCbCr);
        let tables = self.tables.strip_prefix(&START).unwrap_or_default();
        let tables = tables.strip_suffix(&END).unwrap_or(tables);
        let adobe = [&b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"[..], &[transform]].concat();
        let part = part.strip_prefix(&START).unwrap_or(part);
        [&START[..], &adobe, tables, part].concat()
    }
}

fn compression(number: usize, t4_options: usize) -> Result<Compression, String> {
    let name = match number {
        1 => return Ok(Compression::None),
        3 if t4_options & 1 == 0 => return Ok(Compression::Group3),
        4 => return Ok(Compression::Group4),
        5 => return Ok(Compression::Lzw),
        7 => return Ok(Compression::Jpeg),
        8 | 32946 => return Ok(Compression::Deflate),
        32773 => return Ok(Compression::PackBits),
        2 => "fax codes without line ends",
        3 => "two-dimensional fax codes",
        6 => "JPEG of the old kind",
        34712 => "JPEG 2000",
        34892 | 34887 => "LERC or lossy JPEG",
        34925 => "LZMA",
        50000 => "Zstandard",
        50001 => "WebP",
        50002 => "JPEG XL",
        _ => return Err(format!("compression {number} of TIFF is not decoded: {RESAVE}")),
    };
    Err(format!("{name} in a TIFF is not decoded: {RESAVE}"))
}

const RESAVE: &str = "save it as PNG, e.g. `magick in.tif out.png`";

fn photometric(number: usize, directory: &Directory) -> Result<Photometric, String> {
    match number {
        0 => Ok(Photometric::WhiteIsZero),
        1 => Ok(Photometric::BlackIsZero),
        2 => Ok(Photometric::Rgb),
        3 => {
            let colours = directory.integers(COLOUR_MAP).ok_or("the colour map is missing")?;
            Ok(Photometric::Palette(colours))
        }
        5 => Ok(Photometric::Inks),
        6 => Ok(Photometric::YCbCr),
        8..=10 => Err(format!("Lab colours are not decoded: {RESAVE}")),
        32803 | 34892 => Err("camera raw is not decoded: develop it to JPEG".to_string()),
        other => Err(format!("photometric interpretation {other} of TIFF is not decoded: {RESAVE}")),
    }
}

fn check_samples(photometric: &Photometric, same: bool, bits: usize, format: u64) -> Result<(), String> {
    let grey = matches!(photometric, Photometric::WhiteIsZero | Photometric::BlackIsZero);
    let allowed = match bits {
        1 | 2 | 4 => grey || matches!(photometric, Photometric::Palette(_)),
        8 => true,
        12 => grey,
        16 => !matches!(photometric, Photometric::Palette(_)),
        _ => false,
    };
    let kind = match format {
        1 => "whole",
        2 if bits == 8 => "whole",
        2 => "signed",
        3 => "floating-point",
        _ => "unknown",
    };
    if !allowed || !same || kind != "whole" {
        // Floats, and whole numbers of 32 bits, have no range that is black to white.
        return Err(format!(
            "{kind} samples of {bits} bits are not decoded: save it with 8 or 16 bits, e.g. \
             `magick in.tif -auto-level -depth 8 out.png`"
        ));
    }
    Ok(())
}
