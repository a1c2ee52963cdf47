//! A P4 program as `p4c-bm2-ss` compiles it to JSON, checked and turned into indices.

/// A program that cannot be executed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ProgramError {
    /// Where in the JSON: `action 'ingress.forward', primitive 2`.
    pub place: String,
    /// What was expected and what came.
    pub problem: String,
}

/// A loaded program. It holds no state: machines share it.
#[derive(Debug)]
pub struct Program {}

impl Program {
    /// Reads BMv2's JSON, format version 2.
    pub fn load(json: &str) -> Result<Self, ProgramError> {
        let _: serde_json::Value = serde_json::from_str(json)
            .map_err(|error| ProgramError { place: "JSON".to_owned(), problem: error.to_string() })?;
        Ok(Self {})
    }
}
