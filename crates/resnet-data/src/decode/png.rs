//! PNG: the chunks are read here, the picture's data go to `png`.
//!
//! So checks, damaged ends and palettes are treated as Pillow treats them, and `png` is never given text, colour profiles
//! or palettes, whose readers allocate what a file asks for, or panic.

use std::borrow::Cow;
use std::io::{Cursor, Read};

use flate2::bufread::ZlibDecoder;
use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::check_size;
use super::colour::{palette, rounded, unpack};
use super::orientation::Orientation;
use crate::Image;

const SIGNATURE: &[u8; 8] = b"\x89PNG\r\n\x1a\n";
const CUT: &str = "the PNG ends before its picture does: it is truncated";
/// Most bytes of a text that is unpacked, as in Pillow.
const MOST_TEXT: u64 = 1 << 20;

/// The header's numbers.
struct Header {
    width: usize,
    height: usize,
    depth: u8,
    colour: u8,
    interlaced: bool,
}

/// What the chunks hold.
#[derive(Default)]
struct Chunks<'a> {
    header: Option<&'a [u8]>,
    palette: Option<&'a [u8]>,
    data: Vec<&'a [u8]>,
    exif: Option<Cow<'a, [u8]>>,
    xmp: Option<Cow<'a, [u8]>>,
    /// EXIF data as text of hexadecimal digits, as ImageMagick writes them.
    profile: Option<Vec<u8>>,
}

/// The picture as it is stored and how it is to be turned, or what is wrong with it. Of an APNG the default picture.
pub(super) fn decode(bytes: &[u8]) -> Result<(Image, Orientation), String> {
    let chunks = Chunks::read(bytes)?;
    let header = Header::read(chunks.header.ok_or("the header is missing")?)?;
    if chunks.data.is_empty() {
        return Err(CUT.to_string());
    }
    let exif = chunks.exif.as_deref().or(chunks.profile.as_deref());
    let orientation = Orientation::find(exif, chunks.xmp.as_deref());
    Ok((header.picture(&chunks)?, orientation))
}

impl<'a> Chunks<'a> {
    /// Reads chunk after chunk; once there are data, the file may end or break off anywhere.
    fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut chunks = Self::default();
        let mut rest = &bytes[SIGNATURE.len()..];
        while let Some((&head, behind)) = rest.split_first_chunk::<8>() {
            let [a, b, c, d, kind @ ..] = head;
            let length = u32::from_be_bytes([a, b, c, d]) as usize;
            let complete = behind.len() >= length;
            let (content, end) = behind.split_at(length.min(behind.len()));
            if !kind.iter().all(u8::is_ascii_alphabetic) {
                break;
            }
            let whole = || {
                let mut crc = Crc::new();
                crc.update(&kind);
                crc.update(content);
                end.first_chunk() == Some(&crc.sum().to_be_bytes())
            };
            match &kind {
                b"IHDR" | b"PLTE" if !whole() => {
                    return Err(format!("the checksum of {} is wrong", String::from_utf8_lossy(&kind)));
                }
                b"IHDR" => chunks.header = chunks.header.or(Some(content)),
                b"PLTE" if chunks.data.is_empty() => chunks.palette = Some(content),
                b"IDAT" => chunks.data.push(content),
                b"eXIf" if complete => chunks.exif = Some(content.into()),
                b"tEXt" | b"zTXt" | b"iTXt" if complete => chunks.text(kind, content),
                b"IEND" => break,
                _ => {}
            }
            rest = end.get(4..).unwrap_or_default();
        }
        Ok(chunks)
    }

    /// Takes EXIF and XMP data out of a text.
    fn text(&mut self, kind: [u8; 4], content: &'a [u8]) {
        let mut parts = content.splitn(2, |&byte| byte == 0);
        let (Some(key), Some(value)) = (parts.next(), parts.next()) else { return };
        let profile = match key {
            b"Raw profile type exif" => true,
            b"XML:com.adobe.xmp" => false,
            _ => return,
        };
        let value = match (&kind, value) {
            (b"tEXt", text) => Cow::Borrowed(text),
            (b"zTXt", [0, packed @ ..]) => inflated(packed).into(),
            (b"iTXt", [flag, _, rest @ ..]) => {
                // A language and the key in it come first.
                let Some(text) = rest.splitn(3, |&byte| byte == 0).nth(2) else { return };
                if *flag == 0 { Cow::Borrowed(text) } else { inflated(text).into() }
            }
            _ => return,
        };
        if profile {
            // A line feed, the profile's name, its length, then digits.
            let lines = value.splitn(4, |&byte| byte == b'\n');
            self.profile = lines.last().map(hexadecimal);
        } else {
            self.xmp = Some(value);
        }
    }
}

