//! The gap file says what the tables say.

use std::collections::BTreeSet;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/gap.txt");

#[test]
fn the_gap_file_is_up_to_date() {
    let now = frontend::gap::render();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(FILE, &now).expect("gap.txt can be written");
    }
    let kept = std::fs::read_to_string(FILE).unwrap_or_default();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    let (only_kept, only_now) = (&lines(&kept) - &lines(&now), &lines(&now) - &lines(&kept));
    let advice = "run this test with UPDATE=1 and review the difference";
    assert!(kept == now, "{advice}\nno longer: {only_kept:#?}\nnew: {only_now:#?}");
}
