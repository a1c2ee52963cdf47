//! Numbers for things that have none: from their content, so that they stay the same whatever else a plan holds.

use std::collections::BTreeMap;

/// Numbers from 1, each for one key.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids {
    first: u16,
    taken: BTreeMap<u16, Vec<u32>>,
}

impl Ids {
    /// Numbers from `first`, which is 1 or more, to 65,535.
    pub(super) fn from(first: u16) -> Self {
        Self { first: first.max(1), taken: BTreeMap::new() }
    }

    /// The number of a key: where its hash leads, or the next that is free. `None` once all are taken. Keys have to
    /// come in the same order every time.
    pub(super) fn of(&mut self, key: &[u32]) -> Option<u16> {
        let room = u32::from(u16::MAX - self.first) + 1;
        let begin = hash(key) % room;
        for step in 0..room {
            let at = u32::from(self.first) + (begin + step) % room;
            let at = u16::try_from(at).expect("within the room below 2^16");
            match self.taken.get(&at) {
                Some(other) if other == key => return Some(at),
                Some(_) => {}
                None => {
                    self.taken.insert(at, key.to_vec());
                    return Some(at);
                }
            }
        }
        None
    }
}

/// FNV-1a, 32 bits.
fn hash(key: &[u32]) -> u32 {
    let bytes = key.iter().flat_map(|word| word.to_be_bytes());
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_from_content() {
        let (mut one, mut other) = (Ids::from(1), Ids::from(1));
        let keys: Vec<[u32; 2]> = (0..1_000).map(|key| [key, 7]).collect();
        let all: Vec<_> = keys.iter().map(|key| one.of(key).expect("room")).collect();
        let fewer: Vec<_> = keys.iter().step_by(3).map(|key| other.of(key).expect("room")).collect();
        let same = all.iter().step_by(3).zip(&fewer).filter(|(one, other)| one == other).count();
        assert!(same > fewer.len() * 95 / 100, "{same} of {}", fewer.len());
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "each is one key's");
        assert_eq!(one.of(&keys[5]), Some(all[5]), "asked again");
    }

    #[test]
    fn numbers_can_run_out() {
        let mut ids = Ids::from(u16::MAX - 2);
        let given: Vec<_> = (0..5).map(|key| ids.of(&[key])).collect();
        assert_eq!(given.iter().flatten().count(), 3);
        assert_eq!(given[3..], [None, None]);
    }
}
