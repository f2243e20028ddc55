//! `waybill keygen`: keys for nodes and snapshots, and credentials for customers. What is secret goes to
//! stdout and nowhere else; what a person should know about it goes to stderr.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Failure, complain, print};
use crate::key::{KEY_LENGTH, SigningKey, Window};
use crate::names::{CredentialDigest, UnixSeconds};
use crate::shape::{Mismatch, Word as _};

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
    Credential,
}

#[derive(Debug, clap::Args)]
struct KeyArguments {
    /// From when on the key counts, in UTC: 2027-01-31T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = second)]
    not_before: Option<u64>,
    /// From when on it no longer counts
    #[arg(long, value_name = "TIME", value_parser = second)]
    expires: Option<u64>,
    /// Print the public JWK of the private one in FILE (`-`: stdin), for nodes.json
    #[arg(long, value_name = "FILE", conflicts_with_all = ["not_before", "expires", "trusted_key"])]
    public: Option<PathBuf>,
    /// Print the public key of the private JWK in FILE (`-`: stdin) in base64, for `snapshot.trusted_keys`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["not_before", "expires"])]
    trusted_key: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.what {
        None => key(&arguments.key),
        Some(What::Node(key_arguments)) => key(key_arguments),
        Some(What::Credential) => credential(),
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
    print(&format!("{}\n", key.to_private_jwk()));
    complain("the line on stdout is the private key: keep it where only the node, or whoever compiles, can read it");
    complain(&format!("public, for nodes.json: {}", key.to_public_jwk()));
    complain(&format!("public, for `snapshot.trusted_keys`: {}", key.verifying_key().to_base64()));
    Ok(())
}

fn credential() -> Result<(), Failure> {
    let secret = format!("{CREDENTIAL_PREFIX}{}", URL_SAFE_NO_PAD.encode(random()?));
    print(&format!("{secret}\n{}\n", CredentialDigest::of(secret.as_bytes())));
    complain("the first line on stdout is the customer's credential: hand it over now, it won't be shown again");
    complain("the second is its digest: that, and only that, goes into the register");
    Ok(())
}

fn random() -> Result<[u8; KEY_LENGTH], Failure> {
    let mut bytes = [0; KEY_LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| Failure(format!("the system gives no randomness: {error}")))?;
    Ok(bytes)
}

/// Reads a private JWK. Errors repeat nothing of it.
fn read(path: &Path) -> Result<SigningKey, Failure> {
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| Failure(format!("stdin: can't be read: {error}")))?;
        text
    } else {
        super::read(&path.to_owned()).map_err(|Failure(error)| Failure(format!("{}: {error}", path.display())))?
    };
    SigningKey::from_jwk(&text).map_err(|Mismatch { message, help }| {
        let help = help.map_or_else(String::new, |help| format!("\n  help: {help}"));
        Failure(format!("{}: {message}{help}", path.display()))
    })
}

fn second(text: &str) -> Result<u64, String> {
    let UnixSeconds(second) = UnixSeconds::parse(text).map_err(|Mismatch { message, help }| match help {
        Some(help) => format!("{message}; {help}"),
        None => message,
    })?;
    u64::try_from(second).map_err(|_| "before 1970".into())
}
