//! What an instance cannot see, reach or do.

use crate::rig::{Rig, done, removed};
use std::{fs, net::TcpListener, os::unix::fs::PermissionsExt};
use teal_runtime::{Runtime, State};

#[tokio::test(flavor = "multi_thread")]
async fn the_host_is_not_there() {
    let Some(rig) = Rig::new() else { return };
    // Each line is something that must be impossible; what gets through is printed.
    let script = r#"
ls /root /home /opt /mnt /media /srv /boot /host /sys 2>/dev/null
cat /etc/shadow /etc/gshadow /etc/ssh/* /etc/sudoers 2>/dev/null
ls /etc/ssl/private /run/docker.sock /run/systemd /var/lib /var/log 2>/dev/null
for p in /proc/[0-9]*; do [ "$(stat -c %u $p)" = 1000 ] || echo "sees $p"; done
cat /proc/1/environ /proc/1/cmdline /proc/kcore /proc/kallsyms /proc/keys 2>/dev/null | head -c 100
readlink /proc/1/exe /proc/1/root /proc/1/ns/net
echo x 2>/dev/null > /proc/sys/kernel/hostname && echo "writes sysctls"
echo x 2>/dev/null > /proc/sysrq-trigger.x && echo "writes sysrq"
for f in / /usr /usr/bin /etc /etc/passwd /dev /run /var /proc/sys; do [ -w $f ] && echo "may write $f"; done
touch /usr/x /etc/x /x /dev/x /run/x 2>/dev/null && echo "wrote"
ls -l /dev | grep -E '^b' 
find / -xdev \( -perm -4000 -o -perm -2000 \) -not -path '/usr/*' 2>/dev/null | head
cat /proc/self/mountinfo | grep -E ' /(proc|sys|dev|run|app|tmp|usr) ' | grep -v nosuid
echo "looked everywhere"
"#;
    let (_, text) = rig.run(&rig.script("e-1-0", script)).await;
    assert_eq!(text, "looked everywhere", "an instance sees or may what it should not");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_refuses_what_no_app_needs() {
    let Some(rig) = Rig::new() else { return };
    let attempts = r#"
import ctypes, errno, os, platform, socket
libc = ctypes.CDLL(None, use_errno=True)
calls = dict(mount=165, umount2=166, chroot=161, pivot_root=155, unshare=272, setns=308, ptrace=101, bpf=321, keyctl=250,
             perf_event_open=298, userfaultfd=323, io_uring_setup=425, init_module=175, kexec_load=246, reboot=169, swapon=167,
             settimeofday=164, open_by_handle_at=304, process_vm_readv=310, clone3=435, open_tree=428, openat2=437, unknown=1000, x32=0x40000000 + 39)
if platform.machine() == "x86_64":
    for name, number in calls.items():
        ctypes.set_errno(0)
        result = libc.syscall(number, 0, 0, 0, 0, 0, 0)
        e = ctypes.get_errno()
        if result != -1 or e not in (errno.EPERM, errno.ENOSYS): print("allowed:", name, result, errno.errorcode.get(e))
    for flag in (0x10000000, 0x00020000, 0x20000000, 0x40000000):
        if libc.syscall(56, flag | 17, 0, 0, 0, 0) != -1: print("clone made a namespace", hex(flag)); os._exit(1)
for family in (socket.AF_PACKET, 38, 40):
    try: socket.socket(family, socket.SOCK_RAW); print("socket family", family)
    except OSError: pass
for kind in (socket.SOCK_RAW,):
    try: socket.socket(socket.AF_INET, kind, 1); print("raw socket")
    except OSError: pass
for uid in (0, 1001):
    try: os.setuid(uid); print("became", uid)
    except OSError: pass
open("/app/suid", "w").close()
for mode in (0o4755, 0o6755):
    try: os.chmod("/app/suid", mode); print("chmod", oct(mode))
    except PermissionError: pass
    try: os.close(os.open("/app/suid2", os.O_CREAT | os.O_WRONLY, mode)); print("made", oct(mode))
    except PermissionError: pass
os.chmod("/app/suid", 0o2755)
if platform.machine() == "x86_64" and libc.syscall(2, b"/app/suid", 0, 0o7777) < 0: print("a mode counts though nothing is made")
try: os.kill(1, 9); print("killed the agent")
except OSError: pass
print("tried everything")
"#;
    let mut spec = rig.script("e-1-0", "exec python3 attempts.py");
    spec.tree = teal_runtime::Tree::Sealed(rig.release(&[("attempts.py", attempts)]));
    let (code, text) = rig.run(&spec).await;
    assert_eq!((code, text.as_str()), (0, "tried everything"));
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_find_what_they_expect() {
    let Some(rig) = Rig::new() else { return };
    let script = r#"
echo "$(whoami) $(id -u) $(id -g) $(id -G) $(hostname) $PWD $HOME $PORT"
env | sed 's/=.*//' | sort | tr '\n' ' '; echo
[ "$$" != 1 ] && ls -ld /app /app/hello.txt /usr /tmp | awk '{print $1, $3, $4}'
python3 -c 'import ssl, multiprocessing; print(len(ssl.create_default_context().get_ca_certs()) > 0); multiprocessing.Lock()'
echo x > /tmp/x && echo x > /app/x && echo x > /dev/shm/x && echo x > hello.txt && mkdir d && echo x > d/y && rm hello.txt && echo writes
echo "$(readlink /bin) $(getent hosts localhost | head -1 | tr -s ' ') $(cat /etc/hostname) $(head -1 /etc/resolv.conf | cut -d. -f1)"
echo to-tty 2>/dev/null > /dev/tty || echo notty; head -c 4 /dev/zero | wc -c; echo gone > /dev/null; ls -l /proc/self/fd | wc -l
"#;
    let (code, text) = rig.run(&rig.script("e-1-0", script)).await;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(code, 0, "{text}");
    assert_eq!(lines[0], "app 1000 1000 1000 e-1-0 /app /app 8080");
    assert_eq!(lines[1].trim(), "APP_HOME HOME PATH PORT PWD SHLVL WHO _", "exactly the given variables");
    assert_eq!(
        lines[2..6],
        ["drwxr-xr-x app app", "-rw-r--r-- app app", "drwxrwxrwt root root", "drwxr-xr-x root root"]
    );
    assert_eq!(
        &lines[6..],
        [
            "True",
            "writes",
            "usr/bin ::1 localhost ip6-localhost ip6-loopback e-1-0 nameserver 10",
            "notty",
            "4",
            "5"
        ]
    );
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_reaches_neither_the_host_nor_a_neighbour() {
    let Some(rig) = Rig::new() else { return };
    let host = TcpListener::bind("0.0.0.0:0").expect("port 0");
    let port = host.local_addr().expect("bound").port();
    let neighbour = rig.python("e-2-0");
    let to = done(rig.sandbox.ensure(&neighbour).await).address.expect("an address");
    rig.until_listening(&neighbour.id).await;
    let probe = r#"
import socket, subprocess, sys
gateway = [l.split()[2] for l in open("/proc/net/route") if l.split()[1] == "00000000"][0]
gateway = ".".join(str(b) for b in bytes.fromhex(gateway)[::-1])
for where in [(gateway, int(sys.argv[1])), (sys.argv[2], 8080), ("169.254.169.254", 80), ("127.0.0.1", int(sys.argv[1]))]:
    try: socket.create_connection(where, timeout=0.7); print("reached", where)
    except OSError: pass
print("tried")
"#;
    for egress in [false, true] {
        let mut spec = rig.script("e-1-0", &format!("exec python3 probe.py {port} {}", to.ip()));
        spec.tree = teal_runtime::Tree::Sealed(rig.release(&[("probe.py", probe)]));
        spec.egress = egress;
        let (_, text) = rig.run(&spec).await;
        assert_eq!(text, "tried", "egress {egress}");
        removed(&rig.sandbox, &spec.id).await;
        done(rig.sandbox.forget(&spec.id).await);
    }
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_have_different_users_on_the_host() {
    let Some(rig) = Rig::new() else { return };
    let mut users = Vec::new();
    for id in ["e-1-0", "e-2-0"] {
        let spec = rig.script(id, "sleep 1000");
        done(rig.sandbox.ensure(&spec).await);
        rig.until(&spec.id, |s| matches!(s, State::Running { .. })).await;
        users.extend(rig.users(&spec.id));
    }
    users.sort_unstable();
    users.dedup();
    assert!(users.iter().all(|u| *u >= 0x7000_0000) && users.len() == 4, "agent and app of each: {users:?}");
    rig.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_written_to_the_hosts_disk() {
    let Some(rig) = Rig::new() else { return };
    let mut spec = rig.script("e-1-0", "sleep 1000");
    spec.variables.insert("SECRET".into(), "correct-horse".into());
    done(rig.sandbox.ensure(&spec).await);
    let run = rig.config.data.join("run/instances/e-1-0");
    assert_eq!(fs::metadata(&run).expect("there").permissions().mode() & 0o777, 0o700);
    let record = fs::read_to_string(run.join("record.json")).expect("a record");
    assert!(!record.contains("correct-horse"), "{record}");
    for pid in rig.pids(&spec.id) {
        let arguments = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        assert!(!arguments.contains("correct-horse"));
    }
    rig.close().await;
}
