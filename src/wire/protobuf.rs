//! Protocol Buffers without a schema: reads the fields of one message in place, and writes messages. Reading copies and
//! allocates nothing.
//!
//! Written by hand: the messages have a dozen flat fields, all of them borrowed texts and integers. The structs that
//! the usual crates generate own a `String` for each text.

/// Not a message, or a message that ends inside a field. The sender's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProtobufError;

/// Value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field<'a> {
    /// An integer (`int32`, `int64`, `bool`, enumerations). Negative values are two's complement in 64 bits.
    Varint(u64),
    /// Text, bytes or an embedded message.
    Bytes(&'a [u8]),
    /// Eight bytes (`fixed64`, `double`).
    Fixed64(u64),
    /// Four bytes (`fixed32`, `float`).
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// The bytes of a text or an embedded message.
    ///
    /// # Errors
    /// [`ProtobufError`] if the field has another type.
    pub const fn bytes(self) -> Result<&'a [u8], ProtobufError> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            _ => Err(ProtobufError),
        }
    }

    /// The value of an integer.
    ///
    /// # Errors
    /// [`ProtobufError`] if the field has another type.
    pub const fn integer(self) -> Result<u64, ProtobufError> {
        match self {
            Self::Varint(number) => Ok(number),
            _ => Err(ProtobufError),
        }
    }
}

/// The fields of a message in wire order. Iteration ends at the first error.
#[derive(Clone, Copy, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The fields of the message in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    #[inline(always)]
    fn varint(&mut self) -> Result<u64, ProtobufError> {
        let mut number = 0u64;
        for at in 0..10 {
            let byte = *self.rest.get(at).ok_or(ProtobufError)?;
            // The tenth byte has room for one bit.
            if at == 9 && byte > 1 {
                return Err(ProtobufError);
            }
            number |= u64::from(byte & 0x7f) << (7 * at);
            if byte < 0x80 {
                self.rest = &self.rest[at + 1..];
                return Ok(number);
            }
        }
        Err(ProtobufError)
    }

    #[inline(always)]
    fn take(&mut self, length: u64) -> Result<&'a [u8], ProtobufError> {
        let length = usize::try_from(length).map_err(|_| ProtobufError)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(ProtobufError)?;
        self.rest = rest;
        Ok(taken)
    }

    #[inline(always)]
    fn field(&mut self) -> Result<(u32, Field<'a>), ProtobufError> {
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|n| (1..=NUMBER_MAX).contains(n)).ok_or(ProtobufError)?;
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => Field::Fixed64(u64::from_le_bytes(*self.take(8)?.first_chunk().ok_or(ProtobufError)?)),
            2 => {
                let length = self.varint()?;
                Field::Bytes(self.take(length)?)
            }
            5 => Field::Fixed32(u32::from_le_bytes(*self.take(4)?.first_chunk().ok_or(ProtobufError)?)),
            // Types 3 and 4 are groups, which proto3 does not have.
            _ => return Err(ProtobufError),
        };
        Ok((number, field))
    }
}

/// The highest field number that the format allows.
const NUMBER_MAX: u32 = (1 << 29) - 1;

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u32, Field<'a>), ProtobufError>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

/// A message being written. As in proto3, empty texts and zero integers are omitted.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Adds a text.
    #[must_use]
    pub fn text(self, number: u32, text: &str) -> Self {
        if text.is_empty() { self } else { self.bytes(number, text.as_bytes()) }
    }

    /// Adds an integer.
    #[must_use]
    pub fn integer(mut self, number: u32, value: u64) -> Self {
        if value != 0 {
            self.varint(u64::from(number) << 3);
            self.varint(value);
        }
        self
    }

    /// Adds an embedded message, even an empty one.
    #[must_use]
    pub fn message(self, number: u32, message: Self) -> Self {
        self.bytes(number, &message.0)
    }

    /// The encoded message.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Adds bytes, even an empty slice.
    #[must_use]
    pub fn bytes(mut self, number: u32, bytes: &[u8]) -> Self {
        self.varint(u64::from(number) << 3 | 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
        self
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fields(bytes: &[u8]) -> Vec<Result<(u32, Field<'_>), ProtobufError>> {
        Fields::new(bytes).collect()
    }

    /// The examples of <https://protobuf.dev/programming-guides/encoding/>, read 2026-11-21.
    #[test]
    fn the_examples_of_the_encoding_guide_are_read() {
        assert_eq!(fields(&[0x08, 0x96, 0x01]), [Ok((1, Field::Varint(150)))]);
        assert_eq!(fields(b"\x12\x07testing"), [Ok((2, Field::Bytes(b"testing")))]);
        assert_eq!(fields(&[0x1a, 0x03, 0x08, 0x96, 0x01]), [Ok((3, Field::Bytes(&[0x08, 0x96, 0x01])))]);
        let minus_two = [0x08, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        assert_eq!(fields(&minus_two), [Ok((1, Field::Varint(u64::MAX - 1)))]);
        assert_eq!(fields(&[0x0d, 1, 0, 0, 0]), [Ok((1, Field::Fixed32(1)))]);
        assert_eq!(fields(&[0x09, 1, 0, 0, 0, 0, 0, 0, 0]), [Ok((1, Field::Fixed64(1)))]);
    }

    #[test]
    fn what_is_no_message_is_an_error_and_the_end() {
        let broken: [&[u8]; 8] = [
            &[0x08],
            &[0x08, 0x80],
            &[0x12, 0x07, b't'],
            &[0x0b],
            &[0x07, 0x00],
            &[0x00, 0x00],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ];
        for bytes in broken {
            assert_eq!(fields(bytes), [Err(ProtobufError)], "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(numbers in proptest::collection::vec((1..=NUMBER_MAX, any::<u64>(), "[a-z]{1,300}"), 0..10)) {
            let mut writer = Writer::default();
            for (number, value, text) in &numbers {
                writer = writer.integer(*number, value | 1).text(*number, text);
                writer = writer.message(*number, Writer::default().text(1, text));
            }
            let bytes = writer.finish();
            let mut read = Fields::new(&bytes);
            for (number, value, text) in &numbers {
                prop_assert_eq!(read.next(), Some(Ok((*number, Field::Varint(value | 1)))));
                prop_assert_eq!(read.next(), Some(Ok((*number, Field::Bytes(text.as_bytes())))));
                let inner = read.next().unwrap().unwrap().1.bytes().unwrap();
                prop_assert_eq!(Fields::new(inner).next(), Some(Ok((1, Field::Bytes(text.as_bytes())))));
            }
            prop_assert_eq!(read.next(), None);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(fields(&bytes).len() <= bytes.len());
        }
    }
}
