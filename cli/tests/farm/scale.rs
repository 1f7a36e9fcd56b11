//! A farm from no worker to some and back to none, as an autoscaler runs it; and one without an autoscaler, which promises
//! nothing without workers. Everything is real: the wallet's commands, the node, Redis, the proofs.

use super::*;

/// Two funded accounts of anvil: the operator's and a payer's.
const OPERATOR: &str = "2a871d0798f97d79848a013d4936a73bf4cc922c825d33c1cf7073dff6d409c6";
const PAYER: &str = "59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d";
const PAYEE: &str = "0x3c44cdddb6a900fa2b585dd299e03d12fa4293bc";
const KEYS: &str = "pm:scale-test";

struct Scaled {
    folder: tempfile::TempDir,
    redis: Redis,
    _anvil: Process,
    rpc: String,
}

impl Scaled {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (anvil, rpc) = anvil();
        let scaled = Self { folder, redis: Redis::start().unwrap(), _anvil: anvil, rpc };
        let key = scaled.folder.path().join("owner.key");
        fs::write(&key, OPERATOR).unwrap();
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        scaled.does(&["keys", "setup-dev", "--out", "keys"]);
        let settings = scaled.does(&["deploy", "--print-config"]);
        fs::write(scaled.folder.path().join("settings.toml"), settings).unwrap();
        let rpc = scaled.rpc.clone();
        let deploy = ["deploy", "--rpc", &rpc, "--key-file", "owner.key", "--config", "settings.toml"];
        scaled.does(&[&deploy[..], &["--keys", "keys", "--yes"]].concat());
        scaled
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.folder.path()).stdin(Stdio::null());
        command.env_remove("PROOFMILL_DATABASE_URL").env("PROOFMILL_WALLET_KEY", PAYER);
        command
    }

    fn does(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
        said
    }

    /// A coordinator, and where its API is.
    fn coordinator(&self, more: &[&str]) -> (Child, String) {
        let (rpc, redis) = (self.rpc.clone(), self.redis.url());
        let own = [
            "coordinator",
            "--deployment",
            "deployment.toml",
            "--keys",
            "keys",
            "--operator-key",
            "owner.key",
            "--confirmations",
            "1",
            "--poll",
            "200",
            "--port",
            "0",
            "--no-local-worker",
            "--data-dir",
            "data",
        ];
        let queue = ["--rpc", &rpc, "--redis-url", &redis, "--redis-prefix", KEYS];
        let mut command = self.command(&[&own[..], &queue[..], more].concat());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("API: ")).unwrap();
        std::thread::spawn(move || lines.count());
        (child, line.split_whitespace().find(|word| word.starts_with("http://")).unwrap().to_owned())
    }

    fn worker(&self, name: &str) -> Child {
        let url = self.redis.pool_url(KEYS, "default").unwrap();
        let own = ["worker", "--backend", "cpu", "--keys", "keys", "--name", name];
        let mut command = self.command(&[&own[..], &["--redis-url", &url, "--redis-prefix", KEYS]].concat());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// What the wallet says, and whether it went well.
    fn wallet(&self, api: &str, arguments: &[&str]) -> (bool, String) {
        let rpc = self.rpc.clone();
        let mut command = self.command(&[&["wallet"], arguments, &["--api", api, "--rpc", &rpc]].concat());
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&said).into_owned())
    }

    fn pays(&self, api: &str, arguments: &[&str]) -> String {
        let (well, said) = self.wallet(api, arguments);
        assert!(well, "{arguments:?}: {said}");
        said
    }

    fn status(&self) -> String {
        self.does(&["ops", "status", "--data-dir", "data"])
    }
}

fn terminate(mut child: Child) {
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    assert!(child.wait().unwrap().success());
}

fn ready(api: &str) -> (bool, String) {
    let answer = ask(api, "GET /health/ready HTTP/1.1\r\n");
    (answer.starts_with("HTTP/1.1 200"), answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

#[test]
fn a_farm_goes_from_no_worker_to_two_and_back_and_pays_all_the_time() {
    let scaled = Scaled::new();
    // Without an autoscaler nobody can say when something would be proven.
    let (alone, api) = scaled.coordinator(&[]);
    eventually("it says that there is no worker", || {
        let (ready, why) = ready(&api);
        !ready && why.contains("NO_WORKER")
    });
    scaled.pays(&api, &["new"]);
    scaled.pays(&api, &["register"]);
    scaled.pays(&api, &["deposit", "0.5"]);
    let send = ["send", PAYEE, "0.1", "--allow-vault", "--patience", "1"];
    let (well, said) = scaled.wallet(&api, &send);
    assert!(!well, "{said}");
    eventually("the deposit is a coin, and paying with it is refused", || {
        let (well, said) = scaled.wallet(&api, &send);
        assert!(!well, "{said}");
        said.contains("BUSY") && said.contains("no prover is at work")
    });
    assert!(scaled.status().contains("NO_WORKER"));
    terminate(alone);

    // With one the first payment is taken at zero. It is what makes workers come.
    let (coordinator, api) = scaled.coordinator(&["--scale-from-zero", "10m", "--max-workers", "2"]);
    eventually("it is ready, and says why it is not as usual", || {
        let (ready, why) = ready(&api);
        ready && why.contains("NO_WORKER") && why.contains("more workers are expected")
    });
    let patient = ["send", PAYEE, "0.1", "--allow-vault", "--patience", "60"];
    scaled.pays(&api, &patient);
    eventually("its batch waits", || scaled.status().contains("NO_WORKER"));
    let workers = ["first", "second"].map(|name| scaled.worker(name));
    eventually("two are counted", || scaled.status().matches("default/").count() >= 2);
    scaled.pays(
        &api,
        &["send", PAYEE, "0.05", "--allow-vault", "--patience", "60", "--wait", "--timeout", "300"],
    );
    let (now, why) = ready(&api);
    assert!(now && !why.contains("NO_WORKER"), "{why}");

    // They leave when nothing is left to do, and the next payment is taken at zero again.
    workers.into_iter().for_each(terminate);
    let (still, why) = ready(&api);
    assert!(still, "{why}");
    scaled.pays(&api, &["send", PAYEE, "0.05", "--allow-vault", "--patience", "60"]);
    let last = scaled.worker("third");
    scaled.pays(&api, &["withdraw", "0.1", "--patience", "60", "--wait", "--timeout", "300"]);
    terminate(last);
    terminate(coordinator);
}
