//! Reads JSON from venues and clients, in two ways.
//!
//! [`Parser`] parses any frame with simd-json into reused buffers. Numbers are returned as text, so that prices never
//! pass through a float and ids above 2^53 stay exact.
//!
//! [`Scan`] reads a frame of one fixed shape with a cursor, several times faster. It returns `None` for any other
//! shape, and the caller then uses [`Parser`].

use simd_json::prelude::*;
use simd_json::{Buffers, Tape, tape};

use crate::market::Decimal;

/// The deepest nesting that a frame may have.
pub(crate) const DEPTH_MAX: usize = 64;

/// Not JSON, or nested deeper than [`DEPTH_MAX`]. The sender's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonError;

/// A JSON parser that reuses its buffers. It allocates only for a frame larger than all before.
pub struct Parser {
    text: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl Default for Parser {
    fn default() -> Self {
        Self {
            text: Vec::with_capacity(1024),
            buffers: Buffers::with_max_depth(1024, DEPTH_MAX),
            tape: Some(Tape::null()),
        }
    }
}

impl Parser {
    /// Parses `frame` and passes its root to `read`. Bare numbers appear as text values.
    ///
    /// # Errors
    /// [`JsonError`] when the frame is not one JSON value.
    pub fn parse<R>(&mut self, frame: &[u8], read: impl FnOnce(Value<'_>) -> R) -> Result<R, JsonError> {
        quote_numbers(frame, &mut self.text);
        let mut tape: Tape<'_> = self.tape.take().unwrap_or_else(Tape::null).reset();
        let result = match simd_json::fill_tape(&mut self.text, &mut self.buffers, &mut tape) {
            Ok(()) => Ok(read(Value(tape.as_value()))),
            Err(_) => Err(JsonError),
        };
        self.tape = Some(tape.reset());
        result
    }
}

/// Copies `frame` to `out` with every bare number in quotes. A malformed number stays malformed and fails when it is
/// read as a number; strings are copied unchanged.
fn quote_numbers(frame: &[u8], out: &mut Vec<u8>) {
    out.clear();
    out.reserve(frame.len() + frame.len() / 4);
    let mut rest = frame;
    while let Some(at) = rest.iter().position(|b| matches!(b, b'"' | b'-' | b'0'..=b'9')) {
        out.extend_from_slice(&rest[..at]);
        rest = &rest[at..];
        let length = if rest[0] == b'"' {
            out.extend_from_slice(&rest[..string_length(rest)]);
            string_length(rest)
        } else {
            let length = rest
                .iter()
                .position(|b| !matches!(b, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9'))
                .unwrap_or(rest.len());
            out.push(b'"');
            out.extend_from_slice(&rest[..length]);
            out.push(b'"');
            length
        };
        rest = &rest[length..];
    }
    out.extend_from_slice(rest);
}

/// Length of the string literal at the start of `text`, both quotes included.
fn string_length(text: &[u8]) -> usize {
    let mut at = 1;
    while at < text.len() {
        match text[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// A parsed JSON value.
#[derive(Clone, Copy)]
pub struct Value<'a>(tape::Value<'a, 'a>);

impl<'a> Value<'a> {
    /// The member named `key`, if this is an object that has it.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Value<'a>> {
        self.0.as_object()?.get(key).map(Value)
    }

    /// The text of a string, or of a number as it was written.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        self.0.into_string()
    }

    /// The text of the member named `key`.
    #[must_use]
    pub(crate) fn text_of(&self, key: &str) -> Option<&'a str> {
        self.get(key)?.text()
    }

    /// The value as an exact decimal.
    #[must_use]
    pub fn decimal(&self) -> Option<Decimal> {
        Decimal::parse(self.text()?.as_bytes()).ok()
    }

    /// The value as a whole number.
    #[must_use]
    pub fn integer(&self) -> Option<u64> {
        self.text()?.parse().ok()
    }

    /// The value as a float: for display figures only.
    #[must_use]
    pub(crate) fn float(&self) -> Option<f64> {
        self.text()?.parse().ok().filter(|n: &f64| n.is_finite())
    }

    /// `true` or `false`.
    #[must_use]
    pub(crate) fn boolean(&self) -> Option<bool> {
        self.0.as_bool()
    }

    /// Whether this is an array.
    #[must_use]
    pub fn is_array(&self) -> bool {
        self.0.is_array()
    }

    /// Whether this is an object.
    #[must_use]
    pub(crate) fn is_object(&self) -> bool {
        self.0.is_object()
    }

    /// Whether this is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.0.is_null()
    }

    /// The elements, if this is an array; nothing otherwise.
    pub(crate) fn items(&self) -> impl Iterator<Item = Value<'a>> + use<'a> {
        let array = self.0.as_array();
        let length = array.as_ref().map_or(0, |a| a.len());
        let mut walk = array.map(|a| a.iter());
        (0..length).map_while(move |_| walk.as_mut()?.next().map(Value))
    }

    /// Names and values of the members, if this is an object; nothing otherwise.
    pub fn members(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> + use<'a> {
        let object = self.0.as_object();
        let length = object.as_ref().map_or(0, |o| o.len());
        let mut walk = object.map(|o| o.iter());
        (0..length).map_while(move |_| walk.as_mut()?.next().map(|(name, value)| (name, Value(value))))
    }

    /// The element at `index`, if this is an array that long.
    #[must_use]
    pub fn at(&self, index: usize) -> Option<Value<'a>> {
        self.0.as_array()?.get(index).map(Value)
    }

    /// Number of elements, if this is an array; 0 otherwise.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.as_array().map_or(0, |array| array.len())
    }

