//! `waybill keygen`: what it prints is what the register, the configuration and the compiler read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use waybill::shape::Word as _;
use waybill::terms::key::{SigningKey, TrustedKey, VerifyingKey, Window};
use waybill::terms::names::CredentialDigest;

#[test]
fn a_key_has_its_window_and_its_public_forms() {
    let made =
        keygen(&["--not-before", "2026-01-01T00:00:00Z", "--expires", "2027-01-01T00:00:00Z"], "");
    let private = text(&made.stdout);
    assert_eq!(private.lines().count(), 1);
    let key = SigningKey::from_jwk(&private).unwrap();
    assert_eq!(key.window(), Window { nbf: Some(1_767_225_600), exp: Some(1_798_761_600) });
    let public = text(&keygen(&["--public", "-"], &private).stdout);
    assert_eq!(public.trim(), key.to_public_jwk());
    let trusted = text(&keygen(&["--trusted-key", "-"], &private).stdout);
    assert!(TrustedKey::parse(trusted.trim()).is_ok());
    assert_eq!(VerifyingKey::from_base64(trusted.trim()), Some(key.verifying_key()));
    // stderr tells both public forms and nothing of the private one
    let told = text(&made.stderr);
    assert!(told.contains(public.trim()) && told.contains(trusted.trim()));
    assert!(!told.contains("\"d\"") && !public.contains("\"d\""));
}

#[test]
fn keygen_alone_makes_a_nodes_key_and_never_the_same() {
    let [one, other] = [keygen(&[], ""), keygen(&["node"], "")]
        .map(|made| SigningKey::from_jwk(&text(&made.stdout)).unwrap());
    assert_ne!(one.verifying_key(), other.verifying_key());
    assert_eq!(one.window(), Window::default());
}

#[test]
fn a_credential_is_shown_once_with_its_digest() {
    let made = keygen(&["credential"], "");
    let out = text(&made.stdout);
    let (secret, digest) = out.trim().split_once('\n').unwrap();
    assert!(secret.starts_with("wb_") && secret.len() == 46, "{secret}");
    assert_eq!(CredentialDigest::parse(digest).unwrap(), CredentialDigest::of(secret.as_bytes()));
    assert!(!text(&made.stderr).contains(secret));
}

/// `-o`: a new file for its owner alone, whatever the umask; what is there already stays.
#[test]
#[cfg(unix)]
fn a_secret_goes_to_a_new_file_that_only_its_owner_reads() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("keygen");
    drop(std::fs::remove_dir_all(&folder));
    std::fs::create_dir_all(&folder).unwrap();
    let place = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (key, node, credential) = (place("key.jwk"), place("node.jwk"), place("credential"));
    for (arguments, path) in [
        (&["-o", &key, "--expires", "2099-01-01T00:00:00Z"][..], &key),
        (&["node", "--output", &node], &node),
        (&["credential", "-o", &credential], &credential),
    ] {
        // even where files are for everybody
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "umask 000; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_waybill"),
            "keygen",
        ]);
        let made = command.args(arguments).output().unwrap();
        assert!(made.status.success(), "{made:?}");
        let secret = std::fs::read_to_string(path).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o7777, 0o600, "{path}");
        assert_eq!(secret.lines().count(), 1);
        let told = text(&made.stdout) + &text(&made.stderr);
        assert!(
            told.contains(path) && !told.contains(secret.trim()) && !told.contains("\"d\""),
            "{told}"
        );

        let again = keygen(arguments, "");
        assert_eq!((again.status.code(), again.stdout.len()), (Some(1), 0));
        assert!(
            text(&again.stderr).contains(&format!("{path}: already exists, and is kept")),
            "{again:?}"
        );
        assert_eq!(std::fs::read_to_string(path).unwrap(), secret);
    }
    let private = std::fs::read_to_string(&key).unwrap();
    assert_eq!(
        text(&keygen(&["--public", &key], "").stdout).trim(),
        SigningKey::from_jwk(&private).unwrap().to_public_jwk()
    );
    let secret = std::fs::read_to_string(&credential).unwrap();
    assert!(secret.starts_with("wb_") && secret.trim().len() == 46);

    // nor is a link followed, whether its target is there or not
    let target = place("target");
    std::os::unix::fs::symlink(&target, place("link")).unwrap();
    for there in [place("link"), place("."), "/dev/null".into()] {
        let refused = keygen(&["-o", &there], "");
        assert!(
            text(&refused.stderr).contains("already exists") && refused.status.code() == Some(1),
            "{there}: {refused:?}"
        );
    }
    assert!(!Path::new(&target).exists());
    assert!(
        text(&keygen(&["-o", &place("no/such/folder")], "").stderr)
            .contains("no/such/folder: can't be written")
    );
    assert_eq!(keygen(&["--public", &key, "-o", &place("other")], "").status.code(), Some(2));
}

#[test]
fn what_is_wrong_is_said_without_the_secret() {
    let refused = keygen(&["--public", "-"], r#"{"kty":"OKP","crv":"Ed25519","d":"very-secret"}"#);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        text(&refused.stderr).contains("`d` isn't 32 bytes")
            && !text(&refused.stderr).contains("very-secret")
    );
    for wrong in [
        &["--expires", "2027-01-01"][..],
        &["--public", "-", "--trusted-key", "-"],
        &["--public", "-", "--expires", "2027-01-01T00:00:00Z"],
        &["customer"],
    ] {
        assert_eq!(keygen(wrong, "").status.code(), Some(2), "{wrong:?}");
    }
    let backwards =
        keygen(&["--not-before", "2027-01-01T00:00:00Z", "--expires", "2026-01-01T00:00:00Z"], "");
    assert_eq!((backwards.status.code(), backwards.stdout.len()), (Some(1), 0));
}

fn keygen(arguments: &[&str], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_waybill"));
    command
        .arg("keygen")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // a command that was refused may have closed it already
    drop(child.stdin.take().unwrap().write_all(stdin.as_bytes()));
    child.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}
