//! Decompresses and compresses single gzip messages (RFC 1952), with a size limit. Bytes in, bytes out, on the thread of
//! the connection. Buffers are reused: a message no larger than the largest before it causes no allocation.

use flate2::{Compress, Compression, Crc, Decompress, FlushCompress, FlushDecompress, Status};

/// Not exactly one valid gzip member, or one larger than the limit. The sender's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GzipError;

/// The first two bytes of every gzip message; no JSON text begins with them.
pub const MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Initial capacity of the output buffer, in bytes.
const OUTPUT_FIRST: usize = 4096;
/// Lengths of the fixed part of the header, and of the trailer (CRC-32 and size).
const HEADER: usize = 10;
const TRAILER: usize = 8;

/// Decompresses messages one at a time.
pub struct Gunzip {
    deflate: Decompress,
    output: Vec<u8>,
    output_max: usize,
}

impl Gunzip {
    /// Rejects messages that decompress to more than `output_max` bytes.
    #[must_use]
    pub fn new(output_max: usize) -> Self {
        Self { deflate: Decompress::new(false), output: Vec::with_capacity(OUTPUT_FIRST.min(output_max)), output_max }
    }

    /// Decompresses `message`: exactly one gzip member with a correct CRC and length, and nothing after it.
    ///
    /// # Errors
    /// [`GzipError`] for everything else. Decompression stops as soon as the limit is exceeded.
    pub fn unpack(&mut self, message: &[u8]) -> Result<&[u8], GzipError> {
        let rest = message.get(header_length(message).ok_or(GzipError)?..).ok_or(GzipError)?;
        loop {
            self.deflate.reset(false);
            self.output.clear();
            // One call for the whole input avoids a copy through a window. If the buffer is too small, repeat with a
            // larger one.
            let status = self.deflate.decompress_vec(rest, &mut self.output, FlushDecompress::Finish);
            match status.map_err(|_| GzipError)? {
                Status::StreamEnd => break,
                // The buffer has space left, so the input is truncated.
                _ if self.output.len() < self.output.capacity() => return Err(GzipError),
                _ => self.grow()?,
            }
        }
        let trailer = &rest[self.deflate.total_in() as usize..];
        let [a, b, c, d, e, f, g, h]: [u8; TRAILER] = trailer.try_into().map_err(|_| GzipError)?;
        let mut crc = Crc::new();
        crc.update(&self.output);
        let is_right = u32::from_le_bytes([a, b, c, d]) == crc.sum()
            && u32::from_le_bytes([e, f, g, h]) == self.output.len() as u32
            && self.output.len() <= self.output_max;
        if is_right { Ok(&self.output) } else { Err(GzipError) }
    }

    /// Quadruples the buffer, up to the limit.
    fn grow(&mut self) -> Result<(), GzipError> {
        let length = self.output.len();
        if length > self.output_max {
            return Err(GzipError);
        }
        // One byte above the limit: the end of a message of exactly the limit is reported only with a byte to spare.
        self.output.clear();
        self.output.reserve_exact((4 * length).clamp(1, self.output_max + 1));
        Ok(())
    }
}

/// Length of the header with its optional parts; `None` if it is not a gzip header, or is truncated.
fn header_length(message: &[u8]) -> Option<usize> {
    let fixed = message.first_chunk::<HEADER>()?;
    let flags = fixed[3];
    if !fixed.starts_with(&MAGIC) || fixed[2] != DEFLATE || flags & RESERVED != 0 {
        return None;
    }
    let mut length = HEADER;
    if flags & EXTRA != 0 {
        let extra = message.get(length..)?.first_chunk::<2>()?;
        length += 2 + usize::from(u16::from_le_bytes(*extra));
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            length += message.get(length..)?.iter().position(|&byte| byte == 0)? + 1;
        }
    }
    Some(length + if flags & HEADER_CRC != 0 { 2 } else { 0 })
}

/// Deflate, the only compression method that is defined.
const DEFLATE: u8 = 8;
/// Header flags: which optional parts follow.
const HEADER_CRC: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// Compresses messages one at a time, as a server does.
pub struct Gzip {
    deflate: Compress,
}

