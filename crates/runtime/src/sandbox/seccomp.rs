//! The system calls that no instance may make.
//!
//! Two programs: the first answers "no such call" to whatever is newer than the calls looked at here, to other architectures' numbers, and to
//! `clone3` and `openat2`, whose arguments a filter cannot see (programs fall back on `clone` and `openat`). The second refuses by name.

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Width, SeccompCmpOp as Is, SeccompCondition as Condition,
    SeccompFilter, SeccompRule, TargetArch, sock_filter,
};
use std::collections::BTreeMap;

/// The highest number looked at: `removexattrat`. Numbers are the same on all architectures from 424 on.
const NEWEST: u32 = 466;

/// Refused whatever the arguments.
const REFUSED: &[libc::c_long] = &[
    // Mounts and roots.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_name_to_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    // Namespaces.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    // Other processes' memory and descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // The kernel itself.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_memfd_secret,
    // The machine.
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_nfsservctl,
    // listmount, statmount: not in libc everywhere.
    457,
    458,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];

/// Flags of `clone` that make a namespace.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWCGROUP,
];

/// Kinds of sockets that applications need; each of the many others is attack surface.
const FAMILIES: [libc::c_int; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];

/// Terminal requests that type for somebody else.
const TYPING: [u64; 2] = [0x5412, 0x541C];

/// Calls that give a file a mode, and which argument that is. What a build makes belongs to root on the host: no set-user-id program may be
/// among it, however well its directory is closed to others.
const MODES: &[(libc::c_long, u8)] = &[
    (libc::SYS_fchmod, 1),
    (libc::SYS_fchmodat, 2),
    // fchmodat2: not in libc everywhere.
    (452, 2),
    (libc::SYS_mknodat, 2),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_chmod, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_creat, 1),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_mknod, 1),
];

/// Calls that may make a file, and which argument is its mode; the flags are the one before.
const OPENS: &[(libc::c_long, u8)] = &[
    (libc::SYS_openat, 3),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_open, 2),
];

/// Flags by which they do; without one of them the mode is whatever a register held.
const MAKING: [libc::c_int; 2] = [libc::O_CREAT, libc::O_TMPFILE & !libc::O_DIRECTORY];

/// The programs, in the order in which they are installed, each instruction as its eight bytes in a native-endian number.
///
/// # Errors
/// If this architecture has no filter.
pub(super) fn programs() -> Result<Vec<Vec<u64>>, seccompiler::BackendError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    Ok([known(architecture), refusing(architecture)?].iter().map(words).collect())
}

/// `clone3`, `openat2` and everything unknown does not exist.
fn known(architecture: TargetArch) -> BpfProgram {
    let missing = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned();
    let number = |call: libc::c_long| u32::try_from(call).unwrap_or(u32::MAX);
    let (clone3, openat2) = (number(libc::SYS_clone3), number(libc::SYS_openat2));
    let audit = match architecture {
        TargetArch::x86_64 => 0xC000_003E,
        TargetArch::aarch64 => 0xC000_00B7,
        TargetArch::riscv64 => 0xC000_00F3,
    };
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    let (load, equal, greater, answer) = (0x20, 0x15, 0x25, 0x06);
    // Where `struct seccomp_data` has the architecture and the number.
    let (at_architecture, at_number) = (4, 0);
    vec![
        step(load, 0, 0, at_architecture),
        step(equal, 1, 0, audit),
        step(answer, 0, 0, libc::SECCOMP_RET_KILL_PROCESS),
        step(load, 0, 0, at_number),
        step(greater, 2, 0, NEWEST),
        step(equal, 1, 0, clone3),
        step(equal, 0, 1, openat2),
        step(answer, 0, 0, missing),
        step(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ]
}

fn refusing(architecture: TargetArch) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let namespace = |flag: &libc::c_int| {
        let flag = u64::from(flag.cast_unsigned());
        one(0, Width::Qword, Is::MaskedEq(flag), flag)
    };
    rules.insert(libc::SYS_clone, NAMESPACES.iter().map(namespace).collect::<Result<_, _>>()?);
    let foreign =
        |family: &libc::c_int| Condition::new(0, Width::Dword, Is::Ne, u64::from(family.cast_unsigned()));
    let foreign = FAMILIES.iter().map(foreign).collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(foreign)?]);
    let typing = TYPING.iter().map(|request| one(1, Width::Dword, Is::Eq, *request));
    rules.insert(libc::SYS_ioctl, typing.collect::<Result<_, _>>()?);
    for (call, mode) in MODES {
        rules.insert(*call, vec![SeccompRule::new(vec![set_user_id(*mode)?])?]);
    }
    for (call, mode) in OPENS {
        let making = |flag: &libc::c_int| {
            let flag = u64::from(flag.cast_unsigned());
            let makes = Condition::new(mode - 1, Width::Dword, Is::MaskedEq(flag), flag)?;
            SeccompRule::new(vec![makes, set_user_id(*mode)?])
        };
        rules.insert(*call, MAKING.iter().map(making).collect::<Result<_, _>>()?);
    }
    let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    SeccompFilter::new(rules, SeccompAction::Allow, refused, architecture)?.try_into()
}

fn set_user_id(mode: u8) -> Result<Condition, seccompiler::BackendError> {
    let bit = u64::from(libc::S_ISUID);
    Condition::new(mode, Width::Dword, Is::MaskedEq(bit), bit)
}

fn one(argument: u8, width: Width, is: Is, value: u64) -> Result<SeccompRule, seccompiler::BackendError> {
    SeccompRule::new(vec![Condition::new(argument, width, is, value)?])
}

fn words(program: &BpfProgram) -> Vec<u64> {
    let word = |step: &sock_filter| {
        let ([a, b], [k0, k1, k2, k3]) = (step.code.to_ne_bytes(), step.k.to_ne_bytes());
        u64::from_ne_bytes([a, b, step.jt, step.jf, k0, k1, k2, k3])
    };
    program.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_programs_are_short_enough_for_the_kernel() {
        let programs = programs().expect("this architecture is supported");
        assert_eq!(programs.len(), 2);
        assert!(programs.iter().all(|p| !p.is_empty() && p.len() < 4096));
    }
}
