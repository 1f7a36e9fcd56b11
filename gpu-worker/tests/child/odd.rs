//! The children: backends with a defect, and programs that know the protocol and break it.
//!
//! Each child's self-test makes the first proof, so defects begin with the second. A part `once-X` is X in the first child
//! of a folder and a sound one in all later ones.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use gpu_worker::child::{
    self, ChildBackend,
    protocol::{Answer, Hello, Reply, Request, Wish, read_frame, write_frame},
};
use prover::{
    Backend, BackendError, Cancel, CpuBackend, DeviceInfo, Key, KeyId, Matrices, Sums, Timings, Witness,
};

use crate::fixture;

/// The first argument of a child.
pub const ROLE: &str = "play-a-child";

struct Odd {
    cpu: CpuBackend,
    part: String,
    folder: PathBuf,
    proofs: AtomicUsize,
}

impl Odd {
    fn device_error(reason: &str) -> BackendError {
        BackendError::Device { backend: "cpu", reason: reason.to_owned() }
    }
}

impl Backend for Odd {
    fn name(&self) -> &'static str {
        if self.part == "other-name" { "toaster" } else { "cpu" }
    }

    fn device(&self) -> Option<DeviceInfo> {
        let (name, uuid) = ("Toaster 9000".to_owned(), "GPU-1".to_owned());
        (self.part == "device").then(|| DeviceInfo { name, uuid, memory: 7, versions: "1.2".to_owned() })
    }

    fn prepare(&self, key: Arc<Key>, matrices: Arc<Matrices>) -> Result<KeyId, BackendError> {
        self.cpu.prepare(key, matrices)
    }

    fn prove(&self, key: KeyId, witness: &Witness, cancel: &Cancel) -> Result<(Sums, Timings), BackendError> {
        let number = self.proofs.fetch_add(1, Ordering::SeqCst);
        let sums = self.cpu.prove(key, witness, cancel);
        if number == 0 && self.part != "fails-self-test" {
            return sums;
        }
        match self.part.as_str() {
            "abort" => {
                eprintln!("terminate called after throwing an instance of 'IcicleError'");
                std::process::abort()
            }
            "exit" => std::process::exit(7),
            "panic" => panic!("the device is on fire"),
            "hang" => {
                fs::write(self.folder.join("proving"), "").unwrap();
                loop {
                    thread::sleep(Duration::from_secs(1));
                }
            }
            "wait" => {
                fs::write(self.folder.join("proving"), "").unwrap();
                while !self.folder.join("go").exists() {
                    cancel.check()?;
                    thread::sleep(Duration::from_millis(5));
                }
                sums
            }
            "lost" => {
                Err(BackendError::Lost { backend: "cpu", reason: "the card fell off the bus".to_owned() })
            }
            "no-memory" => Err(Self::device_error("out of memory")),
            "prints" => {
                println!("[DEBUG] {}", "a chatty library ".repeat(1000));
                sums
            }
            part if part == "fails-self-test" || part == "wrong" && number.is_multiple_of(3) => {
                sums.map(|(sums, timings)| (Sums { l: sums.l + sums.l, ..sums }, timings))
            }
            _ => sums,
        }
    }

    fn release(&self, key: KeyId) {
        self.cpu.release(key);
    }
}

/// Speaks the protocol until it is asked to prove, then says `last`.
fn liar(last: impl Fn(&mut dyn Write, u64)) -> ExitCode {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout());
    write_frame(&mut output, &Hello::Ready { backend: "cpu".to_owned(), device: None }).unwrap();
    while let Some(Request { number, wish }) = read_frame(&mut input).unwrap() {
        let answer = match wish {
            Wish::Prepare(_) => Answer::Prepared,
            Wish::Stage { .. } => Answer::Staged,
            Wish::Prove { .. } => {
                last(&mut output, number);
                continue;
            }
            Wish::Unstage { .. } | Wish::Cancel { .. } | Wish::Release { .. } => continue,
        };
        write_frame(&mut output, &Reply { number, result: Ok(answer) }).unwrap();
    }
    ExitCode::SUCCESS
}

/// Says that, then waits to be killed: it is the words that must end it, not the end of the pipe.
fn say(out: &mut dyn Write, bytes: &[u8]) {
    out.write_all(bytes).unwrap();
    out.flush().unwrap();
    thread::sleep(Duration::from_secs(600));
}

pub fn play(arguments: &[String]) -> ExitCode {
    let [part, folder] = arguments else { panic!("{arguments:?}") };
    let folder = PathBuf::from(folder);
    let part = match part.strip_prefix("once-") {
        Some(part) => {
            let first = fs::File::create_new(folder.join("was-here")).is_ok();
            if first { part } else { "sound" }
        }
        None => part,
    };
    match part {
        "garbage" => {
            say(&mut std::io::stdout(), b"Welcome to the vendor's profiler, version 1.2\n");
            ExitCode::SUCCESS
        }
        "garbage-later" => liar(|out, _| say(out, &[0x41; 64])),
        "huge-frame" => liar(|out, _| say(out, &[0xff; 16])),
        "cut-frame" => liar(|out, _| {
            out.write_all(&[40, 0, 0, 0, 1, 2]).unwrap();
            out.flush().unwrap();
            std::process::exit(0)
        }),
        "closed" => liar(|_, _| std::process::exit(0)),
        "other-number" => liar(|mut out, number| {
            write_frame(&mut out, &Reply { number: number + 1000, result: Ok(Answer::Staged) }).unwrap();
        }),
        "other-answer" => liar(|mut out, number| {
            write_frame(&mut out, &Reply { number, result: Ok(Answer::Staged) }).unwrap();
        }),
        "worker" => worker(&folder),
        part => {
            let part = part.to_owned();
            child::run(|| match part.as_str() {
                "no-driver" => Err(Odd::device_error("no driver")),
                _ => Ok(Arc::new(Odd { cpu: CpuBackend::new(), part, folder, proofs: AtomicUsize::new(0) })),
            })
            .unwrap();
            ExitCode::SUCCESS
        }
    }
}

/// Not a child but a worker with one, whose child proves for ever. It tells the number of its child.
fn worker(folder: &std::path::Path) -> ExitCode {
    let backend = Arc::new(ChildBackend::start(fixture::settings("wait", folder)).unwrap());
    fs::write(folder.join("child.new"), backend.process().to_string()).unwrap();
    fs::rename(folder.join("child.new"), folder.join("child")).unwrap();
    let (matrices, parts) = fixture::circuit();
    let id = backend.prepare(Arc::new(Key::from_parts(parts).unwrap()), Arc::clone(matrices)).unwrap();
    let _ = backend.prove(id, &fixture::witness(3), &Cancel::new());
    ExitCode::FAILURE
}
