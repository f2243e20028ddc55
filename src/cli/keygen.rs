//! `waybill keygen`: keys for nodes and snapshots, and credentials for customers. What is secret goes to a new file
//! that only its owner can read, or to stdout, and nowhere else; what a person should know about it goes to stderr.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Failure, complain, print};
use crate::key::{KEY_LENGTH, SigningKey, Window};
use crate::names::CredentialDigest;
use crate::shape::{Mismatch, Word as _};
use crate::time::UnixSeconds;

/// What every credential begins with, so that scanners for leaked secrets can know it.
const CREDENTIAL_PREFIX: &str = "wb_";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Arguments {
    #[command(flatten)]
    key: KeyArguments,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// An Ed25519 key, for a node or for signing snapshots: what `waybill keygen` alone makes
    Node(KeyArguments),
    /// A credential for a customer, and its digest for the register
    Credential(Output),
}

#[derive(Debug, clap::Args)]
struct Output {
    /// Write what is secret to this new file, for its owner's eyes only, in place of stdout; never overwrites
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct KeyArguments {
    #[command(flatten)]
    to: Output,
    /// From when on the key counts, in UTC: 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = second)]
    not_before: Option<u64>,
    /// From when on it no longer counts
    #[arg(long, value_name = "TIME", value_parser = second)]
    expires: Option<u64>,
    /// Print the public JWK of the private one in FILE (`-`: stdin), for nodes.json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["not_before", "expires", "output", "trusted_key"])]
    public: Option<PathBuf>,
    /// Print the public key of the private JWK in FILE (`-`: stdin) in base64, for `snapshot.trusted_keys`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["not_before", "expires", "output"])]
    trusted_key: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        None => key(&arguments.key),
        Some(What::Node(key_arguments)) => key(key_arguments),
        Some(What::Credential(to)) => credential(to),
    }
}

fn key(arguments: &KeyArguments) -> Result<(), Failure> {
    if let Some(path) = &arguments.public {
        print(&format!("{}\n", read(path)?.to_public_jwk()));
        return Ok(());
    }
    if let Some(path) = &arguments.trusted_key {
        print(&format!("{}\n", read(path)?.verifying_key().to_base64()));
        return Ok(());
    }
    let window = Window { nbf: arguments.not_before, exp: arguments.expires };
    if window.is_empty() {
        return Err(Failure("the key would expire before it begins to count".into()));
    }
    let key = SigningKey::new(&random()?, window);
    let secret = format!("{}\n", key.to_private_jwk());
    let place = match &arguments.to.output {
        Some(path) => {
            write(path, &secret)?;
            path.display().to_string()
        }
        None => {
            print(&secret);
            "the line on stdout".to_owned()
        }
    };
    complain(&format!(
        "{place} is the private key: keep it where only the node, or whoever compiles, can read it"
    ));
    complain(&format!("public, for nodes.json: {}", key.to_public_jwk()));
    complain(&format!("public, for `snapshot.trusted_keys`: {}", key.verifying_key().to_base64()));
    Ok(())
}

fn credential(to: &Output) -> Result<(), Failure> {
    let secret = format!("{CREDENTIAL_PREFIX}{}", URL_SAFE_NO_PAD.encode(random()?));
    let digest = CredentialDigest::of(secret.as_bytes());
    if let Some(path) = &to.output {
        write(path, &format!("{secret}\n"))?;
        print(&format!("{digest}\n"));
        complain(&format!(
            "{} is the customer's credential: hand it over, and remove the file",
            path.display()
        ));
        complain("the line on stdout is its digest: that, and only that, goes into the register");
        return Ok(());
    }
    print(&format!("{secret}\n{digest}\n"));
    complain(
        "the first line on stdout is the customer's credential: hand it over now, it won't be shown again",
    );
    complain("the second is its digest: that, and only that, goes into the register");
    Ok(())
}

/// Writes a secret to a file that isn't there yet. Nobody else can read it at any time, whatever the umask is.
fn write(path: &Path, secret: &str) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => Failure(format!(
            "{}: already exists, and nothing is overwritten\n  help: name another file, or move this one away first",
            path.display()
        )),
        _ => Failure(format!("{}: can't be written: {error}", path.display())),
    })?;
    let written = file.write_all(secret.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // half a key is none
        let left =
            if std::fs::remove_file(path).is_err() { "; remove what is there of it" } else { "" };
        Failure(format!("{}: can't be written: {error}{left}", path.display()))
    })
}

fn random() -> Result<[u8; KEY_LENGTH], Failure> {
    let mut bytes = [0; KEY_LENGTH];
    getrandom::fill(&mut bytes)
        .map_err(|error| Failure(format!("the system gives no randomness: {error}")))?;
    Ok(bytes)
}

/// Reads a private JWK. Errors repeat nothing of it.
fn read(path: &Path) -> Result<SigningKey, Failure> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure(format!("stdin: can't be read: {error}")))?;
        text
    } else {
        super::read(path)
            .map_err(|Failure(error)| Failure(format!("{}: {error}", path.display())))?
    };
    SigningKey::from_jwk(&text).map_err(|Mismatch { message, help }| {
        let help = help.map_or_else(String::new, |help| format!("\n  help: {help}"));
        Failure(format!("{}: {message}{help}", path.display()))
    })
}

fn second(text: &str) -> Result<u64, String> {
    let UnixSeconds(second) =
        UnixSeconds::parse(text).map_err(|Mismatch { message, help }| match help {
            Some(help) => format!("{message}; {help}"),
            None => message,
        })?;
    u64::try_from(second).map_err(|_| "before 1970".into())
}
