//! How fast a builder is beside the others.
use std::fmt;
use std::str::FromStr;

/// Nix's speed factor, in thousandths: a builder of 2.0 is taken to build twice as fast as one of 1.0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Speed(u32);

/// What no builder is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a number from 0.001 to 1000 with at most three decimals")]
pub struct NotASpeed;

impl Speed {
    /// Of so many thousandths; `None` outside of 0.001 to 1000.
    #[must_use]
    pub fn of(thousandths: u32) -> Option<Self> {
        (1..=1_000_000).contains(&thousandths).then_some(Self(thousandths))
    }

    /// As a whole number, to be kept and compared.
    #[must_use]
    pub fn thousandths(self) -> u32 {
        self.0
    }
}

impl Default for Speed {
    fn default() -> Self {
        Self(1_000)
    }
}

impl FromStr for Speed {
    type Err = NotASpeed;

    fn from_str(text: &str) -> Result<Self, NotASpeed> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let are_digits = |it: &str| !it.is_empty() && it.bytes().all(|b| b.is_ascii_digit());
        if !are_digits(whole) || !are_digits(decimals) {
            return Err(NotASpeed);
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 3 {
            return Err(NotASpeed);
        }
        let whole: u32 = whole.parse().map_err(|_| NotASpeed)?;
        let part: u32 = format!("{decimals:0<3}").parse().map_err(|_| NotASpeed)?;
        let thousandths = whole.checked_mul(1_000).and_then(|it| it.checked_add(part));
        thousandths.and_then(Self::of).ok_or(NotASpeed)
    }
}

impl fmt::Display for Speed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:03}", self.0 % 1_000);
        let decimals = decimals.trim_end_matches('0');
        write!(f, "{}.{}", self.0 / 1_000, if decimals.is_empty() { "0" } else { decimals })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_speed_is_a_positive_number_and_reads_as_it_was_written() {
        for (text, shown) in [
            ("1", "1.0"),
            ("2.5", "2.5"),
            ("0.001", "0.001"),
            ("1000", "1000.0"),
            ("1.250", "1.25"),
        ] {
            assert_eq!(text.parse::<Speed>().unwrap().to_string(), shown);
        }
        for wrong in [
            "",
            "0",
            "0.0",
            "-1",
            "1.",
            ".5",
            "1.0001",
            "1000.1",
            "1e3",
            "inf",
            "NaN",
            "99999999999",
        ] {
            assert_eq!(wrong.parse::<Speed>(), Err(NotASpeed), "{wrong}");
        }
        assert!("2".parse::<Speed>().unwrap() > Speed::default());
    }
}
