//! Samples, and the table they end in. A quantile is taken over all samples of a contender; a ratio
//! is taken within each round, where both sides had the same neighbours, and the median of the
//! rounds is told with their range.

/// Times of one kind, in milliseconds.
#[derive(Debug, Default, Clone)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn extend(&mut self, other: &Samples) {
        self.0.extend(&other.0);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The nearest rank; NaN when there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }

    pub fn median(&self) -> f64 {
        self.quantile(0.5)
    }
}

impl FromIterator<f64> for Samples {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Samples {
        Samples(values.into_iter().collect())
    }
}

/// One contender at one time.
#[derive(Debug, Default, Clone)]
pub struct Round {
    pub times_ms: Samples,
    /// CPU time of everything the contender runs, for one operation.
    pub cpu_ms: f64,
    /// Operations a second; NaN where they were made one by one.
    pub per_second: f64,
}

/// One contender over all rounds.
#[derive(Debug, Default, Clone)]
pub struct Series {
    pub name: String,
    pub rounds: Vec<Round>,
}

impl Series {
    pub fn new(name: &str) -> Series {
        Series { name: name.to_owned(), rounds: Vec::new() }
    }

    pub fn all(&self) -> Samples {
        let mut all = Samples::default();
        self.rounds.iter().for_each(|round| all.extend(&round.times_ms));
        all
    }

    pub fn median_of(&self, value: impl Fn(&Round) -> f64) -> f64 {
        self.rounds.iter().map(value).collect::<Samples>().median()
    }

    /// The ratios within the rounds of this to `other`.
    fn ratios(&self, other: &Series, value: impl Fn(&Round) -> f64) -> Samples {
        let pairs = self.rounds.iter().zip(&other.rounds);
        pairs.map(|(ours, theirs)| value(ours) / value(theirs)).collect()
    }

    /// How many times as long as `other` this takes: the median of rounds, with their range.
    pub fn times_slower_than(&self, other: &Series) -> String {
        range(&self.ratios(other, |round| round.times_ms.median()))
    }

    /// How many times as much CPU.
    pub fn cpu_ratio_to(&self, other: &Series) -> String {
        range(&self.ratios(other, |round| round.cpu_ms))
    }

    /// How many times as many a second.
    pub fn rate_ratio_to(&self, other: &Series) -> String {
        range(&self.ratios(other, |round| round.per_second))
    }
}

fn range(values: &Samples) -> String {
    if values.len() == 0 {
        return "-".to_owned();
    }
    let (low, high) = (values.quantile(0.0), values.quantile(1.0));
    format!("{} ({}-{})", short(values.median()), short(low), short(high))
}

/// Three digits, or none after the point where there are more before it.
pub fn short(value: f64) -> String {
    match value {
        v if v.is_nan() => "-".to_owned(),
        v if v.abs() >= 100.0 => format!("{v:.0}"),
        v if v.abs() >= 10.0 => format!("{v:.1}"),
        v if v.abs() >= 0.1 => format!("{v:.2}"),
        v => format!("{v:.3}"),
    }
}

/// Lines of cells; the first line is the head.
#[derive(Debug)]
pub struct Table(Vec<Vec<String>>);

impl Table {
    pub fn new(head: &[&str]) -> Table {
        Table(vec![head.iter().map(|cell| (*cell).to_owned()).collect()])
    }

    pub fn row(&mut self, cells: &[&str]) {
        self.0.push(cells.iter().map(|cell| (*cell).to_owned()).collect());
    }

    /// In the form that a README takes too.
    pub fn print(&self) {
        let columns = self.0.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.0.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (index, row) in self.0.iter().enumerate() {
            let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}"));
            println!("| {} |", cells.collect::<Vec<_>>().join(" | "));
            if index == 0 {
                let rule = widths.iter().map(|width| "-".repeat(*width));
                println!("|-{}-|", rule.collect::<Vec<_>>().join("-|-"));
            }
        }
        println!();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let samples: Samples = (1..=100).map(f64::from).collect();
        assert_eq!(samples.median(), 50.0);
        assert_eq!(samples.quantile(0.99), 99.0);
        assert_eq!(samples.quantile(1.0), 100.0);
        assert_eq!(samples.quantile(0.0), 1.0);
        assert!(Samples::default().median().is_nan());
    }

    #[test]
    fn a_ratio_compares_rounds_with_the_same_neighbours() {
        let series = |medians: &[f64]| Series {
            name: String::new(),
            rounds: medians
                .iter()
                .map(|ms| Round { times_ms: [*ms].into_iter().collect(), ..Round::default() })
                .collect(),
        };
        // The second round was slow for both.
        let (slow, fast) = (series(&[10.0, 40.0, 12.0]), series(&[1.0, 4.0, 1.0]));
        assert_eq!(slow.times_slower_than(&fast), "10.0 (10.0-12.0)");
    }
}
