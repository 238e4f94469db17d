//! How a study's owner reaches the hub of a running study from another process.
//!
//! While a study runs, its run directory holds a file with the hub's address and a token that may
//! see and decide cases. Nobody but the owner can read it: other users cannot enter the directory,
//! and no sandbox is given any of it but the public part of a problem.

use aar_core::access::Scope;
use aar_core::id::Name;
use aar_hub::{Client, ClientError, Hub};
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

const OWNER_FILE: &str = "owner.toml";
/// The file has no more bytes.
const MAX_BYTES: u64 = 4 << 10;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    address: SocketAddr,
    token: String,
}

/// The file while it lies there; dropped, it is removed.
pub(crate) struct OwnersKey {
    path: PathBuf,
}

impl OwnersKey {
    /// Lays the key to `hub`, which is served at `address`, into its run directory.
    pub(crate) fn lay(hub: &Hub, address: SocketAddr) -> Result<Self> {
        let holder: Name = "owner".parse().map_err(anyhow::Error::msg)?;
        let token = hub.issue_token(&holder, Scope::Admin)?.secret().to_owned();
        let text = toml::to_string(&Key { address, token }).context("writing the owner's key")?;
        let path = hub.run_dir().join(OWNER_FILE);
        let failed = || format!("writing {}", path.display());
        let mut new = OpenOptions::new();
        // Closed to others before there is anything in it.
        let mut file = new
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .with_context(failed)?;
        let written = file.write_all(text.as_bytes()).with_context(failed);
        let key = Self { path: path.clone() };
        written.map(|()| key)
    }
}

impl Drop for OwnersKey {
    fn drop(&mut self) {
        // What stays there opens nothing: the hub goes away with this process.
        let _ = fs::remove_file(&self.path);
    }
}

/// The hub of the study in `run_dir`; none if the study does not run.
pub(crate) fn running_hub(run_dir: &Path) -> Result<Option<Client>> {
    let path = run_dir.join(OWNER_FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        opened => opened.with_context(|| format!("reading {}", path.display()))?,
    };
    let mut text = String::new();
    file.take(MAX_BYTES)
        .read_to_string(&mut text)
        .with_context(|| format!("reading {}", path.display()))?;
    let key: Key = aar_core::parse::toml(&text).with_context(|| path.display().to_string())?;
    if !key.address.ip().is_loopback() {
        // A run directory may come from anywhere, and must not make this machine call there.
        let address = key.address;
        bail!(
            "{}: field address: {address} is another machine's",
            path.display()
        );
    }
    let hub = Client::new(&format!("http://{}", key.address), &key.token);
    match hub.me() {
        Ok(_) => Ok(Some(hub)),
        // Left behind by a study that was killed. Whoever listens there now, if anybody, is not
        // its hub.
        Err(ClientError::Transport { .. } | ClientError::Answer { .. }) => Ok(None),
        Err(error) if error.code() == Some("unauthorised") => Ok(None),
        Err(error) => Err(error.into()),
    }
}
