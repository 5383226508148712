//! What a run has found, for people and for machines.

use std::io;
use std::io::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::Map;
use serde_json::Value;

/// Figures in the order in which they are shown.
#[derive(Debug, Default)]
pub struct Report(Vec<Figure>);

#[derive(Debug)]
struct Figure {
    /// The key in JSON.
    key: String,
    value: Value,
    unit: &'static str,
}

impl Report {
    /// Adds a figure; `key` says in words what it is, with underscores.
    pub fn add(&mut self, key: &str, value: impl Into<Value>, unit: &'static str) {
        self.0.push(Figure { key: key.to_owned(), value: value.into(), unit });
    }

    /// Adds `value`, to three decimals.
    pub fn add_fraction(&mut self, key: &str, value: f64, unit: &'static str) {
        self.add(key, (value * 1000.0).round() / 1000.0, unit);
    }

    /// Adds percentiles of nanoseconds, as milliseconds.
    pub fn add_latency(&mut self, key: &str, nanoseconds: &Histogram<u64>) {
        if nanoseconds.is_empty() {
            return;
        }
        for (name, quantile) in [("p50", 0.5), ("p99", 0.99), ("p99_9", 0.999), ("max", 1.0)] {
            let value = Duration::from_nanos(nanoseconds.value_at_quantile(quantile));
            self.add_fraction(&format!("{key}_{name}"), value.as_secs_f64() * 1000.0, "ms");
        }
    }

    /// Prints everything, as one line of JSON or as a table.
    pub fn print(self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            let map: Map<_, _> = self.0.into_iter().map(|figure| (figure.key, figure.value)).collect();
            return writeln!(out, "{}", Value::Object(map));
        }
        let width = self.0.iter().map(|figure| figure.key.len()).max().unwrap_or_default();
        for Figure { key, value, unit } in self.0 {
            let name = key.replace('_', " ");
            let value = value.as_str().map_or_else(|| grouped(&value.to_string()), str::to_owned);
            writeln!(out, "{}", format!("{name:width$}  {value:>15} {unit}").trim_end())?;
        }
        Ok(())
    }
}

/// A number with a comma between each three digits.
fn grouped(number: &str) -> String {
    let (whole, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at) % 3 == 0 && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text + fraction
}

/// `a` of `b`, as a ratio; nothing of nothing is nothing.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub fn ratio(a: u64, b: f64) -> f64 {
    if b > 0.0 { a as f64 / b } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_groups() {
        for (number, text) in [("7", "7"), ("1234", "1,234"), ("123456.5", "123,456.5"), ("0.25", "0.25")] {
            assert_eq!(grouped(number), text);
        }
    }
}
