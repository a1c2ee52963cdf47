//! Which version of P4Runtime a switch speaks (section 17), and what follows from it.

use crate::southbound::Description;

/// Versions this controller was made for: what they share is all it uses.
const MINOR_MIN: u32 = 3;
const MINOR_MAX: u32 = 5;

/// A semantic version, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ApiVersion {
    pub major: u32,
    pub minor: u32,
}

impl ApiVersion {
    /// `1.4.1`, `v1.3.0-rc.1`; `None` for what is no version.
    pub fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.trim_start_matches('v').split(['.', '-', '+']);
        let mut number = || numbers.next()?.parse().ok();
        Some(Self { major: number()?, minor: number()? })
    }

    /// Whether it is one of those that this controller was made for; others are tried all the same.
    pub fn is_known(self) -> bool {
        self.major == 1 && (MINOR_MIN..=MINOR_MAX).contains(&self.minor)
    }

    /// Since 1.4 replicas have ports as bytes.
    pub fn has_port_bytes(self) -> bool {
        self >= Self { major: 1, minor: 4 }
    }
}

/// A switch tells of itself no more than a version.
pub(super) fn describe(version: Option<&str>, program: &str) -> Description {
    let software = version.map_or_else(|| "P4Runtime".to_owned(), |version| format!("P4Runtime {version}"));
    Description { software, datapath: program.to_owned(), ..Description::default() }
}

#[cfg(test)]
mod tests {
    use super::ApiVersion;

    #[test]
    fn versions_are_read_and_judged() {
        let cases = [
            ("1.3.0", Some((1, 3)), true, false),
            ("1.4.1", Some((1, 4)), true, true),
            ("v1.5.0-rc.1", Some((1, 5)), true, true),
            ("1.2", Some((1, 2)), false, false),
            ("1.6.0", Some((1, 6)), false, true),
            ("2.0.0", Some((2, 0)), false, true),
            ("1", None, false, false),
            ("", None, false, false),
            ("next", None, false, false),
        ];
        for (text, parsed, known, port_bytes) in cases {
            let version = ApiVersion::parse(text);
            assert_eq!(version.map(|version| (version.major, version.minor)), parsed, "{text}");
            assert_eq!(version.is_some_and(ApiVersion::is_known), known, "{text}");
            assert_eq!(version.is_some_and(ApiVersion::has_port_bytes), port_bytes, "{text}");
        }
    }
}