fn inflated(packed: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    // What is damaged gives what came before, which turns nothing at worst.
    _ = ZlibDecoder::new(packed).take(MOST_TEXT).read_to_end(&mut text);
    text
}

/// The bytes of hexadecimal digits; white space is passed over.
fn hexadecimal(text: &[u8]) -> Vec<u8> {
    let mut digits = text.iter().filter_map(|&byte| char::from(byte).to_digit(16));
    std::iter::from_fn(|| Some((digits.next()? << 4 | digits.next()?) as u8)).collect()
}

impl Header {
    fn read(content: &[u8]) -> Result<Self, String> {
        let Some(&[a, b, c, d, e, f, g, h, depth, colour, compression, filter, interlace]) =
            content.first_chunk::<13>()
        else {
            return Err("the header is cut".to_string());
        };
        let (width, height) = (u32::from_be_bytes([a, b, c, d]) as usize, u32::from_be_bytes([e, f, g, h]) as usize);
        check_size(width, height)?;
        let known = match colour {
            0 => matches!(depth, 1 | 2 | 4 | 8 | 16),
            3 => matches!(depth, 1 | 2 | 4 | 8),
            2 | 4 | 6 => matches!(depth, 8 | 16),
            _ => false,
        };
        if !known || compression != 0 || filter != 0 || interlace > 1 {
            return Err(format!(
                "no PNG has colour type {colour} with {depth} bits, compression {compression}, filter {filter}, interlacing \
                 {interlace}"
            ));
        }
        Ok(Self { width, height, depth, colour, interlaced: interlace == 1 })
    }

    fn picture(&self, chunks: &Chunks) -> Result<Image, String> {
        let mut colours = [[0; 3]; 256];
        if self.colour == 3 {
            colours = palette(chunks.palette.unwrap_or_default().as_chunks::<3>().0.iter().copied());
        }
        if matches!((self.colour, self.depth), (0, 1..=8)) {
            let scale = 255 / ((1_u16 << self.depth) - 1);
            colours = std::array::from_fn(|value| [(value as u16 * scale) as u8; 3]);
        }
        let mut pixels = vec![0; self.width * self.height * 3];
        let mut values = Vec::new();
        let stream = self.stream(&chunks.data);
        let mut decoder = png::Decoder::new(Cursor::new(stream));
        decoder.set_transformations(png::Transformations::IDENTITY);
        // Of the chunks' sums, which Pillow does not look at; the one within the data counts.
        decoder.ignore_checksums(true);
        let mut reader = decoder.read_info().map_err(|error| error.to_string())?;
        for &(left, right, top, down) in self.passes() {
            let (columns, rows) = (across(self.width, left, right), across(self.height, top, down));
            if columns == 0 {
                continue;
            }
            for row in 0..rows {
                match reader.next_row() {
                    Ok(Some(line)) => {
                        let start = (top + row * down) * self.width;
                        let line_of = &mut pixels[start * 3..(start + self.width) * 3];
                        self.put(line.data(), &colours, &mut values, &mut line_of[left * 3..], right);
                    }
                    Ok(None) => return Err(CUT.to_string()),
                    Err(error) => {
                        let error = explain(&error.to_string());
                        // As Pillow: data that end as they should, but early, leave the rest black.
                        return if error == CUT && ends(&chunks.data) { Ok(self.image(pixels)) } else { Err(error) };
                    }
                }
            }
        }
        Ok(self.image(pixels))
    }

    fn image(&self, pixels: Vec<u8>) -> Image {
        Image { height: self.height, width: self.width, pixels }
    }

