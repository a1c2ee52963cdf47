//! Durations as people write them: `60s`, `5m`, `1h30m`, `250ms`.

use std::time::Duration;

const UNITS: [(&str, f64); 5] = [("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];

/// Most seconds a duration may have: a thousand years, far below what [`Duration`] holds.
const SECONDS_MAX: f64 = 1_000.0 * 366.0 * 86_400.0;

/// Reads numbers, each with its unit (`ms`, `s`, `m`, `h`, `d`), and adds them up.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("expected a duration such as 250ms, 60s, 5m or 1h30m, came '{text}'");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let number: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, scale) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(wrong)?;
        seconds += number * scale;
        rest = &rest[letters..];
    }
    if seconds > SECONDS_MAX {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_written() {
        let cases = [
            ("60s", 60_000),
            ("5m", 300_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1.5s", 1_500),
            ("2d", 172_800_000),
            (" 0s ", 0),
        ];
        for (text, ms) in cases {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "60", "s", "-5s", "5 s", "5sec", "5m3", "1.2.3s", "1e9s", "999999999999d", "5µs", "．5s"] {
            let error = parse_duration(text).expect_err(text);
            assert!(error.starts_with("expected a duration") && error.contains(text), "{error}");
        }
    }
}
