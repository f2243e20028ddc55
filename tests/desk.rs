//! The desk reads what others wrote: nothing in it commands the terminal, and nothing makes it wait.

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

/// Escape sequences (ESC, and U+009B, which is one by itself), a bell, and marks that turn the direction of writing.
#[test]
fn nothing_printed_commands_a_terminal() {
    let folder = folder("desk-controls");
    let (config, request) = (folder.join("config.json"), folder.join("request"));
    std::fs::write(&config, CONFIG).unwrap();
    let hostile = "\u{1b}]0;title\u{7}\u{9b}31m\u{202e}\u{7f}";
    let json = serde_json::json!({"method": "GET", "path": format!("/{hostile}"), "headers": [[format!("x-{hostile}"), hostile]],
        "direct_peer": "127.0.0.1"});
    let forwarded =
        serde_json::json!({"method": "GET", "path": "/", "headers": [["x-forwarded-for", hostile]], "direct_peer": "127.0.0.1"});
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
            let arguments = ["explain", "--config", config.to_str().unwrap(), "--request", request.to_str().unwrap()];
            let printed = printed(&[&arguments, more].concat());
            assert!(!printed.is_empty(), "{text:?}");
            let obeyed = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
            assert!(!printed.contains(obeyed), "{text:?}: {printed:?}");
        }
    }
}

/// What is too large for the memory of a desk is refused before it is read: a file of holes costs nothing to make.
#[test]
fn a_huge_file_is_refused_at_once() {
    let folder = folder("desk-huge");
    for name in ["customers.csv", "bods/all.json", "networks/all.mmdb"] {
        let path = folder.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::File::create(&path).unwrap().set_len(1 << 30).unwrap();
        let start = Instant::now();
        let told = printed(&["check", folder.to_str().unwrap()]);
        assert!(told.contains(&format!("{name}: this file has 1,074 MB, and a file of a register may have 512 MB at most")), "{told}");
        assert!(start.elapsed() < Duration::from_secs(5));
        std::fs::remove_file(path).unwrap();
    }
}

/// Nobody may ever write to a pipe that lies where a register's file should be.
#[test]
fn a_pipe_in_a_register_is_refused() {
    let folder = folder("desk-pipe");
    let made = Command::new("mkfifo").arg(folder.join("customers.json")).status();
    assert!(made.unwrap().success());
    let start = Instant::now();
    let mut check = Command::new(env!("CARGO_BIN_EXE_waybill")).arg("check").arg(&folder).stderr(Stdio::piped()).spawn().unwrap();
    while check.try_wait().unwrap().is_none() {
        if start.elapsed() > Duration::from_secs(20) {
            check.kill().unwrap();
            panic!("it waits for the pipe");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let done = check.wait_with_output().unwrap();
    let told = String::from_utf8(done.stderr).unwrap();
    assert_eq!(done.status.code(), Some(1));
    assert!(told.contains("customers.json: not a regular file"), "{told}");
}
