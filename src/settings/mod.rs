//! Sections of the configuration file, and the types that their keys can have: how a value is read from TOML or from a
//! variable, and how it is written back. The module that uses the values declares their section, in one place: key, type,
//! default, range, unit and reason. `config` reads all sections. Pure.

pub mod near;

use std::net::SocketAddr;
use std::ops::RangeInclusive;

use toml::de::DeValue;

/// A value as given by the user.
#[derive(Clone, Copy, Debug)]
pub enum Given<'a> {
    /// A value of the file.
    Toml(&'a DeValue<'a>),
    /// The text of an environment variable, which has no type.
    Bare(&'a str),
}

impl<'a> Given<'a> {
    /// The digits of a number, without a plus sign; `None` if it is none.
    #[must_use]
    pub fn number(self) -> Option<&'a str> {
        let text = match self {
            Given::Toml(DeValue::Integer(n)) if n.radix() == 10 => n.as_str(),
            Given::Toml(DeValue::Float(n)) => n.as_str(),
            Given::Bare(text) => text.trim(),
            Given::Toml(_) => return None,
        };
        Some(text.strip_prefix('+').unwrap_or(text))
    }

    /// The text, or the given word; `None` if it is neither.
    #[must_use]
    pub fn text(self) -> Option<&'a str> {
        match self {
            Given::Toml(DeValue::String(text)) => Some(text),
            Given::Bare(text) => Some(text.trim()),
            Given::Toml(_) => None,
        }
    }

    /// The value as written, for error texts.
    #[must_use]
    pub fn shown(self) -> String {
        match self {
            Given::Toml(DeValue::Integer(n)) => n.to_string(),
            Given::Toml(DeValue::Float(n)) => n.to_string(),
            Given::Toml(DeValue::Boolean(flag)) => flag.to_string(),
            Given::Toml(DeValue::String(text)) => quoted(text),
            Given::Toml(other) => with_article(other.type_str()),
            Given::Bare(text) => quoted(text),
        }
    }

    /// The error text for a word that is not one of `words`.
    #[must_use]
    pub(crate) fn not_a_choice(self, text: Option<&str>, words: &[&str], expected: &str) -> String {
        let near = text.map_or_else(String::new, |text| near::did_you_mean(text, words.iter().copied()));
        format!("{} is unknown, expected {expected}{near}", self.shown())
    }
}

/// External text for an error line: quoted, without control characters, at most 80 characters.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("`{}`", short.escape_debug().to_string().replace("\\\"", "\"").replace("\\'", "'"))
}

/// `a table`, `an array`.
#[must_use]
pub(crate) fn with_article(noun: &str) -> String {
    let article = if noun.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {noun}")
}

/// A type that a key of the configuration can have.
pub trait Setting {
    /// Stores the given value, if it has the right type and is within `bounds`.
    ///
    /// # Errors
    /// What is wrong and what was expected, as part of a sentence.
    fn set(&mut self, given: Given<'_>, bounds: &RangeInclusive<u64>) -> Result<(), String>;

    /// The value as TOML text.
    fn toml(&self) -> String;

    /// Short description of the allowed values.
    fn expected(&self, bounds: &RangeInclusive<u64>) -> String;
}

macro_rules! whole_numbers {
    ($($number:ty),*) => {$(
        impl Setting for $number {
            fn set(&mut self, given: Given<'_>, bounds: &RangeInclusive<u64>) -> Result<(), String> {
                let expected = self.expected(bounds);
                let refused = || format!("{} is not a whole number, expected {expected}", given.shown());
                let number: i128 = given.number().and_then(|text| text.parse().ok()).ok_or_else(refused)?;
                let number = u64::try_from(number).ok().filter(|n| bounds.contains(n));
                let number = number.ok_or_else(|| format!("{} is out of range, expected {expected}", given.shown()))?;
                *self = <$number>::try_from(number).map_err(|_| refused())?;
                Ok(())
            }

            fn toml(&self) -> String {
                self.to_string()
            }

            fn expected(&self, bounds: &RangeInclusive<u64>) -> String {
                format!("a whole number from {} to {}", bounds.start(), bounds.end())
            }
        }
    )*};
}
whole_numbers!(u64, usize);

impl Setting for bool {
    fn set(&mut self, given: Given<'_>, bounds: &RangeInclusive<u64>) -> Result<(), String> {
        let flag = match given {
            Given::Toml(DeValue::Boolean(flag)) => Some(*flag),
            Given::Toml(_) => None,
            Given::Bare(text) => text.trim().parse().ok(),
        };
        *self = flag.ok_or_else(|| format!("{} is not {}", given.shown(), self.expected(bounds)))?;
        Ok(())
    }

