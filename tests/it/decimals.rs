//! [`Decimal::parse`] against two others: arithmetic on the digits themselves, and Python's `decimal`. A million texts
//! that venues could send: long, padded, with exponents, and malformed.

use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::process::{Command, Stdio};

use spreadwire::market::Decimal;
use spreadwire::market::decimal::{DecimalError, SCALE_MAX};

const CASES: u64 = 1_000_000;

/// Stands for exponents that no integer holds.
const FAR: i64 = 1 << 50;

/// A row of texts that is the same in each run.
struct Texts(u64);

impl Texts {
    fn below(&mut self, limit: u64) -> u64 {
        // Knuth's linear congruential generator; the high bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// Up to `most` digits; often zeros at the front, in the middle or at the end.
    fn digits(&mut self, most: u64, out: &mut String) {
        let length = self.below(most + 1);
        let zeros = self.below(4);
        for at in 0..length {
            let is_padding = match zeros {
                1 => at * 3 < length * 2,
                2 => at * 3 > length,
                3 => at > 0 && at + 1 < length,
                _ => false,
            };
            let digit = if is_padding { 0 } else { self.below(10) };
            out.push(char::from(b'0' + digit as u8));
        }
    }

    fn next(&mut self, out: &mut String) {
        out.clear();
        if self.below(16) == 0 {
            out.push('-');
        }
        let most = match self.below(64) {
            0 => 400,
            1..10 => 45,
            10..30 => 22,
            30..46 => 12,
            _ => 6,
        };
        self.digits(most, out);
        if self.below(4) != 0 {
            out.push('.');
            self.digits(most, out);
        }
        if self.below(3) == 0 {
            out.push(if self.below(2) == 0 { 'e' } else { 'E' });
            out.push_str(["", "+", "-"][self.below(3) as usize]);
            let most = if self.below(8) == 0 { 6 } else { 2 };
            self.digits(most, out);
        }
        if self.below(50) == 0 {
            // Something that no number has.
            let at = self.below(out.len() as u64 + 1) as usize;
            out.insert(at, b"x.- _e+N"[self.below(8) as usize].into());
        }
    }
}

/// A number as its digits without zeros at either end, and the power of ten of the last one.
type Plain = (String, i64);

/// Reads `text` by its digits; `None`: malformed by the grammar of [`Decimal::parse`].
fn plain(text: &str) -> Option<(bool, Plain)> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => {
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            let far = if exponent.starts_with('-') { -FAR } else { FAR };
            (number, exponent.parse().unwrap_or(far))
        }
        None => (text, 0),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = format!("{whole}{fraction}");
    let kept = digits.trim_end_matches('0');
    let last = exponent - fraction.len() as i64 + (digits.len() - kept.len()) as i64;
    let kept = kept.trim_start_matches('0');
    Some((negative, if kept.is_empty() { (String::new(), 0) } else { (kept.to_owned(), last) }))
}

/// Whether a [`Decimal`] can hold the number.
fn fits((digits, last): &Plain) -> bool {
    let padded = if *last > 0 { format!("{digits}{}", "0".repeat(*last as usize % 1000)) } else { digits.clone() };
    digits.is_empty() || (*last < 1000 && padded.parse::<u64>().is_ok() && *last >= -i64::from(SCALE_MAX))
}

fn of(number: Decimal) -> Plain {
    let number = number.normalised();
    let digits = number.mantissa().to_string();
    let kept = digits.trim_end_matches('0');
    match kept {
        "" => (String::new(), 0),
        _ => (kept.to_owned(), (digits.len() - kept.len()) as i64 - i64::from(number.scale())),
    }
}

#[test]
fn a_million_numbers_are_what_their_digits_say_or_are_refused() {
    let (mut texts, mut text) = (Texts(1), String::new());
    let mut held = 0;
    for _ in 0..CASES {
        texts.next(&mut text);
        let ours = Decimal::parse(text.as_bytes());
        match (plain(&text), ours) {
            (None, Err(_)) => {}
            (Some((true, number)), Err(DecimalError::Negative)) if !number.0.is_empty() => {}
            (Some((_, number)), Err(DecimalError::TooLong)) if !fits(&number) => {}
            (Some((negative, number)), Ok(ours)) => {
                assert!(fits(&number) && (!negative || number.0.is_empty()), "{text}");
                assert_eq!(of(ours), number, "{text}");
                held += 1;
            }
            (meant, ours) => panic!("{text}: {ours:?} for {meant:?}"),
        }
    }
    assert!(held > CASES / 4, "{held} numbers");
}

/// Prints digits and exponent of each line, or nothing.
const PYTHON: &str = "
import decimal, sys
decimal.setcontext(decimal.Context(prec=2000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN))
for line in sys.stdin:
    try:
        sign, digits, exponent = decimal.Decimal(line[:-1]).normalize().as_tuple()
        print('-' * sign + ''.join(map(str, digits)), exponent if digits != (0,) else 0)
    except (decimal.InvalidOperation, ValueError):
        print()
";

#[test]
fn a_million_numbers_are_what_pythons_decimal_reads() {
    let mut command = Command::new("python3");
    command.args(["-c", PYTHON]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut python) = command.spawn() else {
        eprintln!("python3 is not there: not compared");
        return;
    };
    let mut stdin = BufWriter::new(python.stdin.take().expect("a pipe"));
    let writer = std::thread::spawn(move || {
        let (mut texts, mut text) = (Texts(2), String::new());
        for _ in 0..CASES {
            texts.next(&mut text);
            writeln!(stdin, "{text}").expect("python3 reads");
        }
    });
    let mut lines = BufReader::new(python.stdout.take().expect("a pipe")).lines();
    let (mut texts, mut text) = (Texts(2), String::new());
    for _ in 0..CASES {
        texts.next(&mut text);
        let line = lines.next().expect("a line for each").expect("text");
        let Ok(ours) = Decimal::parse(text.as_bytes()) else { continue };
        // It has a limit of its own for the exponent, of a zero as well.
        let (digits, exponent) = line.split_once(' ').unwrap_or(("0", "0"));
        let (theirs, exponent) = (digits.trim_start_matches('-'), exponent.parse::<i64>().expect("an exponent"));
        let theirs = if theirs == "0" { (String::new(), 0) } else { (theirs.to_owned(), exponent) };
        assert_eq!(of(ours), theirs, "{text}");
    }
    writer.join().expect("all was written");
    assert!(python.wait().expect("python3 ends").success());
}
