use super::*;

const SECONDS: Bounds = Bounds { wall: Duration::from_secs(60), answer_bytes: 1000 };

fn program(name: &'static str, arguments: &[&str]) -> Program {
    Program::new(name, Path::new("/")).args(arguments)
}

fn shell(script: &str) -> Program {
    program("sh", &["-c", script])
}

#[test]
fn what_a_program_answers_and_says_is_told_apart() {
    let stop = Stop::default();
    assert_eq!(shell("echo said >&2; echo answered").run(SECONDS, &stop).unwrap(), b"answered\n");
    let failed = shell("echo progress >&2; echo token bw-canary >&2; exit 3").hiding(["bw-canary".to_owned()]);
    assert_eq!(failed.run(SECONDS, &stop).unwrap_err().to_string(), "sh: progress; token [hidden]");
    let both = shell("printf 'at 1\\rat 2\\rdone\\r\\nlost\\r\\n' >&2; exit 1").run(SECONDS, &stop).unwrap_err();
    assert_eq!(both.to_string(), "sh: done; lost", "progress is not what a program says at its end");
    assert_eq!(shell("exit 1").run(SECONDS, &stop).unwrap_err().to_string(), "sh failed without a word");
    assert_eq!(shell("echo no; exit 1").run_whatever_comes(SECONDS, &stop).unwrap(), b"no\n");
    let missing = program("bellwether-no-such-program", &[]).run(SECONDS, &stop);
    assert_eq!(missing.unwrap_err().to_string(), "the program `bellwether-no-such-program` is not installed");
}

#[test]
fn a_program_sees_nothing_of_our_environment_but_a_few_variables() {
    let seen = program("env", &[]).env("GIT_DIR", "/x").run(SECONDS, &Stop::default()).unwrap();
    let seen = String::from_utf8(seen).unwrap();
    for line in seen.lines() {
        let name = line.split('=').next().unwrap();
        assert!(INHERITED.contains(&name) || ["HOME", "LC_ALL", "GIT_DIR"].contains(&name), "{line}");
    }
    // The tests themselves run with this one.
    assert!(!seen.contains("CARGO"));
}

#[test]
fn a_program_that_answers_too_much_is_ended() {
    let error = program("yes", &[]).run(SECONDS, &Stop::default()).unwrap_err();
    assert_eq!(error.to_string(), "yes answered more than 1000 bytes");
}

#[test]
fn a_program_that_takes_too_long_is_ended_with_everything_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    // A grandchild that shares no pipe with us, that does not listen, and whose end shows as the end of the fifo.
    let script =
        format!("(trap '' TERM; sleep 1000) >{} 2>/dev/null </dev/null & echo so far >&2; wait", fifo.display());
    // Held open here until then: if the grandchild never gets to open it, there is an end all the same.
    let held = std::fs::File::options().read(true).write(true).open(&fifo).unwrap();
    let reading = std::thread::spawn(move || std::fs::read(fifo));
    let bounds = Bounds { wall: Duration::from_secs(2), ..SECONDS };
    let error = shell(&script).run(bounds, &Stop::default()).unwrap_err();
    assert_eq!(error.to_string(), "sh did not come to an end within 2 s; its last words: so far");
    drop(held);
    assert!(reading.join().unwrap().unwrap().is_empty(), "the grandchild has ended too");
}

#[test]
fn stopping_ends_what_runs_and_refuses_what_comes() {
    let stop = Stop::default();
    let folder = tempfile::tempdir().unwrap();
    let fifo = folder.path().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let running = {
        let (stop, script) = (stop.clone(), format!("echo runs >{}; exec sleep 1000", fifo.display()));
        std::thread::spawn(move || shell(&script).run(SECONDS, &stop))
    };
    assert_eq!(std::fs::read(&fifo).unwrap(), b"runs\n");
    stop.stop();
    assert!(matches!(running.join().unwrap(), Err(ProgramError::Stopped)));
    assert!(matches!(shell("true").run(SECONDS, &stop), Err(ProgramError::Stopped)));
}