    fn toml(&self) -> String {
        self.to_string()
    }

    fn expected(&self, _: &RangeInclusive<u64>) -> String {
        "`true` or `false`".to_owned()
    }
}

impl Setting for SocketAddr {
    fn set(&mut self, given: Given<'_>, bounds: &RangeInclusive<u64>) -> Result<(), String> {
        let refused = || format!("{} is not an address, expected {}", given.shown(), self.expected(bounds));
        *self = given.text().ok_or_else(refused).and_then(|text| socket_address(text).ok_or_else(refused))?;
        Ok(())
    }

    fn toml(&self) -> String {
        quoted_toml(&self.to_string())
    }

    fn expected(&self, _: &RangeInclusive<u64>) -> String {
        "IP:PORT such as \"127.0.0.1:3000\"".to_owned()
    }
}

/// `IP:PORT`, or `localhost:PORT` for 127.0.0.1. Names are not resolved, so that the listening address is explicit.
#[must_use]
pub(crate) fn socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::from(([127, 0, 0, 1], port.parse().ok()?))),
        None => text.parse().ok(),
    }
}

impl Setting for String {
    fn set(&mut self, given: Given<'_>, bounds: &RangeInclusive<u64>) -> Result<(), String> {
        let text = given.text();
        let text =
            text.ok_or_else(|| format!("{} is not a text, expected {}", given.shown(), self.expected(bounds)))?;
        text.clone_into(self);
        Ok(())
    }

    fn toml(&self) -> String {
        quoted_toml(self)
    }

    fn expected(&self, _: &RangeInclusive<u64>) -> String {
        "a text in double quotes".to_owned()
    }
}

/// `text` as a TOML basic string.
#[must_use]
pub(crate) fn quoted_toml(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

/// Defines a setting with a fixed set of words.
macro_rules! choice {
    ($(#[doc = $about:literal])+ $name:ident { $($(#[doc = $doc:literal])+ $variant:ident = $word:literal,)+ }) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $doc])+ $variant,)+ }

        impl $name {
            /// The word in the configuration.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl crate::settings::Setting for $name {
            fn set(
                &mut self,
                given: crate::settings::Given<'_>,
                bounds: &std::ops::RangeInclusive<u64>,
            ) -> Result<(), String> {
                *self = match given.text() {
                    $(Some($word) => Self::$variant,)+
                    other => return Err(given.not_a_choice(other, &[$($word),+], &self.expected(bounds))),
                };
                Ok(())
            }

            fn toml(&self) -> String {
                format!("\"{}\"", self.word())
            }

            fn expected(&self, _: &std::ops::RangeInclusive<u64>) -> String {
                [$(concat!("\"", $word, "\"")),+].join(" or ")
            }
        }
    };
}
pub(crate) use choice;

/// One key of a section, for reading and writing its value.
pub(crate) struct SectionKey<'a> {
    /// Name within the section.
    pub name: &'static str,
    /// Its doc comment, line by line.
    pub(crate) doc: &'static [&'static str],
    /// The value.
    pub(crate) slot: &'a mut dyn Setting,
    /// Least and greatest value, for numbers.
    pub(crate) bounds: RangeInclusive<u64>,
}

/// A table of the file.
pub(crate) trait Section {
    /// Description of the table, line by line.
    const ABOUT: &'static [&'static str];
    /// Its keys, in the order of the documentation.
    fn keys(&mut self) -> Vec<SectionKey<'_>>;
}

/// Defines a section: a struct with its default, and its keys.
macro_rules! section {
    ($(#[doc = $about:literal])+ $(#[derive($($derived:ident),+)])? $name:ident {
        $($(#[doc = $doc:literal])+ $field:ident: $kind:ty = $default:expr $(, $bounds:expr)?;)+
    }) => {
        $(#[doc = $about])+
        #[derive(Clone, $($($derived,)+)? Debug, PartialEq)]
        pub struct $name { $($(#[doc = $doc])+ pub $field: $kind,)+ }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)+ }
            }
        }

        impl crate::settings::Section for $name {
            const ABOUT: &'static [&'static str] = &[$($about),+];

            fn keys(&mut self) -> Vec<crate::settings::SectionKey<'_>> {
                vec![$(crate::settings::SectionKey {
                    name: stringify!($field),
                    doc: &[$($doc),+],
                    slot: &mut self.$field,
                    bounds: [$($bounds,)? 0..=0][0].clone(),
                }),+]
            }
        }
    };
}
pub(crate) use section;
