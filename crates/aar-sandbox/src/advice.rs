//! What a user can do about a machine that does not isolate.

use std::fs;
use std::path::Path;

use crate::error::SandboxError;

/// An error that says what is in the way here, as far as can be seen.
pub(crate) fn unavailable(step: &str, why: &str) -> SandboxError {
    SandboxError::Unavailable {
        step: step.into(),
        why: why.into(),
        fix: fix(),
    }
}

/// The most likely reason for a refusal, and its remedy.
pub(crate) fn fix() -> String {
    let is = |file: &str, value: &str| {
        fs::read_to_string(file).is_ok_and(|content| content.trim() == value)
    };
    if is(
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
    ) {
        let exe = fs::read_link("/proc/self/exe").unwrap_or_default();
        return format!(
            "Ubuntu's AppArmor keeps unprivileged programs from making user namespaces; allow this \
             one with an AppArmor profile (docs/sandbox.md has it, for {}), or everyone with \
             `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`",
            exe.display()
        );
    }
    if is("/proc/sys/kernel/unprivileged_userns_clone", "0") {
        return "User namespaces are switched off: `sudo sysctl \
                kernel.unprivileged_userns_clone=1` switches them on"
            .into();
    }
    if is("/proc/sys/user/max_user_namespaces", "0") {
        return "User namespaces are switched off, or this already is a sandbox of ours: `sudo \
                sysctl user.max_user_namespaces=15000` switches them on"
            .into();
    }
    if ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|file| Path::new(file).exists())
    {
        return "This is a container whose rules forbid namespaces: start it with `--security-opt \
                seccomp=unconfined --security-opt apparmor=unconfined --security-opt \
                systempaths=unconfined`, or run outside it"
            .into();
    }
    "Linux 5.14 or newer with user namespaces is needed".into()
}