    /// Writes a row's pixels into every `step`-th pixel of a line.
    fn put(&self, row: &[u8], colours: &[[u8; 3]; 256], values: &mut Vec<u8>, line: &mut [u8], step: usize) {
        let (line, _) = line.as_chunks_mut::<3>();
        let line = line.iter_mut().step_by(step);
        match (self.colour, self.depth) {
            (0, 16) => line.zip(row.as_chunks().0).for_each(|(to, &pair)| *to = [rounded(u16::from_be_bytes(pair)); 3]),
            // Greys have a palette too, of all values from black to white.
            (0 | 3, depth) => {
                values.clear();
                unpack(row, depth.into(), values);
                line.zip(values).for_each(|(to, index)| *to = colours[usize::from(*index)]);
            }
            // Colours of 16 bits lose the lower ones, in Pillow too.
            (2, 8) => line.zip(row.as_chunks::<3>().0).for_each(|(to, &colour)| *to = colour),
            (2, _) => line.zip(row.as_chunks::<6>().0).for_each(|(to, &[r, _, g, _, b, _])| *to = [r, g, b]),
            (4, 8) => line.zip(row.as_chunks::<2>().0).for_each(|(to, &[value, _])| *to = [value; 3]),
            (4, _) => line.zip(row.as_chunks::<4>().0).for_each(|(to, &[value, ..])| *to = [value; 3]),
            (_, 8) => line.zip(row.as_chunks::<4>().0).for_each(|(to, &[r, g, b, _])| *to = [r, g, b]),
            (_, _) => line.zip(row.as_chunks::<8>().0).for_each(|(to, &[r, _, g, _, b, ..])| *to = [r, g, b]),
        }
    }

    /// First column, step between columns, first row and step between rows of each pass over the picture.
    fn passes(&self) -> &'static [(usize, usize, usize, usize)] {
        const ADAM7: [(usize, usize, usize, usize); 7] =
            [(0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2), (0, 1, 1, 2)];
        if self.interlaced { &ADAM7 } else { &[(0, 1, 0, 1)] }
    }

    /// A PNG of the header and the data alone; a palette's indices are grey in it.
    fn stream(&self, data: &[&[u8]]) -> Vec<u8> {
        let mut stream = SIGNATURE.to_vec();
        let mut chunk = |kind: &[u8; 4], parts: &[&[u8]]| {
            stream.extend((parts.iter().map(|part| part.len()).sum::<usize>() as u32).to_be_bytes());
            stream.extend(kind);
            parts.iter().for_each(|part| stream.extend(*part));
            stream.extend([0; 4]);
        };
        let colour = if self.colour == 3 { 0 } else { self.colour };
        let (width, height) = ((self.width as u32).to_be_bytes(), (self.height as u32).to_be_bytes());
        chunk(b"IHDR", &[&width, &height, &[self.depth, colour, 0, 0, self.interlaced.into()]]);
        for part in data {
            chunk(b"IDAT", &[part]);
        }
        chunk(b"IEND", &[]);
        stream
    }
}

/// How many of `length` places lie on `first` and every `step`-th after it.
fn across(length: usize, first: usize, step: usize) -> usize {
    length.saturating_sub(first).div_ceil(step)
}

/// True where the compressed data are whole, whatever they hold.
fn ends(data: &[&[u8]]) -> bool {
    let mut inflate = Decompress::new(true);
    let mut out = vec![0; 1 << 16];
    for &part in data {
        let mut rest = part;
        loop {
            let before = (inflate.total_in(), inflate.total_out());
            match inflate.decompress(rest, &mut out, FlushDecompress::None) {
                Ok(Status::StreamEnd) => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
            rest = &rest[(inflate.total_in() - before.0) as usize..];
            if before == (inflate.total_in(), inflate.total_out()) {
                break;
            }
        }
    }
    false
}

/// What `png` says, in words for those who have the file.
fn explain(message: &str) -> String {
    let cut = ["IDAT", "InsufficientInput", "nexpected", "missing"].iter().any(|part| message.contains(part));
    if cut {
        CUT.to_string()
    } else if message.contains("deflate") {
        "the picture's data are damaged".to_string()
    } else {
        message.trim_end_matches('.').to_string()
    }
}
