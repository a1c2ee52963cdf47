//! How durations of connections are spread around their mean: memoryless, or by published distributions of flow sizes.
//!
//! A distribution of sizes becomes one class a tenth of its probability, whose factor is the mean size of the class over
//! the mean of all: at one rate a flow of so many bytes lasts so long. Points are read off the figures of the papers,
//! in (bytes, part of flows at most so large).

/// One class of durations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Class {
    /// Part of new connections.
    pub share: f64,
    /// Mean duration over that of all.
    pub factor: f64,
}

/// Classes whose shares add up to 1, and whose factors average to 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    name: &'static str,
    classes: Vec<Class>,
}

/// Web search (Alizadeh et al., "Data Center TCP", SIGCOMM 2010).
const WEB_SEARCH: [(f64, f64); 12] = [
    (0.0, 0.0),
    (10e3, 0.15),
    (20e3, 0.20),
    (30e3, 0.30),
    (50e3, 0.40),
    (80e3, 0.53),
    (200e3, 0.60),
    (1e6, 0.70),
    (2e6, 0.80),
    (5e6, 0.90),
    (10e6, 0.97),
    (30e6, 1.0),
];
/// Data mining (Greenberg et al., "VL2", SIGCOMM 2009).
const DATA_MINING: [(f64, f64); 13] = [
    (0.0, 0.0),
    (180.0, 0.1),
    (216.0, 0.2),
    (560.0, 0.3),
    (900.0, 0.4),
    (1_100.0, 0.5),
    (1_870.0, 0.6),
    (3_160.0, 0.7),
    (10e3, 0.8),
    (400e3, 0.9),
    (3.16e6, 0.95),
    (100e6, 0.98),
    (1e9, 1.0),
];
/// Storage (Li et al., "HPCC", SIGCOMM 2019, figure of the storage cluster).
const STORAGE: [(f64, f64); 9] = [
    (0.0, 0.0),
    (4e3, 0.2293),
    (8e3, 0.6921),
    (16e3, 0.8061),
    (32e3, 0.9047),
    (64e3, 0.9353),
    (128e3, 0.9677),
    (256e3, 0.9753),
    (2e6, 1.0),
];

impl Shape {
    pub const NAMES: [&str; 4] = ["exponential", "web-search", "data-mining", "storage"];

    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "exponential" => Some(Self::exponential()),
            "web-search" => Some(Self::web_search()),
            "data-mining" => Some(Self::of("data-mining", &DATA_MINING)),
            "storage" => Some(Self::of("storage", &STORAGE)),
            _ => None,
        }
    }

    pub fn exponential() -> Self {
        Self { name: "exponential", classes: vec![Class { share: 1.0, factor: 1.0 }] }
    }

    pub fn web_search() -> Self {
        Self::of("web-search", &WEB_SEARCH)
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// One class between two points: sizes between them are taken as evenly spread.
    fn of(name: &'static str, points: &[(f64, f64)]) -> Self {
        let pieces = points.windows(2).map(|pair| (pair[1].1 - pair[0].1, f64::midpoint(pair[0].0, pair[1].0)));
        let mean: f64 = pieces.clone().map(|(share, size)| share * size).sum();
        // Classes of a thousandth of the mean have ended before anybody could count them: one floor for all of them.
        let classes: Vec<Class> =
            pieces.map(|(share, size)| Class { share, factor: (size / mean).max(1e-3) }).collect();
        let sum: f64 = classes.iter().map(|class| class.share * class.factor).sum();
        let classes = classes.into_iter().map(|class| Class { factor: class.factor / sum, ..class });
        Self { name, classes: classes.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_averages_to_one() {
        for name in Shape::NAMES {
            let shape = Shape::parse(name).expect("listed");
            let share: f64 = shape.classes().iter().map(|class| class.share).sum();
            let mean: f64 = shape.classes().iter().map(|class| class.share * class.factor).sum();
            assert!((share - 1.0).abs() < 1e-9 && (mean - 1.0).abs() < 1e-9, "{name}: {share} {mean}");
        }
        assert_eq!(Shape::parse("pareto"), None);
        // DATA.md of the sizes gives 1.711 MB for web search; straight lines between the points give the same.
        let mean: f64 = WEB_SEARCH.windows(2).map(|p| (p[1].1 - p[0].1) * f64::midpoint(p[0].0, p[1].0)).sum();
        assert!((mean - 1.711e6).abs() < 2e3, "{mean}");
    }
}
