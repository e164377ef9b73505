//! `neargate ps`, `neargate instances` and `neargate images`: tables for a quick look.

use crate::cli::{Images, ImagesAction, Instances, InstancesAction, Ps};
use crate::client::{Client, list};
use crate::tasks;
use anyhow::Result;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub async fn ps(ps: &Ps) -> Result<()> {
    let client = Client::of(&ps.folder.data_dir)?;
    let clusters = match &ps.cluster {
        Some(cluster) => vec![cluster.clone()],
        None => tasks::clusters(&client).await?,
    };
    let header = ["TASK", "CLUSTER", "DEFINITION", "STATUS", "ADDRESS", "EXIT", "REASON"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for cluster in &clusters {
        for task in tasks::of_cluster(&client, cluster, ps.all).await? {
            rows.push(row(&task));
        }
    }
    print_table(&rows);
    Ok(())
}

fn row(task: &Value) -> Vec<String> {
    let text = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or("-");
    let last = |name: &str| text(name).rsplit('/').next().unwrap_or("-").to_owned();
    let containers = list(task, "containers");
    let codes = containers.iter().filter_map(|container| container.get("exitCode"));
    let codes: Vec<String> = codes.map(ToString::to_string).collect();
    let address = containers.iter().find_map(|container| {
        container.pointer("/networkInterfaces/0/privateIpv4Address")?.as_str()
    });
    // Of a task that has not stopped its containers may tell: why it waits, for one.
    let stopped = task.get("stoppedReason").and_then(Value::as_str);
    let reason = stopped.or_else(|| containers.iter().find_map(|it| it.get("reason")?.as_str()));
    vec![
        tasks::id(task).to_owned(),
        last("clusterArn"),
        last("taskDefinitionArn"),
        text("lastStatus").to_owned(),
        address.unwrap_or("-").to_owned(),
        if codes.is_empty() { "-".to_owned() } else { codes.join(",") },
        reason.unwrap_or("-").to_owned(),
    ]
}

pub async fn instances(instances: &Instances) -> Result<()> {
    let client = Client::of(&instances.folder.data_dir)?;
    if let Some(action) = &instances.action {
        let (id, call) = match action {
            InstancesAction::Drain { id } => (id, "drain"),
            InstancesAction::Activate { id } => (id, "activate"),
            InstancesAction::Forget { id } => (id, "forget"),
        };
        client.operate(&format!("/neargate/v1/instances/{id}/{call}")).await?;
        if let InstancesAction::Drain { id } = action {
            let answer = client.operator("/neargate/v1/instances").await?;
            let known = list(&answer, "instances").iter();
            let mut drained = known.filter(|it| it.get("id").and_then(Value::as_str) == Some(id));
            print!("{}", drained.next().map(left_in_words).unwrap_or_default());
        }
        return Ok(());
    }
    let answer = client.operator("/neargate/v1/instances").await?;
    let header = [
        "INSTANCE",
        "NAME",
        "ZONE",
        "ADDRESS",
        "STATE",
        "TASKS",
        "CPU UNITS",
        "MEMORY MIB",
        "LEFT",
    ];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for instance in list(&answer, "instances") {
        let text = |name: &str| instance.get(name).and_then(Value::as_str).unwrap_or("-");
        let number = |name: &str| instance.get(name).and_then(Value::as_u64).unwrap_or(0);
        let of = |taken: &str, all: &str| format!("{} of {}", number(taken), number(all));
        rows.push(vec![
            text("id").to_owned(),
            text("name").to_owned(),
            text("zone").to_owned(),
            text("address").to_owned(),
            match instance.get("connected").and_then(Value::as_bool) {
                Some(false) => format!("{} (away)", text("state")),
                _ => text("state").to_owned(),
            },
            number("tasks").to_string(),
            of("cpuUnitsAllocated", "cpuUnits"),
            of("memoryMibAllocated", "memoryMib"),
            left(instance),
        ]);
    }
    print_table(&rows);
    Ok(())
}

/// What an instance that drains still has: of services, and of nobody.
fn left(instance: &Value) -> String {
    let Some(left) = instance.get("left").filter(|left| left.is_object()) else {
        return "-".to_owned();
    };
    let number = |name: &str| left.get(name).and_then(Value::as_u64).unwrap_or(0);
    match (number("toMove"), number("toEnd")) {
        (0, 0) => "nothing".to_owned(),
        (to_move, 0) => format!("{to_move} to move"),
        (0, to_end) => format!("{to_end} to end"),
        (to_move, to_end) => format!("{to_move} to move, {to_end} to end"),
    }
}

/// The same with the tasks that nobody moves, as an operator has to see to them.
fn left_in_words(instance: &Value) -> String {
    let mut text = format!("left on it: {}\n", left(instance));
    let tasks = instance.pointer("/left/tasks").and_then(Value::as_array);
    for task in tasks.into_iter().flatten() {
        let of = |name: &str| task.get(name).and_then(Value::as_str).unwrap_or("-");
        if !of("group").starts_with("service:") {
            let (id, cluster, status) = (of("id"), of("cluster"), of("status"));
            text.push_str(&format!("  {id} in cluster {cluster}, {status}, goes on\n"));
        } else if task.get("protectedUntilMs").is_some_and(Value::is_number) {
            let (id, group) = (of("id"), of("group"));
            text.push_str(&format!("  {id} of {group} is protected for now\n"));
        }
    }
    text
}

pub async fn images(images: &Images) -> Result<()> {
    let client = Client::of(&images.folder.data_dir)?;
    if let Some(ImagesAction::Prune) = images.action {
        let answer = client.operate("/neargate/v1/images/prune").await?;
        for digest in list(&answer, "images") {
            println!("removed {}", digest.as_str().unwrap_or_default());
        }
        let bytes = answer.get("bytesFreed").and_then(Value::as_u64).unwrap_or(0);
        println!("{} freed", size(bytes));
        return Ok(());
    }
    let answer = client.operator("/neargate/v1/images").await?;
    let header = ["IMAGE", "DIGEST", "PLATFORM", "UNPACKED", "LAST USED", "HELD BY"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for image in list(&answer, "images") {
        rows.push(image_row(image, SystemTime::now()));
    }
    print_table(&rows);
    Ok(())
}

fn image_row(image: &Value, now: SystemTime) -> Vec<String> {
    let text = |name: &str| image.get(name).and_then(Value::as_str).unwrap_or("-");
    let number = |name: &str| image.get(name).and_then(Value::as_u64).unwrap_or(0);
    let texts = |name: &str| {
        let all = list(image, name);
        all.iter().filter_map(|it| it.as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let used = UNIX_EPOCH + Duration::from_millis(number("usedAtMs"));
    let in_use = image.get("inUse").and_then(Value::as_bool).unwrap_or(false);
    let held = match texts("tasks") {
        tasks if !tasks.is_empty() => tasks.join(","),
        _ if in_use => "a start under way".to_owned(),
        _ => "-".to_owned(),
    };
    let references = texts("references");
    vec![
        if references.is_empty() { "-".to_owned() } else { references.join(",") },
        text("digest").chars().take("sha256:".len() + 12).collect(),
        text("platform").to_owned(),
        size(number("unpackedBytes")),
        ago(now.duration_since(used).unwrap_or_default()),
        held,
    ]
}

fn size(bytes: u64) -> String {
    let tenths = |unit: u64| format!("{}.{}", bytes / unit, bytes % unit * 10 / unit);
    match bytes {
        0..1_000_000 => format!("{} kB", tenths(1_000)),
        1_000_000..1_000_000_000 => format!("{} MB", tenths(1_000_000)),
        _ => format!("{} GB", tenths(1_000_000_000)),
    }
}

fn ago(since: Duration) -> String {
    match since.as_secs() {
        seconds @ 0..60 => format!("{seconds} s ago"),
        seconds @ 60..3600 => format!("{} min ago", seconds / 60),
        seconds @ 3600..86_400 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86_400),
    }
}

fn print_table(rows: &[Vec<String>]) {
    print!("{}", table(rows));
}

/// Columns as wide as their widest cell.
fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |n: usize| rows.iter().filter_map(move |row| row.get(n));
    let widths: Vec<usize> = (0..columns)
        .map(|n| cells(n).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in rows {
        let padded = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        out.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_one_row() {
        let image = serde_json::json!({
            "digest": format!("sha256:{}", "0123456789abcdef".repeat(4)),
            "platform": "linux/amd64",
            "references": ["docker.io/library/nginx:latest"],
            "unpackedBytes": 30_400_000,
            "usedAtMs": 1_000_000,
            "tasks": [],
            "inUse": false,
        });
        let row = image_row(&image, UNIX_EPOCH + Duration::from_secs(1000 + 7300));
        let expected = [
            "docker.io/library/nginx:latest",
            "sha256:0123456789ab",
            "linux/amd64",
            "30.4 MB",
            "2 h ago",
            "-",
        ];
        assert_eq!(row, expected);
    }

    #[test]
    fn what_is_left_is_told_in_a_column_and_in_words() {
        let task = |id: &str, group: &str, until: Option<u64>| {
            serde_json::json!({
                "id": id, "cluster": "default", "group": group, "status": "RUNNING",
                "protectedUntilMs": until,
            })
        };
        let tasks = [
            task("a", "service:web", None),
            task("b", "family:job", None),
            task("c", "service:web", Some(9)),
        ];
        let draining = serde_json::json!({"left": {"toMove": 2, "toEnd": 1, "tasks": tasks}});
        assert_eq!(left(&draining), "2 to move, 1 to end");
        let words = "left on it: 2 to move, 1 to end\n  b in cluster default, RUNNING, goes \
                     on\n  c of service:web is protected for now\n";
        assert_eq!(left_in_words(&draining), words);
        let empty = serde_json::json!({"left": {"toMove": 0, "toEnd": 0, "tasks": []}});
        assert_eq!(left(&empty), "nothing");
        assert_eq!(left(&serde_json::json!({"left": null})), "-");
    }

    #[test]
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["TASK", "STATUS"]), row(["0123456", "RUNNING"])]);
        assert_eq!(text, "TASK     STATUS\n0123456  RUNNING\n");
    }
}
