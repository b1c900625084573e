use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A moment: milliseconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// Milliseconds from `earlier` to `self`; zero when the clock went backwards.
    pub fn since(self, earlier: Millis) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The moment as RFC 3339 with milliseconds, `2026-01-01T00:00:00.000Z`.
pub fn rfc3339(at: Millis) -> String {
    i64::try_from(at.0)
        .ok()
        .and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| format!("{}ms", at.0), |t| format!("{t:.3}"))
}

/// Reads `90s`, `10m`, `1h 30m` or `250ms` as milliseconds.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is not a duration: write it as `90s`, `10m` or `1h 30m`");
    let parsed: jiff::SignedDuration = text.parse().map_err(|_| expected())?;
    u64::try_from(parsed.as_millis()).map_err(|_| expected())
}

/// Reads `512MiB`, `2GiB` or `1TiB` as bytes.
///
/// # Errors
/// A sentence that says what was expected.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || format!("`{text}` is not a size: write it as `512MiB` or `2GiB`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (count, unit) = text.split_at(digits);
    let shift = match unit.trim() {
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        "TiB" => 40,
        _ => return Err(expected()),
    };
    let count: u64 = count.parse().map_err(|_| expected())?;
    count.checked_mul(1 << shift).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, ms) in [("90s", 90_000), ("10m", 600_000), ("1h 30m", 5_400_000), ("250ms", 250)] {
            assert_eq!(parse_duration_ms(text), Ok(ms), "{text}");
        }
        for bad in ["", "ten", "-5s", "5 parsecs"] {
            assert!(parse_duration_ms(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_have_a_unit() {
        for (text, bytes) in [("512KiB", 512 << 10), ("2 GiB", 2 << 30), ("1TiB", 1 << 40), ("0MiB", 0)] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for bad in ["", "2", "GiB", "2GB", "-1MiB", "2.5GiB", "99999999999TiB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_print_in_utc_with_milliseconds() {
        assert_eq!(rfc3339(Millis(1_767_225_600_123)), "2026-01-01T00:00:00.123Z");
    }
}
