//! Figures, as those of figure.h: medians of samples taken in turns, and the line that report.py
//! reads. Invariant: the first turns of each warm and are thrown away.

const WARMING: usize = 8;

/// Samples of the reference and of ours.
pub struct Pair {
    reference: Vec<f64>,
    ours: Vec<f64>,
}

/// Runs both in turns; each returns its own sample.
pub fn in_turns(
    rounds: usize,
    mut reference: impl FnMut() -> f64,
    mut ours: impl FnMut() -> f64,
) -> Pair {
    let mut pair = Pair {
        reference: Vec::new(),
        ours: Vec::new(),
    };
    for turn in 0..rounds + WARMING {
        let (beside, value) = (reference(), ours());
        if turn >= WARMING {
            pair.reference.push(beside);
            pair.ours.push(value);
        }
    }
    pair.reference.sort_by(f64::total_cmp);
    pair.ours.sort_by(f64::total_cmp);
    pair
}

/// The value below which `part` of the samples lie.
fn quantile(samples: &[f64], part: f64) -> f64 {
    samples[((samples.len() - 1) as f64 * part) as usize]
}

/// One row: a value and its reference in `unit`, and whether the target is met.
pub struct Figure {
    name: &'static str,
    unit: &'static str,
    value: f64,
    reference: f64,
    low: f64,
    high: f64,
    against: &'static str,
    target: Option<(String, bool)>,
}

impl Figure {
    pub fn new(name: &'static str, unit: &'static str, pair: &Pair, against: &'static str) -> Self {
        Self {
            name,
            unit,
            value: quantile(&pair.ours, 0.5),
            reference: quantile(&pair.reference, 0.5),
            low: quantile(&pair.ours, 0.1),
            high: quantile(&pair.ours, 0.9),
            against,
            target: None,
        }
    }

    /// The same figure, of ns in which `bytes` were moved, as GB/s.
    pub fn rate_of(mut self, bytes: usize) -> Self {
        let rate = |ns: f64| bytes as f64 / ns;
        (self.value, self.reference) = (rate(self.value), rate(self.reference));
        (self.low, self.high) = (rate(self.high), rate(self.low));
        self.unit = "GB/s";
        self
    }

    pub fn ratio_at_most(mut self, limit: f64) -> Self {
        self.target = Some((format!("ratio <= {limit}"), self.ratio() <= limit));
        self
    }

    pub fn ratio_at_least(mut self, limit: f64) -> Self {
        self.target = Some((format!("ratio >= {limit}"), self.ratio() >= limit));
        self
    }

    fn ratio(&self) -> f64 {
        self.value / self.reference
    }

    pub fn print(&self) {
        let (target, met) = self
            .target
            .as_ref()
            .map_or(("null".into(), "null".into()), |it| {
                (format!("\"{}\"", it.0), it.1.to_string())
            });
        println!(
            "{{\"name\": \"{}\", \"value\": {:.4}, \"unit\": \"{}\", \"reference\": {:.4}, \
             \"ratio\": {:.4}, \"target\": {target}, \"met\": {met}, \"low\": {:.4}, \
             \"high\": {:.4}, \"against\": \"{}\"}}",
            self.name,
            self.value,
            self.unit,
            self.reference,
            self.ratio(),
            self.low,
            self.high,
            self.against
        );
    }
}
