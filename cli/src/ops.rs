//! `ops`: what operators ask of a running coordinator and tell it, over its admin GraphQL.
//!
//! URL and token are found in the coordinator's data directory, unless they are given.

use std::{fs, path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use eyre::{WrapErr, bail, eyre};
use l1::http::{AUTHORIZATION, Endpoint, HeaderValue, HttpClient, HttpLimits, TlsOptions};
use serde_json::{Value, json};

mod pool;

/// The file in which a coordinator says where its admin GraphQL listens.
pub const URL_FILE: &str = "admin-url";
/// The file with the token.
pub const TOKEN_FILE: &str = "admin-token";
/// Bisecting a large batch takes its time.
const TIMEOUT: Duration = Duration::from_secs(150);

const STATUS: &str = "version chainId contract term paused alarms openBatch openOperations sealedBatch provenBatch \
    finalBatch l1Head l1Final promisesNear promisesMissed jobCount \
    jobs { batch circuit phase attempt failures worker waitsFor } \
    pools { name workers inFlight window proofs badEnds malformed } \
    workers { id health reason backend circuits seen holds draining }";
const BATCH: &str = "number circuit stage waitsFor operations { id kind slots } \
    lines { at afterMs text } suspects { slot operation reason }";

#[derive(Args)]
pub struct Options {
    #[command(subcommand)]
    command: Command,
    /// The coordinator's data directory, where its URL and token are
    #[arg(long, global = true, default_value = "proofmill-data")]
    data_dir: PathBuf,
    /// Where its admin GraphQL listens, e.g. http://127.0.0.1:9090
    #[arg(long, global = true, env = "PROOFMILL_ADMIN_URL")]
    admin_url: Option<String>,
    /// The file with its token
    #[arg(long, global = true)]
    token_file: Option<PathBuf>,
    /// PEM certificates of authorities that an https:// address may have its own from, beside those the system knows
    #[arg(long, global = true, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print the answer as JSON
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Command {
    /// How everything is, on one screen
    Status,
    /// What happened to a batch or an operation, and what it waits for
    #[command(subcommand)]
    Explain(Explain),
    /// Send a poisoned or parked batch out again
    Requeue { batch: u32 },
    /// Let a worker finish what it proves and leave
    Drain { worker: String },
    /// Pools of workers, each with a credential of its own
    #[command(subcommand)]
    Pool(pool::Command),
    /// Refuse new operations; what was accepted goes on
    Pause,
    /// Take operations again
    Resume,
}

#[derive(Subcommand)]
enum Explain {
    Batch {
        number: u32,
    },
    /// By its id, 0x and 64 hexadecimal digits
    Operation {
        id: String,
    },
}

struct Admin {
    url: String,
    http: HttpClient,
    authorization: HeaderValue,
}

impl Admin {
    fn new(options: &Options) -> eyre::Result<Self> {
        let url = match &options.admin_url {
            Some(url) => url.clone(),
            None => {
                let path = options.data_dir.join(URL_FILE);
                fs::read_to_string(&path).wrap_err_with(|| {
                    format!("no coordinator has written {}; pass --data-dir or --admin-url", path.display())
                })?
            }
        };
        let path = options.token_file.clone().unwrap_or_else(|| options.data_dir.join(TOKEN_FILE));
        let token = fs::read_to_string(&path).wrap_err_with(|| {
            format!("cannot read the operators' token in {}; pass --token-file", path.display())
        })?;
        let url = url.trim().trim_end_matches('/').to_owned();
        let tls = TlsOptions { ca_file: options.ca.clone(), identity: None };
        let limits = HttpLimits { timeout: TIMEOUT, ..HttpLimits::default() };
        let http = HttpClient::new(&Endpoint::new(format!("{url}/graphql"), tls), limits)?;
        let mut authorization = HeaderValue::try_from(format!("Bearer {}", token.trim()))
            .wrap_err_with(|| format!("{} does not hold a token", path.display()))?;
        authorization.set_sensitive(true);
        Ok(Self { url, http, authorization })
    }

    /// The data of an answer.
    async fn ask(&self, document: String, variables: Value) -> eyre::Result<Value> {
        let request = json!({ "query": document, "variables": variables }).to_string();
        let headers = [(AUTHORIZATION, self.authorization.clone())];
        let answer = self.http.post(request.into_bytes(), &headers).await.map_err(|error| {
            eyre!("no coordinator answers at {} ({error}); is it the one that leads?", self.url)
        })?;
        let mut body: Value = serde_json::from_slice(&answer.body)
            .wrap_err_with(|| format!("{} answers {} without JSON", self.url, answer.status))?;
        if let Some(error) = body["errors"].get(0) {
            let code = error["extensions"]["code"].as_str().unwrap_or("ERROR");
            bail!("{code}: {}", error["message"].as_str().unwrap_or("no message"));
        }
        Ok(body["data"].take())
    }

    async fn status(&self) -> eyre::Result<Value> {
        Ok(self.ask(format!("{{ status {{ {STATUS} }} }}"), json!({})).await?["status"].take())
    }

    /// The status after a change.
    async fn change(&self, arguments: &str, field: &str, variables: Value) -> eyre::Result<Value> {
        let document = format!(
            "mutation{arguments} {{ done: {field} {{ status {{ {STATUS} }} userErrors {{ code message }} }} }}"
        );
        let mut done = self.ask(document, variables).await?["done"].take();
        if let Some(error) = done["userErrors"].get(0) {
            bail!("{}: {}", text(&error["code"]), text(&error["message"]));
        }
        Ok(done["status"].take())
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "–".to_owned(),
        other => other.to_string(),
    }
}

fn list(value: &Value) -> Vec<String> {
    value.as_array().map_or_else(Vec::new, |items| items.iter().map(text).collect())
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// # Errors
/// If the coordinator cannot be reached or refuses.
pub async fn run(options: Options) -> eyre::Result<()> {
    let admin = Admin::new(&options)?;
    let (answer, print): (Value, fn(&Value)) = match &options.command {
        Command::Status => (admin.status().await?, status),
        Command::Pool(command) => (pool::run(&admin, &options.data_dir, command).await?, pool::print),
        Command::Explain(Explain::Batch { number }) => {
            let document = format!("query($number: Int!) {{ explainBatch(number: $number) {{ {BATCH} }} }}");
            let mut data = admin.ask(document, json!({ "number": number })).await?;
            let explained = data["explainBatch"].take();
            eyre::ensure!(
                !explained.is_null(),
                "there is no batch {number}; `ops status` tells the last one"
            );
            (explained, batch)
        }
        Command::Explain(Explain::Operation { id }) => {
            let document = format!(
                "query($id: Bytes32!) {{ explainOperation(id: $id) {{ id kind sender recipient amount acceptedAt slots \
                 deadline batch {{ {BATCH} }} }} }}"
            );
            let mut data = admin.ask(document, json!({ "id": id })).await?;
            let explained = data["explainOperation"].take();
            eyre::ensure!(!explained.is_null(), "there is no operation {id}");
            (explained, operation)
        }
        Command::Requeue { batch } => {
            let variables = json!({ "batch": batch });
            (admin.change("($batch: Int!)", "requeue(batch: $batch)", variables).await?, status)
        }
        Command::Drain { worker } => {
            let variables = json!({ "id": worker });
            (admin.change("($id: String!)", "drainWorker(id: $id)", variables).await?, status)
        }
        Command::Pause => (admin.change("", "pause", json!({})).await?, status),
        Command::Resume => (admin.change("", "resume", json!({})).await?, status),
    };
    if options.json {
        say!("{}", serde_json::to_string_pretty(&answer)?);
    } else {
        print(&answer);
    }
    Ok(())
}

fn status(status: &Value) {
    let of = |name: &str| text(&status[name]);
    say!(
        "  proofmill {}, chain {}, contract {}, term {}",
        of("version"),
        of("chainId"),
        of("contract"),
        of("term")
    );
    say!(
        "  batches    {} open with {} operations, {} sealed, {} proven, {} final",
        of("openBatch"),
        of("openOperations"),
        of("sealedBatch"),
        of("provenBatch"),
        of("finalBatch")
    );
    say!("  L1         head {}, final {}", of("l1Head"), of("l1Final"));
    say!("  promises   {} near their deadline, {} missed", of("promisesNear"), of("promisesMissed"));
    say!("  jobs       {}", of("jobCount"));
    for job in items(&status["jobs"]) {
        let of = |name: &str| text(&job[name]);
        say!(
            "    batch {:<6} {:<8} {:<10} attempt {:<3} {}",
            of("batch"),
            of("circuit"),
            of("phase"),
            of("attempt"),
            of("waitsFor")
        );
    }
    say!("  pools      {}", items(&status["pools"]).len());
    pool::print(status);
    say!("  workers    {}", items(&status["workers"]).len());
    for worker in items(&status["workers"]) {
        let of = |name: &str| text(&worker[name]);
        let draining = if worker["draining"] == true { ", draining" } else { "" };
        let reason = worker["reason"].as_str().map_or_else(String::new, |reason| format!(": {reason}"));
        say!(
            "    {:<20} {}{draining}{reason}, {} {}, holds [{}]",
            of("id"),
            of("health"),
            of("backend"),
            list(&worker["circuits"]).join(","),
            list(&worker["holds"]).join(", ")
        );
    }
    if status["paused"] == true {
        say!("  ✗ paused: new operations are refused; `ops resume` ends it");
    }
    for alarm in list(&status["alarms"]) {
        say!("  ✗ {alarm}");
    }
}

fn batch(batch: &Value) {
    let of = |name: &str| text(&batch[name]);
    say!("  batch {} ({}), {}", of("number"), of("circuit"), of("stage").to_lowercase());
    say!("  {}", of("waitsFor"));
    for operation in items(&batch["operations"]) {
        let slots = list(&operation["slots"]).join(", ");
        say!(
            "    {} {:<12} slots [{slots}]",
            text(&operation["id"]),
            text(&operation["kind"]).to_lowercase()
        );
    }
    for line in items(&batch["lines"]) {
        let after = Duration::from_millis(text(&line["afterMs"]).parse().unwrap_or(0));
        // A duration of nothing would be shown in nanoseconds.
        let after = if after.is_zero() { "+0.0s".to_owned() } else { format!("+{after:.1?}") };
        say!("    {:<32} {after:>10}  {}", text(&line["at"]), text(&line["text"]));
    }
    let Some(suspects) = batch["suspects"].as_array() else { return };
    if suspects.is_empty() {
        say!(
            "  Every slot can be proved: suspect the prover, its key or its card, by what each worker reported above."
        );
    }
    for suspect in suspects {
        let place = match suspect["slot"].as_u64() {
            Some(slot) => format!("slot {slot}, operation {}", text(&suspect["operation"])),
            None => "the batch as a whole".to_owned(),
        };
        say!("  ✗ {place} cannot be proved: {}", text(&suspect["reason"]));
    }
}

fn operation(operation: &Value) {
    let of = |name: &str| text(&operation[name]);
    say!("  operation {}, {} of {} coins", of("id"), of("kind").to_lowercase(), of("amount"));
    say!("  from {} to {}, accepted at {}", of("sender"), of("recipient"), of("acceptedAt"));
    say!(
        "  slots [{}] of batch {}",
        list(&operation["slots"]).join(", "),
        text(&operation["batch"]["number"])
    );
    if let Some(deadline) = operation["deadline"].as_str() {
        say!("  {deadline}");
    }
    batch(&operation["batch"]);
}