    /// Whether this has no elements.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A cursor over a frame of known shape. Each step advances the cursor or returns `None`.
#[derive(Clone, Copy)]
pub(crate) struct Scan<'a> {
    rest: &'a [u8],
}

impl<'a> Scan<'a> {
    /// A cursor at the start of `frame`.
    #[must_use]
    pub const fn new(frame: &'a [u8]) -> Self {
        Self { rest: frame }
    }

    /// Skips exactly `text`.
    #[inline(always)]
    pub(crate) fn literal<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, rest)) if head == text => {
                self.rest = rest;
                Some(())
            }
            _ => None,
        }
    }

    /// The text up to the next quote; skips the quote. Returns `None` at an escape, a control character or a byte that
    /// is not ASCII.
    #[inline(always)]
    pub(crate) fn string(&mut self) -> Option<&'a [u8]> {
        let at = plain_length(self.rest)?;
        if self.rest[at] != b'"' {
            return None;
        }
        let text = &self.rest[..at];
        self.rest = &self.rest[at + 1..];
        Some(text)
    }

    /// A plain decimal (`digits[.digits]`, at most 19 digits); skips the quote after it.
    #[inline(always)]
    pub(crate) fn quoted_decimal(&mut self) -> Option<Decimal> {
        let number = self.decimal()?;
        self.literal(b"\"")?;
        Some(number)
    }

    /// A plain decimal (`digits[.digits]`, at most 19 digits). Stops at the first byte after it.
    #[inline(always)]
    pub fn decimal(&mut self) -> Option<Decimal> {
        let mut mantissa = 0u64;
        let mut at = 0;
        let mut point = usize::MAX;
        loop {
            let byte = *self.rest.get(at)?;
            let digit = byte.wrapping_sub(b'0');
            if digit <= 9 {
                mantissa = mantissa.wrapping_mul(10).wrapping_add(u64::from(digit));
            } else if byte == b'.' && point == usize::MAX && at > 0 {
                point = at;
            } else {
                break;
            }
            at += 1;
        }
        // An exponent or a longer number is left to the parser. 19 digits always fit a u64.
        let digits = at - usize::from(point != usize::MAX);
        if digits == 0 || digits > 19 || point == at - 1 || matches!(self.rest[at], b'e' | b'E') {
            return None;
        }
        self.rest = &self.rest[at..];
        let scale = if point == usize::MAX { 0 } else { at - point - 1 };
        Some(Decimal::new(mantissa, scale as u8))
    }

    /// A decimal with or without exponent. Stops at the first byte after it.
    #[inline(always)]
    pub(crate) fn any_decimal(&mut self) -> Option<Decimal> {
        match self.decimal() {
            Some(plain) => Some(plain),
            None => Decimal::parse(self.number()?).ok(),
        }
    }

    /// A whole number of at most 19 digits. Stops at the first byte after it.
    #[inline(always)]
    pub fn integer(&mut self) -> Option<u64> {
        let mut number = 0u64;
        let mut at = 0;
        while let Some(digit) = self.rest.get(at).map(|b| b.wrapping_sub(b'0')).filter(|d| *d <= 9) {
            number = number.wrapping_mul(10).wrapping_add(u64::from(digit));
            at += 1;
        }
        if at == 0 || at > 19 {
            return None;
        }
        self.rest = &self.rest[at..];
        Some(number)
    }

    /// The text of a bare number, including sign and exponent. Stops at the first byte after it.
    #[inline(always)]
    pub fn number(&mut self) -> Option<&'a [u8]> {
        let at = self.rest.iter().position(|b| !matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))?;
        let (number, rest) = self.rest.split_at(at);
        self.rest = rest;
        matches!(number.first(), Some(b'-' | b'0'..=b'9')).then_some(number)
    }

    /// Whether the next byte is `byte`. Does not advance.
    #[inline(always)]
    #[must_use]
    pub(crate) fn next_is(&self, byte: u8) -> bool {
        self.rest.first() == Some(&byte)
    }

    /// Succeeds at the end of the frame.
    #[inline(always)]
    pub fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// Index of the first quote, backslash, control character or byte above ASCII. Compares eight bytes at a time.
