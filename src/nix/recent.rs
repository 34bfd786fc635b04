//! The last lines of a running build, in bounded memory.

/// The last bytes kept of each build, once and a half.
const KEPT: usize = 64 << 10;
/// Bytes of one line that are worth it there.
const LINE: usize = 4 << 10;
/// Lines that anybody is shown.
const TAIL: usize = 200;

/// The last lines of a build, without an allocation for each.
#[derive(Debug, Default)]
pub(crate) struct Recent(Vec<u8>);

impl Recent {
    /// Adds a line.
    pub(crate) fn push(&mut self, line: &[u8]) {
        if self.0.len() + LINE > KEPT + KEPT / 2 {
            self.shrink();
        }
        self.0.extend_from_slice(&line[..line.len().min(LINE)]);
        self.0.push(b'\n');
    }

    /// Lets go of what is more than needs to be kept.
    pub(crate) fn shrink(&mut self) {
        let surplus = self.0.len().saturating_sub(KEPT);
        self.0.drain(..surplus);
        self.0.shrink_to(KEPT + KEPT / 2);
    }

    /// Bytes held.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The last 200 lines.
    pub(crate) fn tail(&self) -> Vec<String> {
        let lines = self.0.strip_suffix(b"\n").unwrap_or(&self.0).rsplit(|it| *it == b'\n');
        let mut tail: Vec<String> =
            lines.take(TAIL).map(|it| String::from_utf8_lossy(it).into_owned()).collect();
        tail.reverse();
        tail.retain(|_| !self.0.is_empty());
        tail
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_in_bounded_memory() {
        let mut recent = Recent::default();
        assert!(recent.tail().is_empty());
        for number in 0..100_000 {
            recent.push(format!("line {number}").as_bytes());
        }
        recent.push("x".repeat(100_000).as_bytes());
        recent.push(b"");
        assert!(recent.0.capacity() <= 2 * (KEPT + KEPT / 2), "{}", recent.0.capacity());
        let tail = recent.tail();
        assert_eq!((tail.len(), tail[199].as_str(), tail[198].len()), (200, "", LINE));
        assert_eq!(tail[197], "line 99999");
    }
}
