//! The desk reads what others wrote: nothing in it commands the terminal, and nothing makes it
//! wait.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const CONFIG: &str = r#"{"version": 1, "node": {"id": "a.example"}, "register": {"customers": []}, "identity": {"sources": [{"bearer": true}]},
    "client_address": {"trusted_proxies": ["127.0.0.0/8"]}}"#;

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// What a verb prints, on both streams.
fn printed(arguments: &[&str]) -> String {
    let done = Command::new(env!("CARGO_BIN_EXE_waybill")).args(arguments).output().unwrap();
    String::from_utf8([done.stdout, done.stderr].concat()).unwrap()
}

/// Escape sequences (ESC, and U+009B, which is one by itself), a bell, and marks that turn the
/// direction of writing.
#[test]
fn nothing_printed_commands_a_terminal() {
    let folder = folder("desk-controls");
    let (config, request) = (folder.join("config.json"), folder.join("request"));
    std::fs::write(&config, CONFIG).unwrap();
    let hostile = "\u{1b}]0;title\u{7}\u{9b}31m\u{202e}\u{7f}";
    let json = serde_json::json!({"method": "GET", "path": format!("/{hostile}"),
        "headers": [[format!("x-{hostile}"), hostile]],
        "direct_peer": "127.0.0.1"});
    let forwarded = serde_json::json!({"method": "GET", "path": "/",
        "headers": [["x-forwarded-for", hostile]],
        "direct_peer": "127.0.0.1"});
    for text in [
        format!("GET /{hostile}"),
        format!("GET / HTTP/1.1\n{hostile}\n\n"),
        format!("{hostile}\n\n"),
        format!("GET /{hostile} HTTP/1.1\nhost: {hostile}\nx-{hostile}: {hostile}\n\n"),
        format!("{{\"{hostile}\": 1}}"),
        json.to_string(),
        forwarded.to_string(),
    ] {
        std::fs::write(&request, &text).unwrap();
        for more in [&[][..], &["--json"]] {
            let arguments = [
                "explain",
                "--config",
                config.to_str().unwrap(),
                "--request",
                request.to_str().unwrap(),
            ];
            let printed = printed(&[&arguments, more].concat());
            assert!(!printed.is_empty(), "{text:?}");
            let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!printed.contains(obeyed), "{text:?}: {printed:?}");
        }
    }
}

/// What is too large for the memory of a desk is refused before it is read: a file of holes costs
/// nothing to make.
#[test]
fn a_huge_file_is_refused_at_once() {
    let folder = folder("desk-huge");
    for name in ["customers.csv", "bods/all.json", "networks/all.mmdb"] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        let start = Instant::now();
        let told = printed(&["check", folder.to_str().unwrap()]);
        assert!(
            told.contains(&format!("{name}: file too large: at most 512 MB are read")),
            "{told}"
        );
        assert!(start.elapsed() < Duration::from_secs(5));
        std::fs::remove_file(path).unwrap();
    }
}

/// So is it wherever one file is named.
#[test]
fn no_verb_reads_a_huge_file() {
    let folder = folder("desk-huge-file");
    let (huge, small) = (folder.join("huge"), folder.join("small"));
    std::fs::File::create(&huge).unwrap().set_len(1 << 30).unwrap();
    std::fs::write(&small, CONFIG).unwrap();
    std::fs::write(folder.join("customers.json"), r#"{"customers": []}"#).unwrap();
    let (huge, small, register) =
        (huge.to_str().unwrap(), small.to_str().unwrap(), folder.to_str().unwrap());
    for arguments in [
        &["explain", "--config", huge, "--request", small][..],
        &["explain", "--config", small, "--request", huge],
        &["check", huge],
        &["inspect", huge],
        &["diff", huge, huge],
        &["keygen", "--public", huge],
        &["enforcement", huge, "--register", register],
    ] {
        let (code, told) = at_once(arguments);
        assert!(
            code == Some(1) && told.contains("file too large: at most 512 MB are read"),
            "{arguments:?}: {told}"
        );
    }
}

/// What a person mistyped is repeated to them.
#[test]
fn nor_does_what_is_wrong_with_the_command() {
    for arguments in [
        &["schema", "\u{1b}[31m\u{9b}31m"][..],
        &["\u{1b}[31m"],
        &["keygen", "--expires", "\u{202e}\u{7}"],
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_waybill")).args(arguments).output().unwrap();
        let told = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(2), "{told}");
        assert!(
            told.starts_with("error:") && !told.contains(|c: char| c.is_control() && c != '\n'),
            "{told:?}"
        );
    }
}