#[inline(always)]
fn plain_length(text: &[u8]) -> Option<usize> {
    const EACH: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = EACH * 0x80;
    let mut at = 0;
    while let Some(eight) = text.get(at..at + 8).and_then(|eight| <[u8; 8]>::try_from(eight).ok()) {
        let word = u64::from_le_bytes(eight);
        // The lowest marked byte is exact; a borrow can only mark bytes above it wrongly.
        let zero_in = |word: u64| word.wrapping_sub(EACH) & !word;
        let quote = zero_in(word ^ (EACH * u64::from(b'"')));
        let backslash = zero_in(word ^ (EACH * u64::from(b'\\')));
        let control = word.wrapping_sub(EACH * 0x20) & !word;
        let stops = (quote | backslash | control | word) & HIGH;
        if stops != 0 {
            return Some(at + stops.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = text.get(at..)?;
    Some(at + rest.iter().position(|&b| matches!(b, b'"' | b'\\' | 0..=0x1f | 0x80..))?)
}

/// Appends `text` as the content of a JSON string, with quotes, backslashes and control characters escaped.
pub(crate) fn escape_into(text: &str, out: &mut Vec<u8>) {
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn numbers_keep_their_text() {
        let mut parser = Parser::default();
        let frame = br#"{"price":0.031340,"id":12072546403441331453,"text":"a \"1\" b","list":[1e5,-2,true,null]}"#;
        parser
            .parse(frame, |root| {
                assert_eq!(root.text_of("price"), Some("0.031340"));
                assert_eq!(root.get("id").and_then(|v| v.integer()), Some(12_072_546_403_441_331_453));
                assert_eq!(root.text_of("text"), Some("a \"1\" b"));
                let list = root.get("list").unwrap();
                assert_eq!(list.len(), 4);
                assert_eq!(list.items().next().unwrap().text(), Some("1e5"));
                assert_eq!(list.at(2).unwrap().boolean(), Some(true));
                assert!(list.at(3).unwrap().is_null());
            })
            .unwrap();
    }

    #[test]
    fn garbage_is_an_error_and_the_parser_goes_on() {
        let mut parser = Parser::default();
        let deep = "[".repeat(100_000);
        for frame in ["", "{", "{\"a\":}", "nul", "\u{feff}{}", "{\"a\":1}}", "\"", &deep] {
            assert_eq!(parser.parse(frame.as_bytes(), |_| ()), Err(JsonError), "{:.20}", frame);
        }
        assert_eq!(parser.parse(b"\xff\xfe", |_| ()), Err(JsonError));
        assert_eq!(parser.parse(b"{\"a\":7}", |root| root.get("a").and_then(|v| v.integer())), Ok(Some(7)));
    }

    proptest! {
        #[test]
        fn a_plain_string_ends_where_the_first_other_byte_is(mut text in "[a-zA-Z0-9:.!#~\u{7f}-]{0,40}".prop_map(String::into_bytes), at in 0usize..40, stop: u8) {
            let at = at.min(text.len());
            text.insert(at, stop);
            let first = text.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f | 0x80..));
            prop_assert_eq!(plain_length(&text), first);
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Parser::default().parse(&frame, |_| ());
        }

        #[test]
        fn scanning_a_number_equals_parsing_it(text in "[0-9]{1,12}(\\.[0-9]{1,6})?") {
            let frame = format!("{text}\"");
            prop_assert_eq!(Scan::new(frame.as_bytes()).quoted_decimal(), Decimal::parse(text.as_bytes()).ok());
        }

        #[test]
        fn a_number_of_any_shape_is_scanned_right_or_left_to_the_parser(text in "[0-9]{0,22}\\.?[0-9]{0,22}[eE.]?[0-9]{0,3}") {
            let frame = format!("{text}\"");
            if let Some(number) = Scan::new(frame.as_bytes()).quoted_decimal() {
                prop_assert_eq!(Ok(number), Decimal::parse(text.as_bytes()));
            }
        }

        #[test]
        fn nineteen_digits_are_scanned(whole in 1usize..19, digits in "[1-9][0-9]{18}") {
            let text = format!("{}.{}", &digits[..whole], &digits[whole..]);
            let frame = format!("{text}\"");
            let scanned = Scan::new(frame.as_bytes()).quoted_decimal();
            prop_assert_eq!(scanned, Some(Decimal::parse(text.as_bytes()).unwrap()));
        }
    }
}
