//! Measurements as a table for people.

use serde_json::Value;

/// # Errors
/// None today; the signature is that of its siblings.
pub fn print(lines: &[Value]) -> eyre::Result<()> {
    let mut cards: Vec<&Value> = lines.iter().filter(|line| line["work"] == "card").collect();
    cards.dedup_by_key(|line| text(&line["uuid"]));
    for line in cards {
        let caution = if line["simulated"] == true { ": times say nothing" } else { "" };
        println!("{} ({}){caution}", text(&line["card"]), text(&line["versions"]));
    }
    println!("{:<16} {:>6} {:<8} {:<22} {:>12} {:>10}", "work", "size", "who", "what", "median ms", "ratio");
    for line in lines {
        match text(&line["work"]).as_str() {
            "card" => {}
            "peer" => println!(
                "{:<16} {:>6} {:<8} missing: {}",
                "peer",
                "",
                text(&line["who"]),
                text(&line["missing"])
            ),
            "check" => println!("{:<16} {:>6} {:<8} passed", "check", size(line), text(&line["who"])),
            work => println!(
                "{work:<16} {:>6} {:<8} {:<22} {:>12} {:>10}",
                size(line),
                text(&line["who"]),
                what(line),
                number(&line["median_ms"]),
                number(&line["over_ours"]),
            ),
        }
    }
    Ok(())
}

fn what(line: &Value) -> String {
    let parts = [("circuit", ""), ("scalars", ""), ("copies", "copies ")];
    let named = parts.iter().filter(|(key, _)| !line[key].is_null());
    named.map(|(key, prefix)| format!("{prefix}{}", text(&line[key]))).collect::<Vec<_>>().join(", ")
}

fn size(line: &Value) -> String {
    line["size"].as_u64().map_or_else(String::new, |log| format!("2^{log}"))
}

fn number(value: &Value) -> String {
    value.as_f64().map_or_else(String::new, |value| format!("{value:.3}"))
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| if value.is_null() { String::new() } else { value.to_string() }, str::to_owned)
}
