//! What all describe calls share: dry runs, resources asked for by id, and pages.

use crate::fault::Fault;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::BTreeSet;

/// Bytes of a NextToken; ours hold the id of a resource.
const TOKEN_BYTES_MAX: usize = 512;
/// What a token's content begins with, so that other text is not taken for one.
const TOKEN_MARK: &str = "ec2:";

/// How EC2 names a kind of resource in its answers to unknown ids.
pub struct Noun {
    /// As in `vpc-`.
    pub prefix: &'static str,
    /// As in `InvalidVpcID.NotFound`.
    pub not_found: &'static str,
    pub malformed: &'static str,
    /// As in `The vpc ID 'vpc-1' does not exist`. A name without `ID` is written as it is.
    pub name: &'static str,
}

/// Ends a dry run: with a signature that holds everything is allowed.
pub fn dry_run(dry_run: Option<bool>) -> Result<(), Fault> {
    let text = "Request would have succeeded, but DryRun flag is set.";
    match dry_run {
        Some(true) => Err(Fault::new("DryRunOperation", 412, text)),
        _ => Ok(()),
    }
}

/// Keeps the resources that were asked for by id. One that isn't there fails the call.
pub fn by_ids<T>(
    items: Vec<T>,
    ids: Option<&[String]>,
    noun: &Noun,
    id: impl Fn(&T) -> &Option<String>,
) -> Result<Vec<T>, Fault> {
    let Some(ids) = ids.filter(|ids| !ids.is_empty()) else { return Ok(items) };
    if let Some(bad) = ids.iter().find(|id| !id.starts_with(noun.prefix)) {
        return Err(malformed(noun, bad));
    }
    let known: BTreeSet<&str> = items.iter().filter_map(|item| id(item).as_deref()).collect();
    let missing: Vec<&str> =
        ids.iter().map(String::as_str).filter(|id| !known.contains(id)).collect();
    if !missing.is_empty() {
        return Err(Fault::client(noun.not_found, missing_text(noun, &missing)));
    }
    let wanted: BTreeSet<&str> = ids.iter().map(String::as_str).collect();
    let is_wanted = |item: &T| id(item).as_deref().is_some_and(|id| wanted.contains(id));
    Ok(items.into_iter().filter(is_wanted).collect())
}

/// The id has not the form of the noun's.
pub fn malformed(noun: &Noun, id: &str) -> Fault {
    let text = format!("Invalid id: \"{id}\" (expecting \"{}...\")", noun.prefix);
    Fault::client(noun.malformed, text)
}

pub fn missing(noun: &Noun, id: &str) -> Fault {
    Fault::client(noun.not_found, missing_text(noun, &[id]))
}

fn missing_text(noun: &Noun, missing: &[&str]) -> String {
    let (name, ids) = (noun.name, missing.join(", "));
    // NAT gateways are younger than the rest, and say it in their own way.
    if name == "NatGateway" {
        return format!("{name} {ids} was not found");
    }
    match (missing.len(), name.strip_suffix(" ID")) {
        (1, _) | (_, None) => format!("The {name} '{ids}' does not exist"),
        (_, Some(_)) => format!("The {name}s '{ids}' do not exist"),
    }
}

/// One page of what was found, in the order of ids, and the token for the next.
pub fn page<T>(
    mut items: Vec<T>,
    ids: Option<&[String]>,
    max_results: Option<i32>,
    next_token: Option<&str>,
    id: impl Fn(&T) -> &Option<String>,
) -> Result<(Vec<T>, Option<String>), Fault> {
    if ids.is_some_and(|ids| !ids.is_empty()) && max_results.is_some() {
        return Err(Fault::client(
            "InvalidParameterCombination",
            "The parameter maxResults cannot be used with a list of ids",
        ));
    }
    items.sort_by(|a, b| id(a).cmp(id(b)));
    if let Some(token) = next_token.filter(|token| !token.is_empty()) {
        let after = Some(open(token)?);
        items.retain(|item| *id(item) > after);
    }
    let Some(limit) = max_results.and_then(|n| usize::try_from(n).ok()) else {
        return Ok((items, None));
    };
    let more = items.len() > limit;
    items.truncate(limit);
    let last = items.last().and_then(|item| id(item).as_deref()).filter(|_| more);
    let token = last.map(|last| URL_SAFE_NO_PAD.encode(format!("{TOKEN_MARK}{last}")));
    Ok((items, token))
}

fn open(token: &str) -> Result<String, Fault> {
    let bad = || Fault::client("InvalidNextToken", "The specified NextToken is not valid.");
    if token.len() > TOKEN_BYTES_MAX {
        return Err(bad());
    }
    let content = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
    let content = String::from_utf8(content).map_err(|_| bad())?;
    content.strip_prefix(TOKEN_MARK).map(str::to_owned).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOUN: Noun = Noun {
        prefix: "x-",
        not_found: "InvalidX.NotFound",
        malformed: "InvalidX.Malformed",
        name: "x ID",
    };

    fn items() -> Vec<Option<String>> {
        (0..7).rev().map(|n| Some(format!("x-{n}"))).collect()
    }

    #[test]
    fn pages_join_to_the_whole() {
        let mut token = None;
        let mut seen = Vec::new();
        loop {
            let (page, next) =
                page(items(), None, Some(3), token.as_deref(), |item| item).expect("ours");
            assert!(page.len() <= 3);
            seen.extend(page.into_iter().flatten());
            token = next;
            if token.is_none() {
                break;
            }
        }
        assert_eq!(seen, ["x-0", "x-1", "x-2", "x-3", "x-4", "x-5", "x-6"]);
        let fault = page(items(), None, Some(3), Some("bad"), |item| item).expect_err("not ours");
        assert_eq!(fault.code, "InvalidNextToken");
        let ids = ["x-1".to_owned()];
        let fault = page(items(), Some(&ids), Some(5), None, |item| item).expect_err("both");
        assert_eq!(fault.code, "InvalidParameterCombination");
    }

    #[test]
    fn ids_that_are_not_there_fail_the_call() {
        let find = |ids: &[&str]| {
            let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
            by_ids(items(), Some(&ids), &NOUN, |item| item)
        };
        assert_eq!(find(&["x-1", "x-3", "x-1"]).expect("there").len(), 2);
        assert_eq!(find(&[]).expect("all").len(), 7);
        let fault = find(&["x-1", "x-8"]).expect_err("missing");
        assert_eq!(fault.code, "InvalidX.NotFound");
        assert_eq!(fault.message, "The x ID 'x-8' does not exist");
        assert_eq!(
            find(&["x-8", "x-9"]).expect_err("missing").message,
            "The x IDs 'x-8, x-9' do not exist"
        );
        assert_eq!(find(&["y-1"]).expect_err("malformed").code, "InvalidX.Malformed");
    }
}
