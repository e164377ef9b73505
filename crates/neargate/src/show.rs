//! `neargate ps` and `neargate instances`: tables for a quick look.

use crate::cli::{Folder, Ps};
use crate::client::{Client, list};
use crate::tasks;
use anyhow::Result;
use serde_json::Value;

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
    vec![
        tasks::id(task).to_owned(),
        last("clusterArn"),
        last("taskDefinitionArn"),
        text("lastStatus").to_owned(),
        address.unwrap_or("-").to_owned(),
        if codes.is_empty() { "-".to_owned() } else { codes.join(",") },
        text("stoppedReason").to_owned(),
    ]
}

pub async fn instances(folder: &Folder) -> Result<()> {
    let client = Client::of(&folder.data_dir)?;
    let answer = client.operator("/neargate/v1/instances").await?;
    let header = ["INSTANCE", "NAME", "ZONE", "STATE", "TASKS", "CPU UNITS", "MEMORY MIB"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    for instance in list(&answer, "instances") {
        let text = |name: &str| instance.get(name).and_then(Value::as_str).unwrap_or("-");
        let number = |name: &str| instance.get(name).and_then(Value::as_u64).unwrap_or(0);
        let of = |taken: &str, all: &str| format!("{} of {}", number(taken), number(all));
        rows.push(vec![
            text("id").to_owned(),
            text("name").to_owned(),
            text("zone").to_owned(),
            text("state").to_owned(),
            number("tasks").to_string(),
            of("cpuUnitsAllocated", "cpuUnits"),
            of("memoryMibAllocated", "memoryMib"),
        ]);
    }
    print_table(&rows);
    Ok(())
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
    fn columns_line_up() {
        let row = |cells: [&str; 2]| cells.map(str::to_owned).to_vec();
        let text = table(&[row(["TASK", "STATUS"]), row(["0123456", "RUNNING"])]);
        assert_eq!(text, "TASK     STATUS\n0123456  RUNNING\n");
    }
}
