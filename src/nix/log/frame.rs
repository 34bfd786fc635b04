//! One piece of a log on disk: where it belongs, how long it is, its bytes.
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek};

/// zstd skips a frame that begins with this.
const SKIPPABLE: u32 = 0x184D_2A5C;
/// Its payload's length.
const PAYLOAD: u32 = 24;
/// All of it.
const LENGTH: usize = 8 + PAYLOAD as usize;
/// No frame has more plain bytes; more is not a log.
const LARGEST: u64 = 8 << 20;

/// What stands before each frame of zstd.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The place of the first byte in the whole log.
    pub(super) place: u64,
    /// Plain bytes; 0 marks a gap, whose frame is a line for people.
    pub(super) plain: u32,
    /// Bytes of the frame that follows.
    pub(super) packed: u32,
    /// Bytes left out here.
    pub(super) left_out: u64,
}

impl Header {
    pub(super) fn is_gap(&self) -> bool {
        self.plain == 0
    }

    /// The place behind the last byte.
    pub(super) fn end(&self) -> u64 {
        self.place + u64::from(self.plain) + self.left_out
    }

    /// The place of the first byte behind what was left out before this frame, or by it.
    pub(super) fn end_of_gap(&self) -> u64 {
        self.place + self.left_out
    }

    fn bytes(&self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        bytes[0..4].copy_from_slice(&SKIPPABLE.to_le_bytes());
        bytes[4..8].copy_from_slice(&PAYLOAD.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.place.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.plain.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.packed.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.left_out.to_le_bytes());
        bytes
    }

    fn read(bytes: [u8; LENGTH]) -> io::Result<Self> {
        let u32_at = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let header =
            Self { place: u64_at(8), plain: u32_at(16), packed: u32_at(20), left_out: u64_at(24) };
        let known = u32_at(0) == SKIPPABLE && u32_at(4) == PAYLOAD;
        let sizes = u64::from(header.plain.max(header.packed)) <= LARGEST;
        let places = header.place.checked_add(header.left_out).is_some_and(|it| it < 1 << 62);
        if known && sizes && places { Ok(header) } else { Err(broken("a header")) }
    }
}

/// The line in place of what was left out.
pub(super) fn gap_line(left_out: u64) -> String {
    format!("… {left_out} bytes left out …\n")
}

/// Packs plain bytes that stand at this place of the log.
pub(super) fn pack(place: u64, plain: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(plain.len()).map_err(|_| broken("a frame"))?;
    assemble(Header { place, plain: length, packed: 0, left_out: 0 }, plain)
}

/// Packs the line that stands in place of what was left out.
pub(super) fn pack_gap(place: u64, left_out: u64) -> io::Result<Vec<u8>> {
    let header = Header { place, plain: 0, packed: 0, left_out };
    assemble(header, gap_line(left_out).as_bytes())
}

fn assemble(header: Header, plain: &[u8]) -> io::Result<Vec<u8>> {
    let packed = zstd::bulk::compress(plain, 1)?;
    let length = u32::try_from(packed.len()).map_err(|_| broken("a frame"))?;
    let mut bytes = Header { packed: length, ..header }.bytes().to_vec();
    bytes.extend_from_slice(&packed);
    Ok(bytes)
}

fn broken(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("{what} in this log is broken"))
}

/// Reads the frames of one file. Each header is followed by a call that takes or skips its frame.
pub(super) struct Frames(BufReader<File>);

impl Frames {
    pub(super) fn of(file: File) -> Self {
        Self(BufReader::with_capacity(LENGTH, file))
    }

    pub(super) fn rewind(&mut self) -> io::Result<()> {
        self.0.rewind()
    }

    /// The next header; `None` at the end and where a frame is not written completely yet.
    pub(super) fn header(&mut self) -> io::Result<Option<Header>> {
        let mut bytes = [0; LENGTH];
        match self.0.read_exact(&mut bytes) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        let header = Header::read(bytes)?;
        let here = self.0.stream_position()?;
        let whole = self.0.get_ref().metadata()?.len() >= here + u64::from(header.packed);
        Ok(whole.then_some(header))
    }

    pub(super) fn skip(&mut self, header: &Header) -> io::Result<()> {
        self.0.seek_relative(i64::from(header.packed))
    }

    /// The frame as it lies on disk.
    pub(super) fn packed(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let mut packed = vec![0; header.packed as usize];
        self.0.read_exact(&mut packed)?;
        Ok(packed)
    }

    pub(super) fn unpack(&mut self, header: &Header) -> io::Result<Vec<u8>> {
        let plain = zstd::bulk::decompress(&self.packed(header)?, header.plain as usize)?;
        if plain.len() == header.plain as usize { Ok(plain) } else { Err(broken("a frame")) }
    }

    /// Copies the frame, header and all.
    pub(super) fn copy(&mut self, header: &Header, to: &mut impl io::Write) -> io::Result<()> {
        let packed = self.packed(header)?;
        to.write_all(&header.bytes())?;
        to.write_all(&packed)
    }
}
