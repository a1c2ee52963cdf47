//! Differences of cumulative counters that may wrap, or start again from zero.

/// A counter that fell from the top quarter of its 32 bits into the lowest quarter has wrapped, not restarted.
const QUARTER_U32: u64 = 1 << 30;

/// How much a cumulative counter grew from `before` to `after`.
///
/// A counter that went down either wrapped (32 or 64 bits: `before` close to the top, `after` close to zero) or began
/// again from zero with its switch. After a restart everything it shows has happened since, so that is the growth:
/// a lower bound, as what was counted between the last reading and the restart is lost.
pub fn growth(before: u64, after: u64) -> u64 {
    if after >= before {
        return after - before;
    }
    let top_of_u32 = u64::from(u32::MAX);
    if before <= top_of_u32 && before > top_of_u32 - QUARTER_U32 && after < QUARTER_U32 {
        return top_of_u32 - before + after + 1;
    }
    if before > u64::MAX - QUARTER_U32 && after < QUARTER_U32 {
        return after.wrapping_sub(before);
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_of_counters() {
        let table = [
            (0, 0, 0),
            (5, 12, 7),
            (100, 3, 3),
            (u64::from(u32::MAX) - 1, 3, 5),
            (u64::from(u32::MAX), 0, 1),
            (u64::MAX, 4, 5),
            (u64::from(u32::MAX) + 10, 4, 4),
            (u64::MAX / 2, 9, 9),
        ];
        for (before, after, expected) in table {
            assert_eq!(growth(before, after), expected, "{before} -> {after}");
        }
    }
}