/// A pipe to which nobody may ever write, a device that never ends, a folder: in place of any file
/// they are refused at once.
#[test]
fn only_files_are_read() {
    let folder = folder("desk-files");
    let place = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (config, request, pipe, zero, tty) = (
        place("config.json"),
        place("request.json"),
        place("pipe"),
        place("zero"),
        place("pipe-link"),
    );
    std::fs::write(&config, CONFIG).unwrap();
    std::fs::write(&request, r#"{"method": "GET", "path": "/"}"#).unwrap();
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
    std::os::unix::fs::symlink(&pipe, &tty).unwrap();
    let directory = place(".");
    let customers = r#"{"customers": []}"#;
    std::fs::create_dir(place("register")).unwrap();
    std::fs::write(place("register/customers.json"), customers).unwrap();
    let (register, output) = (place("register"), place("out.snapshot"));
    for wrong in [&pipe, &zero, &tty, &directory, &"/dev/zero".to_owned()] {
        let mut commands = vec![
            vec!["explain", "--config", wrong, "--request", &request],
            vec!["explain", "--config", &config, "--request", wrong],
            vec!["verify-tag", "--config", &config, "--request", wrong],
            vec!["inspect", wrong],
            vec!["keygen", "--public", wrong],
            vec!["keygen", "--trusted-key", wrong],
            vec!["compile", &register, "-o", &output, "--sign-key", wrong],
            vec!["compile", &register, "-o", wrong, "--sign-key", &request],
        ];
        if *wrong != directory {
            commands.push(vec!["check", wrong]);
            commands.push(vec!["compile", wrong, "-o", &output, "--sign-key", wrong]);
        }
        for arguments in commands {
            let (code, told) = at_once(&arguments);
            assert_eq!(code, Some(1), "{arguments:?}: {told}");
            let first = told.lines().next().unwrap_or_default();
            assert!(first.contains(wrong.as_str()), "{arguments:?}: {told}");
            assert!(
                ["not a regular file", "this is a directory"].iter().any(|why| first.contains(why)),
                "{arguments:?}: {told}"
            );
        }
    }
    // a snapshot is looked at once the configuration asks for one
    let asks = CONFIG.replace(
        r#""register": {"customers": []}"#,
        r#""snapshot": {"cluster": "s", "authority": "s", "path": "/s", "trusted_keys": ["11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="]}"#,
    );
    std::fs::write(&config, asks).unwrap();
    for wrong in [&pipe, &zero, &directory] {
        let (code, told) =
            at_once(&["explain", "--config", &config, "--request", &request, "--snapshot", wrong]);
        assert!(
            code == Some(1)
                && (told.contains("not a regular file") || told.contains("this is a directory")),
            "{told}"
        );
    }
}

/// A shell hands pipes over as files: `<(…)`, and `/dev/stdin`.
#[test]
fn pipes_of_a_shell_are_read() {
    let folder = folder("desk-shell");
    std::fs::write(folder.join("config.json"), CONFIG).unwrap();
    std::fs::write(folder.join("request.json"), r#"{"method": "GET", "path": "/"}"#).unwrap();
    for script in [
        "cat request.json | $0 explain --config config.json --request /dev/stdin",
        "$0 explain --config config.json --request /dev/stdin < request.json",
        "$0 explain --config <(cat config.json) --request <(cat request.json)",
        "cat config.json | $0 check /dev/stdin",
        "cat request.json | $0 explain --config config.json --request /proc/self/fd/0",
    ] {
        let done = Command::new("bash")
            .current_dir(&folder)
            .args(["-c", script, env!("CARGO_BIN_EXE_waybill")])
            .output()
            .unwrap();
        assert!(done.stderr.iter().chain(&done.stdout).count() > 0);
        let told = String::from_utf8([done.stdout, done.stderr].concat()).unwrap();
        assert!(
            done.status.success() && (told.contains("Verdict") || told.contains(": ok")),
            "{script}: {told}"
        );
    }
    let endless = Command::new("bash")
        .args(["-c", "$0 check /dev/stdin < /dev/zero", env!("CARGO_BIN_EXE_waybill")])
        .output()
        .unwrap();
    assert!(String::from_utf8(endless.stderr).unwrap().contains("not a regular file"));
}

/// Nobody may ever write to a pipe that lies where a register's file should be, and a device has no
/// end.
#[test]
fn a_register_is_read_from_files() {
    for (name, device) in [
        ("customers.json", None),
        ("customers.csv", Some("/dev/zero")),
        ("networks/feed.csv", Some("/dev/zero")),
        ("bods/a.json", None),
    ] {
        let folder = folder("desk-register");
        let file = folder.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        match device {
            Some(device) => std::os::unix::fs::symlink(device, &file).unwrap(),
            None => assert!(Command::new("mkfifo").arg(&file).status().unwrap().success()),
        }
        let folder = folder.to_str().unwrap();
        for arguments in [&["check", folder][..], &["screen", "--all", "--register", folder]] {
            // who is screened by owners alone looks at no other file
            if arguments[0] == "screen" && !name.starts_with("bods/") {
                continue;
            }
            let (code, told) = at_once(arguments);
            assert_eq!(code, Some(1), "{told}");
            assert!(told.contains(&format!("{name}: not a regular file")), "{told}");
        }
    }
}

/// The exit code and what is told on stderr, within seconds.
fn at_once(arguments: &[&str]) -> (Option<i32>, String) {
    let start = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
    let mut child = command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap(); // so that there is no exit code
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let done = child.wait_with_output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}
