//! Giving up power: ids, capabilities, Landlock. (The system-call filter is in `syscalls`.)
//!
//! Process 1 locks itself down before it starts the command, so that both live under the same
//! rules: a fault in our own code inside gains an attacker nothing.

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, Signal, getrlimit, set_dumpable_behavior,
    set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, Gid, Uid, clear_ambient_capability_set,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs, set_thread_groups,
    set_thread_res_gid, set_thread_res_uid,
};

use crate::mounts::Seen;
use crate::spec::{OUT, Runtime, Spec, TMP, WORK};
use crate::wire::{Failure, Ids};

/// The newest Landlock interface that we know what to ask of.
const LANDLOCK: ABI = ABI::V6;

/// Becomes an id without any capability, now or after starting another program.
pub(crate) fn drop_power(ids: Ids) -> Result<(), Failure> {
    let failed = |step: &'static str| Failure::machine::<rustix::io::Errno>(step);
    for capability in CapabilitySet::all().iter() {
        // An older kernel does not know the newest ones; those cannot be held either.
        let _ = remove_capability_from_bounding_set(capability);
    }
    let (uid, gid) = (Uid::from_raw(ids.id), Gid::from_raw(ids.id));
    if ids.clear_groups {
        set_thread_groups(&[]).map_err(failed("give up groups"))?;
    }
    set_thread_res_gid(gid, gid, gid).map_err(failed("change the group id"))?;
    set_thread_res_uid(uid, uid, uid).map_err(failed("change the user id"))?;
    clear_ambient_capability_set().map_err(failed("give up ambient capabilities"))?;
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none).map_err(failed("give up capabilities"))?;
    set_no_new_privs(true).map_err(failed("forbid new privileges"))?;
    // The command has our id: nothing of ours may be read or traced.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("hide our memory"))?;
    // A change of id clears this. Should our parent have died in between, the host's side has
    // closed the control socket, and the wait for its `go` ends.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed("die with our parent"))
}

/// Applies Landlock and returns the interface in force, if the kernel has one. It repeats what the
/// mounts and namespaces say, by other code in the kernel: a second lock on each door.
pub(crate) fn landlock(seen: &Seen, runtime: Runtime) -> Result<Option<u32>, Failure> {
    let restrict = || {
        let everything = AccessFs::from_all(LANDLOCK);
        let devices = AccessFs::MakeChar | AccessFs::MakeBlock;
        let write: BitFlags<AccessFs> = everything & !devices;
        let mut rules = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(everything)?;
        if runtime != Runtime::Agent {
            rules = rules.handle_access(AccessNet::from_all(LANDLOCK))?;
        }
        rules
            .scope(Scope::from_all(LANDLOCK))?
            .create()?
            .add_rules(path_beneath_rules(
                &seen.read_only,
                AccessFs::from_read(LANDLOCK),
            ))?
            .add_rules(path_beneath_rules(
                &seen.devices,
                AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev,
            ))?
            .add_rules(path_beneath_rules([WORK, TMP], write))?
            .add_rules(path_beneath_rules([OUT], write & !AccessFs::Execute))?
            .restrict_self()
    };
    let status = restrict().map_err(Failure::machine("Landlock"))?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, .. }) => Some(effective_abi as u32),
        _ => None,
    })
}

/// Per-process limits, set just before the program starts. They hold without any cgroup, and
/// stand behind the totals that the host's side watches over.
pub(crate) fn limit_resources(spec: &Spec, isolated: bool) -> rustix::io::Result<()> {
    let limits = &spec.limits;
    let seconds = limits.cpu.as_secs() + u64::from(limits.cpu.subsec_nanos() > 0);
    // Threads reserve addresses that they never use, so this is looser than the watched total.
    let (addresses, files) = match spec.runtime {
        // A JavaScript engine sets aside a hundred gigabytes of them and uses next to none.
        Runtime::Agent => (u64::MAX, 1_024),
        // So does a GPU's library.
        _ if !spec.devices.is_empty() => (u64::MAX, 512),
        _ => (
            limits
                .memory_bytes
                .saturating_mul(2)
                .saturating_add(1 << 30),
            512,
        ),
    };
    limit(Resource::As, addresses)?;
    limit(Resource::Core, 0)?;
    limit(Resource::Nofile, files)?;
    limit(Resource::Memlock, 0)?;
    limit(Resource::Msgqueue, 0)?;
    limit(Resource::Sigpending, 64)?;
    if isolated {
        // Counted per user *and* user namespace; the launcher and process 1 are in it, too.
        limit(Resource::Nproc, u64::from(limits.processes) + 2)?;
    } else {
        // Inside, the disk is full instead, which a program can be told.
        limit(Resource::Fsize, limits.disk_bytes)?;
    }
    // At the soft limit comes SIGXCPU, which names the cause; a second later SIGKILL.
    limit(Resource::Cpu, seconds.saturating_add(1))?;
    let hard = getrlimit(Resource::Cpu).maximum;
    let soft = hard.map_or(seconds, |hard| hard.min(seconds));
    setrlimit(
        Resource::Cpu,
        Rlimit {
            current: Some(soft),
            maximum: hard,
        },
    )
}

/// Sets a limit, or keeps the host's where that is lower.
fn limit(resource: Resource, value: u64) -> rustix::io::Result<()> {
    let value = getrlimit(resource)
        .maximum
        .map_or(value, |hard| hard.min(value));
    setrlimit(
        resource,
        Rlimit {
            current: Some(value),
            maximum: Some(value),
        },
    )
}