impl Default for Gzip {
    fn default() -> Self {
        Self { deflate: Compress::new(Compression::fast(), false) }
    }
}

impl Gzip {
    /// Compresses `message` to one gzip member.
    #[must_use]
    pub fn pack(&mut self, message: &[u8]) -> Vec<u8> {
        let mut packed = Vec::with_capacity(HEADER + message.len() + message.len() / 8 + 64 + TRAILER);
        packed.extend_from_slice(&[MAGIC[0], MAGIC[1], DEFLATE, 0, 0, 0, 0, 0, 0, 0xff]);
        self.deflate.reset();
        loop {
            let taken = self.deflate.total_in() as usize;
            let status = self.deflate.compress_vec(&message[taken..], &mut packed, FlushCompress::Finish);
            match status {
                // The output buffer was too small.
                Ok(Status::Ok | Status::BufError) => packed.reserve(message.len().max(64)),
                Ok(Status::StreamEnd) | Err(_) => break,
            }
        }
        let mut crc = Crc::new();
        crc.update(message);
        packed.extend_from_slice(&crc.sum().to_le_bytes());
        packed.extend_from_slice(&(message.len() as u32).to_le_bytes());
        packed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::GzBuilder;
    use proptest::prelude::*;
    use std::io::Write as _;

    fn pack(message: &[u8]) -> Vec<u8> {
        Gzip::default().pack(message)
    }

    #[test]
    fn every_part_that_a_header_may_have_is_stepped_over() {
        let builder = || GzBuilder::new().filename("name").comment("a comment").extra(vec![1, 2, 3]).mtime(7);
        let mut packer = builder().write(Vec::new(), Compression::best());
        packer.write_all(b"hello").unwrap();
        assert_eq!(Gunzip::new(100).unpack(&packer.finish().unwrap()), Ok(&b"hello"[..]));
    }

    #[test]
    fn a_bomb_is_refused_when_it_passes_the_bound() {
        let bomb = pack(&vec![0; 64 << 20]);
        assert!(bomb.len() < 1 << 20);
        let mut gunzip = Gunzip::new(1 << 20);
        assert_eq!(gunzip.unpack(&bomb), Err(GzipError));
        assert!(gunzip.output.capacity() <= (1 << 20) + 1);
        assert_eq!(gunzip.unpack(&pack(b"small")), Ok(&b"small"[..]));
        let exact = vec![7; 1 << 20];
        assert_eq!(gunzip.unpack(&pack(&exact)), Ok(&exact[..]));
        assert_eq!(gunzip.unpack(&pack(&vec![7; (1 << 20) + 1])), Err(GzipError));
    }

    #[test]
    fn damage_and_garbage_behind_are_refused() {
        let packed = pack(br#"{"ping":1786563031344}"#);
        let mut gunzip = Gunzip::new(1000);
        for cut in 0..packed.len() {
            assert_eq!(gunzip.unpack(&packed[..cut]), Err(GzipError), "{cut}");
        }
        assert_eq!(gunzip.unpack(&[&packed[..], b"x"].concat()), Err(GzipError));
        for at in packed.len() - TRAILER..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 1;
            assert_eq!(gunzip.unpack(&damaged), Err(GzipError), "{at}");
        }
        assert_eq!(gunzip.unpack(&packed), Ok(&br#"{"ping":1786563031344}"#[..]));
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..20_000), 1..4)) {
            let (mut gzip, mut gunzip) = (Gzip::default(), Gunzip::new(20_000));
            for text in texts {
                let packed = gzip.pack(&text);
                prop_assert_eq!(gunzip.unpack(&packed), Ok(&text[..]));
                let mut theirs = Vec::new();
                std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(&packed[..]), &mut theirs).unwrap();
                prop_assert_eq!(theirs, text);
            }
        }

        #[test]
        fn any_bytes_are_unpacked_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Gunzip::new(1000).unpack(&bytes);
            bytes.splice(0..0, [MAGIC[0], MAGIC[1], DEFLATE, 0, 0, 0, 0, 0, 0, 0]);
            let _ = Gunzip::new(1000).unpack(&bytes);
        }
    }
}
