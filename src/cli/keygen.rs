//! `waybill keygen`: keys for nodes and snapshots, and credentials for customers.
//!
//! A secret goes to a new file that only its owner can read, or to stdout, and nowhere else. Notes
//! for people go to stderr.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::arguments::word;
use super::error::CommandError;
use super::files;
use super::output::{complain, print};
use crate::terms::key::{KEY_LENGTH, SigningKey, Window};
use crate::terms::names::CredentialDigest;
use crate::terms::time::UnixSeconds;

/// The prefix of every credential, by which scanners find leaked ones.
const CREDENTIAL_PREFIX: &str = "wb_";

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct KeygenArguments {
    #[command(flatten)]
    key: KeyArguments,
    #[command(subcommand)]
    target: Option<KeygenTarget>,
}

#[derive(Debug, clap::Subcommand)]
enum KeygenTarget {
    /// Generate an Ed25519 key for a node or for signing snapshots; the default
    Node(KeyArguments),
    /// Generate a credential for a customer, and its digest for the register
    Credential(SecretOutput),
}

#[derive(Debug, clap::Args)]
struct SecretOutput {
    /// Write the secret to this new file, readable by its owner only; an existing file is kept
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct KeyArguments {
    #[command(flatten)]
    to: SecretOutput,
    /// When the key becomes valid (RFC 3339): 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = unix_second)]
    not_before: Option<u64>,
    /// When the key expires (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = unix_second)]
    expires: Option<u64>,
    /// Print the public JWK of the private one in FILE (`-`: stdin), for nodes.json
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["not_before", "expires", "output", "trusted_key"]
    )]
    public: Option<PathBuf>,
    /// Print the public key of the private JWK in FILE (`-`: stdin) in base64, for
    /// `snapshot.trusted_keys`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["not_before", "expires", "output"])]
    trusted_key: Option<PathBuf>,
}

pub(super) fn run(arguments: &KeygenArguments) -> Result<(), CommandError> {
    match &arguments.target {
        None => key(&arguments.key),
        Some(KeygenTarget::Node(key_arguments)) => key(key_arguments),
        Some(KeygenTarget::Credential(to)) => credential(to),
    }
}

fn key(arguments: &KeyArguments) -> Result<(), CommandError> {
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
        let message = "invalid window: --expires must be later than --not-before";
        return Err(CommandError::new(message));
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
        "{place} is the private key: keep it where only the node or the compiler can read it"
    ));
    complain(&format!("public, for nodes.json: {}", key.to_public_jwk()));
    complain(&format!("public, for `snapshot.trusted_keys`: {}", key.verifying_key().to_base64()));
    Ok(())
}

fn credential(to: &SecretOutput) -> Result<(), CommandError> {
    let secret = format!("{CREDENTIAL_PREFIX}{}", URL_SAFE_NO_PAD.encode(random()?));
    let digest = CredentialDigest::of(secret.as_bytes());
    if let Some(path) = &to.output {
        write(path, &format!("{secret}\n"))?;
        print(&format!("{digest}\n"));
        complain(&format!(
            "{} is the customer's credential: send it to the customer, then remove the file",
            path.display()
        ));
        complain("the line on stdout is its digest: write only the digest into the register");
        return Ok(());
    }
    print(&format!("{secret}\n{digest}\n"));
    complain(
        "the first line on stdout is the customer's credential: send it now, it isn't shown again",
    );
    complain("the second line is its digest: write only the digest into the register");
    Ok(())
}

/// Writes a secret to a new file, readable by its owner only from the start, whatever the umask.
fn write(path: &Path, secret: &str) -> Result<(), CommandError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path).map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => CommandError::about(
            path,
            "already exists, and is kept\n  help: name another file, or move this one away",
        ),
        _ => CommandError::about(path, format!("can't be written: {error}")),
    })?;
    let written = file.write_all(secret.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|error| {
        // a part of a key is of no use
        let left = if std::fs::remove_file(path).is_err() { "; remove the file" } else { "" };
        CommandError::about(path, format!("can't be written: {error}{left}"))
    })
}

fn random() -> Result<[u8; KEY_LENGTH], CommandError> {
    let mut bytes = [0; KEY_LENGTH];
    getrandom::fill(&mut bytes)
        .map_err(|error| CommandError(format!("no random bytes from the system: {error}")))?;
    Ok(bytes)
}

/// Reads a private JWK. Errors quote nothing of it.
fn read(path: &Path) -> Result<SigningKey, CommandError> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| CommandError(format!("stdin: can't be read: {error}")))?;
        text
    } else {
        files::read(path).map_err(|error| error.at(path))?
    };
    SigningKey::from_jwk(&text).map_err(|mismatch| CommandError::from(mismatch).at(path))
}

fn unix_second(text: &str) -> Result<u64, String> {
    let UnixSeconds(second) = word(text)?;
    u64::try_from(second).map_err(|_| "expected a time from 1970 on".into())
}
