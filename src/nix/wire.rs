//! The bytes of Nix's worker protocol, version 1.34: numbers of eight bytes, little-endian, and
//! strings with their length before and padding behind.
//!
//! Reading never copies: a log line goes from the pipe's buffer into its log.

/// The client's greeting.
pub const HELLO: u64 = 0x6e69_7863;
/// The daemon's answer to it.
pub const HELLO_BACK: u64 = 0x6478_696f;
/// Major and minor version that we speak: the one of Nix 2.8; newer daemons speak it too.
pub const VERSION: u64 = 0x122;
/// No string may be longer; whoever says otherwise does not speak the protocol.
const LONGEST: u64 = 64 << 20;
/// A log line from here on is not taken in as a whole.
pub const LONG_LINE: u64 = 1 << 20;
/// Fields beyond these of an activity are not used by anybody.
const MOST_FIELDS: usize = 4;

const LAST: u64 = 0x616c_7473;
const NEXT: u64 = 0x6f6c_6d67;
const ERROR: u64 = 0x6378_7470;
const START: u64 = 0x5354_5254;
const STOP: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;

/// What an activity is about, of those we look at.
pub mod activity {
    /// All builds of an operation; its progress counts them.
    pub const BUILDS: u64 = 104;
    /// One derivation.
    pub const BUILD: u64 = 105;
    /// One path from a substituter.
    pub const SUBSTITUTE: u64 = 108;
}

/// What a result says, of those we look at.
pub mod result {
    /// A line of a build's log.
    pub const LINE: u64 = 101;
    /// Done, expected, running, failed.
    pub const PROGRESS: u64 = 105;
}

/// Why nothing can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// More bytes must arrive first.
    #[error("the message is not complete")]
    Incomplete,
    #[error("it announces a text of {0} bytes")]
    TooLong(u64),
    #[error("it sends {0:#x} where a message should begin")]
    Unknown(u64),
}

/// Reads values from the front of some bytes.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// How many bytes were read.
    pub fn used(&self) -> usize {
        self.at
    }

    pub fn number(&mut self) -> Result<u64, Unreadable> {
        let end = self.at + 8;
        let bytes = self.bytes.get(self.at..end).ok_or(Unreadable::Incomplete)?;
        self.at = end;
        let mut number = [0; 8];
        number.copy_from_slice(bytes);
        Ok(u64::from_le_bytes(number))
    }

    pub fn bytes(&mut self) -> Result<&'a [u8], Unreadable> {
        let length = self.number()?;
        let padded = usize::try_from(padded(length)?).unwrap_or(usize::MAX);
        let start = self.at;
        if self.bytes.len() - start < padded {
            return Err(Unreadable::Incomplete);
        }
        self.at += padded;
        Ok(&self.bytes[start..start + usize::try_from(length).unwrap_or(0)])
    }

    /// A string; what is not UTF-8 becomes U+FFFD.
    pub fn text(&mut self) -> Result<String, Unreadable> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }

    fn fields(&mut self) -> Result<Fields<'a>, Unreadable> {
        let mut fields = Fields::default();
        for at in 0..self.number()? {
            let field = match self.number()? {
                0 => Field::Number(self.number()?),
                1 => Field::Text(self.bytes()?),
                other => return Err(Unreadable::Unknown(other)),
            };
            if let Some(place) = usize::try_from(at).ok().and_then(|it| fields.0.get_mut(it)) {
                *place = field;
            }
        }
        Ok(fields)
    }
}

/// The length of a string with its padding.
pub fn padded(length: u64) -> Result<u64, Unreadable> {
    if length > LONGEST {
        return Err(Unreadable::TooLong(length));
    }
    Ok(length.next_multiple_of(8))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Field<'a> {
    #[default]
    None,
    Number(u64),
    Text(&'a [u8]),
}

/// The first fields of an activity or a result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a>([Field<'a>; MOST_FIELDS]);

impl<'a> Fields<'a> {
    /// The number at this place; 0 when there is none.
    pub fn number(&self, at: usize) -> u64 {
        match self.0.get(at) {
            Some(Field::Number(number)) => *number,
            Some(Field::None | Field::Text(_)) | None => 0,
        }
    }

    /// The text at this place; empty when there is none.
    pub fn text(&self, at: usize) -> &'a [u8] {
        match self.0.get(at) {
            Some(Field::Text(text)) => text,
            Some(Field::None | Field::Number(_)) | None => b"",
        }
    }
}

