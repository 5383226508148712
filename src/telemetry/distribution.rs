//! Distributions: the histograms of the event path, counted in buckets at once.
//!
//! The exporter's own keep every value until somebody folds them. Two of those cost an event about as
//! much as all other metrics together (docs/performance.md), and memory until then.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use crate::telemetry::exporter::UNRECORDED;

/// A histogram with fixed buckets; a cheap handle.
#[derive(Clone, Debug)]
pub struct Distribution(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    scale: Scale,
    /// Values in each bucket, and above the last.
    counts: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a histogram is called, and where its buckets end.
#[derive(Debug)]
pub(super) struct Scale {
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// The ends of the buckets, in whole numbers of what is recorded.
    pub(super) bounds: &'static [u64],
    /// How many of these make one of the unit that is shown.
    pub(super) per_unit: u32,
}

impl Distribution {
    pub(super) fn new(scale: Scale) -> Self {
        let counts = (0..=scale.bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self((!UNRECORDED).then(|| Arc::new(Inner { scale, counts, sum: AtomicU64::new(0) })))
    }

    /// Counts a value.
    pub fn record(&self, value: u64) {
        let Some(inner) = &self.0 else { return };
        let bucket = inner.scale.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = inner.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        inner.sum.fetch_add(value, Relaxed);
    }

    /// Appends it in Prometheus' text format.
    pub(super) fn render(&self, text: &mut String) {
        if let Some(inner) = &self.0 {
            // Nothing that is written to a string fails.
            let _ = inner.write(text);
        }
    }
}

impl Inner {
    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Scale { name, help, bounds, .. } = self.scale;
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} histogram")?;
        let mut total = 0;
        for (count, bound) in self.counts.iter().zip(bounds.iter().map(Some).chain([None])) {
            total += count.load(Relaxed);
            match bound {
                Some(bound) => writeln!(text, "{name}_bucket{{le=\"{}\"}} {total}", self.shown(*bound))?,
                None => writeln!(text, "{name}_bucket{{le=\"+Inf\"}} {total}")?,
            }
        }
        writeln!(text, "{name}_sum {}\n{name}_count {total}\n", self.shown(self.sum.load(Relaxed)))
    }

    #[expect(clippy::cast_precision_loss, reason = "what is shown is a float")]
    fn shown(&self, value: u64) -> f64 {
        value as f64 / f64::from(self.scale.per_unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_up_to_the_end_of_their_bucket() {
        let scale =
            Scale { name: "a", help: "what it is", bounds: &[0, 2_000, 5_000_000], per_unit: 1_000_000 };
        let distribution = Distribution::new(scale);
        for value in [0, 0, 1, 2_000, 2_001, 5_000_001] {
            distribution.record(value);
        }
        let mut text = String::new();
        distribution.render(&mut text);
        let expected = "# HELP a what it is\n# TYPE a histogram\na_bucket{le=\"0\"} 2\na_bucket{le=\"0.002\"} 4\n\
                        a_bucket{le=\"5\"} 5\na_bucket{le=\"+Inf\"} 6\na_sum 5.004003\na_count 6\n\n";
        assert_eq!(text, expected);
    }
}
