//! What a sandbox costs: the same command that does nothing, run in a sandbox and run plainly.
//!
//! `cargo bench -p aar-sandbox --bench spawn`

use std::process::Command;
use std::time::{Duration, Instant};

use aar_sandbox::{Cancel, Isolation, Launcher, Mount, Sandbox, SandboxError, Spec};

const RUNS: usize = 200;

fn main() -> Result<(), SandboxError> {
    if let Some(code) = aar_sandbox::enter_if_asked() {
        std::process::exit(code);
    }
    if std::env::args().nth(1).as_deref() == Some("nothing") {
        return Ok(());
    }
    let mut spec = Spec::new(["/bin/nothing", "nothing"]);
    spec.read_only
        .push(Mount::new("/proc/self/exe", "/bin/nothing"));
    let in_a_sandbox = |isolation| {
        let sandbox = Sandbox::new(Launcher::current_exe(), isolation);
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let begun = Instant::now();
            let outcome = sandbox.run(&spec, &Cancel::new())?;
            times.push(begun.elapsed());
            assert!(outcome.succeeded(), "{outcome:?}");
        }
        Ok::<_, SandboxError>(times)
    };
    let plain = (0..RUNS).map(|_| {
        let begun = Instant::now();
        let status = Command::new("/proc/self/exe").arg("nothing").status();
        assert!(status.is_ok_and(|status| status.success()));
        begun.elapsed()
    });
    report("plain subprocess", plain.collect());
    report("no isolation", in_a_sandbox(Isolation::NoneByName)?);
    report("sandbox", in_a_sandbox(Isolation::Required)?);
    Ok(())
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |part: usize| times[(times.len() - 1) * part / 100].as_secs_f64() * 1e3;
    println!(
        "{name:18} median {:6.2} ms   p10 {:6.2}   p90 {:6.2}",
        at(50),
        at(10),
        at(90)
    );
}