/// One message that a daemon sends while it works.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Text for people.
    Next(&'a [u8]),
    Start {
        id: u64,
        kind: u64,
        fields: Fields<'a>,
    },
    Stop {
        id: u64,
    },
    Result {
        id: u64,
        kind: u64,
        fields: Fields<'a>,
    },
    /// A log line so long that its bytes are read apart: `length` of them and padding follow.
    LongLine {
        id: u64,
        length: u64,
    },
    /// The operation failed as a whole.
    Error(&'a [u8]),
    /// The operation is over; its answer follows.
    Last,
}

impl<'a> Frame<'a> {
    /// The next message and how many bytes it takes.
    ///
    /// # Errors
    /// When it has not arrived as a whole, or is none.
    pub fn read(bytes: &'a [u8]) -> Result<(Self, usize), Unreadable> {
        let mut cursor = Cursor::new(bytes);
        let frame = match cursor.number()? {
            LAST => Self::Last,
            NEXT => Self::Next(cursor.bytes()?),
            ERROR => Self::error(&mut cursor)?,
            START => {
                let (id, _level, kind, _text) =
                    (cursor.number()?, cursor.number()?, cursor.number()?, cursor.bytes()?);
                let fields = cursor.fields()?;
                let _parent = cursor.number()?;
                Self::Start { id, kind, fields }
            }
            STOP => Self::Stop { id: cursor.number()? },
            RESULT => Self::result(&mut cursor)?,
            other => return Err(Unreadable::Unknown(other)),
        };
        Ok((frame, cursor.used()))
    }

    fn result(cursor: &mut Cursor<'a>) -> Result<Self, Unreadable> {
        let (id, kind) = (cursor.number()?, cursor.number()?);
        if kind == result::LINE {
            let mut ahead = cursor.clone();
            if (ahead.number()?, ahead.number()?) == (1, 1) {
                let length = ahead.number()?;
                if length >= LONG_LINE {
                    *cursor = ahead;
                    return Ok(Self::LongLine { id, length });
                }
            }
        }
        Ok(Self::Result { id, kind, fields: cursor.fields()? })
    }

    /// Kind, level, name, message, position (always 0), traces.
    fn error(cursor: &mut Cursor<'a>) -> Result<Self, Unreadable> {
        let (_kind, _level, _name) = (cursor.bytes()?, cursor.number()?, cursor.bytes()?);
        let message = cursor.bytes()?;
        let _position = cursor.number()?;
        for _ in 0..cursor.number()? {
            let (_position, _trace) = (cursor.number()?, cursor.bytes()?);
        }
        Ok(Self::Error(message))
    }
}

/// A request, as it will be sent.
#[derive(Clone, Debug, Default)]
pub struct Request(Vec<u8>);

impl Request {
    #[must_use]
    pub fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_le_bytes());
        self
    }

    #[must_use]
    pub fn text(self, text: &str) -> Self {
        let mut request = self.number(text.len() as u64);
        request.0.extend_from_slice(text.as_bytes());
        request.0.resize(request.0.len().next_multiple_of(8), 0);
        request
    }

    #[must_use]
    pub fn texts<T: AsRef<str>>(self, texts: impl ExactSizeIterator<Item = T>) -> Self {
        let counted = self.number(texts.len() as u64);
        texts.fold(counted, |request, it| request.text(it.as_ref()))
    }

    /// The bytes to send.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Request {
        Request::default()
            .number(RESULT)
            .number(7)
            .number(result::LINE)
            .number(1)
            .number(1)
            .text(text)
    }

    #[test]
    fn a_log_line_is_read_where_it_lies() {
        let request = line("hello");
        let (frame, used) = Frame::read(request.bytes()).unwrap();
        let Frame::Result { id: 7, kind: result::LINE, fields } = frame else {
            panic!("{frame:?}")
        };
        assert_eq!((fields.text(0), used), (&b"hello"[..], request.bytes().len()));
    }

    #[test]
    fn what_has_not_arrived_is_waited_for_at_every_byte() {
        let request = line("hello");
        for end in 0..request.bytes().len() {
            assert_eq!(Frame::read(&request.bytes()[..end]), Err(Unreadable::Incomplete), "{end}");
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_refused_before_any_byte_of_it() {
        let lie = Request::default().number(NEXT).number(u64::MAX);
        assert_eq!(Frame::read(lie.bytes()), Err(Unreadable::TooLong(u64::MAX)));
    }

    #[test]
    fn a_long_line_is_announced_and_not_waited_for() {
        let request = Request::default()
            .number(RESULT)
            .number(7)
            .number(101)
            .number(1)
            .number(1)
            .number(200 << 20);
        let (frame, used) = Frame::read(request.bytes()).unwrap();
        assert_eq!((frame, used), (Frame::LongLine { id: 7, length: 200 << 20 }, 48));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frame::read(&bytes);
        }
    }
}
