//! AWS's names in Rust's spelling. The wire keeps AWS's spelling through the literals beside each
//! field, so these functions need only be readable and free of collisions.

/// `enableECSManagedTags` becomes `enable_ecs_managed_tags`.
pub fn field(name: &str) -> String {
    let mut word = name.to_owned();
    // Words whose capitals don't mark the start of a word.
    for (from, to) in [
        ("IPv4", "Ipv4"),
        ("IPv6", "Ipv6"),
        ("GiB", "Gib"),
        ("MiB", "Mib"),
        ("vCpu", "Vcpu"),
        ("ARNs", "Arns"),
        ("IDs", "Ids"),
    ] {
        word = word.replace(from, to);
    }
    let chars: Vec<char> = word.chars().collect();
    let mut out = String::new();
    for (i, c) in chars.iter().copied().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let after = chars.get(i + 1).copied();
        let starts_word = c.is_ascii_uppercase()
            && before.is_some_and(|b| {
                b.is_ascii_lowercase()
                    || b.is_ascii_digit()
                    || (b.is_ascii_uppercase() && after.is_some_and(|a| a.is_ascii_lowercase()))
            });
        if starts_word {
            out.push('_');
        }
        out.push(if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' });
    }
    if is_keyword(&out) { format!("r#{out}") } else { out }
}

/// AWS's name of a type, with a capital in front.
pub fn type_name(name: &str) -> String {
    let mut chars = name.chars();
    match chars.next() {
        Some(first) => first.to_ascii_uppercase().to_string() + chars.as_str(),
        None => String::new(),
    }
}

/// `FARGATE_SPOT` and `fargate-spot` become `FargateSpot`.
pub fn variant(value: &str) -> String {
    let mut out = String::new();
    for word in value.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()) {
        let shouted = !word.chars().any(|c| c.is_ascii_lowercase());
        let mut chars = word.chars();
        let first = chars.next().expect("empty words were dropped");
        out.push(first.to_ascii_uppercase());
        if shouted {
            out.extend(chars.map(|c| c.to_ascii_lowercase()));
        } else {
            out.extend(chars);
        }
    }
    if out.starts_with(|c: char| c.is_ascii_digit()) {
        out.insert(0, 'V');
    }
    match out.as_str() {
        "" => "Empty".to_owned(),
        "Self" => "SelfValue".to_owned(),
        _ => out,
    }
}

fn is_keyword(word: &str) -> bool {
    const KEYWORDS: &[&str] = &[
        "as", "async", "await", "box", "break", "const", "continue", "do", "dyn", "else", "enum",
        "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "match",
        "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "static", "struct",
        "trait", "true", "try", "type", "typeof", "unsafe", "use", "virtual", "where", "while",
        "yield", "macro", "abstract", "become", "final", "unsized",
    ];
    KEYWORDS.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_snake_case() {
        for (aws, rust) in [
            ("cluster", "cluster"),
            ("enableECSManagedTags", "enable_ecs_managed_tags"),
            ("privateIPv4Address", "private_ipv4_address"),
            ("sizeInGiB", "size_in_gib"),
            ("type", "r#type"),
            ("logGroupARNs", "log_group_arns"),
            ("UserId", "user_id"),
            ("s3BucketName", "s3_bucket_name"),
        ] {
            assert_eq!(field(aws), rust);
        }
    }

    #[test]
    fn variants_are_pascal_case() {
        for (aws, rust) in [
            ("FARGATE_SPOT", "FargateSpot"),
            ("linux/amd64", "LinuxAmd64"),
            ("EC2", "Ec2"),
            ("2xlarge", "V2xlarge"),
            ("taskLongArnFormat", "TaskLongArnFormat"),
        ] {
            assert_eq!(variant(aws), rust);
        }
    }
}
