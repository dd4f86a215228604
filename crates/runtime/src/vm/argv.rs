//! The emulator's command line, as a pure function of what a machine is made of.
//!
//! A saved machine can only go on under the very same arguments, so nothing here may depend on anything else. Nothing in it is secret: a list
//! of processes shows it to everybody. Files and sockets are numbers that the keeper has given (`teal_core::machine`).

use super::config::Acceleration;
use crate::Limits;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use teal_core::machine::{
    AGENT_FD, AGENT_PORT, BASE_DISK, CONSOLE_FD, CONTROL_FD, FIRST_FILE_FD, FURTHER_DISK, LAYER_DISK, LOG_FD,
    LOG_PORT, NETWORK_FD, RELEASE_DISK,
};

/// What a machine's kernel and agent need beside the app, in MiB: the app's limit is its own.
const KERNEL_MIB: u64 = 64;

/// What an emulator needs beside the machine's memory, in MiB: itself, and what it has translated.
const EMULATOR_MIB: u64 = 288;

/// The cache of translated code, in MiB: the default would be a quarter of the machine's memory and more.
const TRANSLATED_MIB: u64 = 32;

/// Processors of one machine, at most.
const MAX_PROCESSORS: u64 = 16;

/// The kernel's command line. No ACPI switches: devices are found through it. `quiet` and the skipped self-tests are a third of a boot's time.
const KERNEL: &str = "console=ttyS0 quiet loglevel=3 reboot=t panic=-1 no_timer_check 8250.nr_uarts=1 pci=off cryptomgr.notests audit=0 \
                      apparmor=0 ipv6.disable=1 random.trust_cpu=on rcupdate.rcu_expedited=1 i8042.noaux i8042.nokbd numa=off";

/// What a machine is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Shape {
    /// Executed by the processor itself?
    pub(super) kvm: bool,
    /// The frequency of the host's time stamp counter, in kHz: an emulated machine that measures it may hang (see the decision record).
    pub(super) tsc_khz: u64,
    /// Its memory, in MiB.
    pub(super) memory_mib: u64,
    /// Its processors.
    pub(super) processors: u64,
    /// Its address, from which its interface's follows.
    pub(super) address: Ipv4Addr,
    /// Disks with further directories.
    pub(super) further: usize,
}

impl Shape {
    /// The shape that gives an app what it may use.
    pub(super) fn new(limits: &Limits, acceleration: Acceleration, tsc_khz: u64, address: Ipv4Addr) -> Self {
        let kvm = acceleration == Acceleration::Kvm;
        // More than one emulated processor makes everything slower, not faster.
        let processors = if kvm { limits.cpu_milli.div_ceil(1000).clamp(1, MAX_PROCESSORS) } else { 1 };
        Self { kvm, tsc_khz, memory_mib: limits.memory_mib + KERNEL_MIB, processors, address, further: 0 }
    }

    /// What the emulator may hold on the host, in MiB.
    pub(super) fn host_mib(&self) -> u64 {
        self.memory_mib + EMULATOR_MIB
    }

    /// The arguments of a machine with its disks and network.
    pub(super) fn arguments(&self) -> Vec<String> {
        let mut all = self.bare();
        let fixed = [BASE_DISK, RELEASE_DISK, LAYER_DISK].map(str::to_owned);
        let further = (0..self.further).map(|number| format!("{FURTHER_DISK}{number}"));
        for (number, disk) in (FIRST_FILE_FD + 2..).zip(fixed.into_iter().chain(further)) {
            let access = if disk == LAYER_DISK { "discard=unmap" } else { "readonly=on" };
            let drive =
                format!("if=none,id={disk},file=/proc/self/fd/{number},format=raw,file.locking=off,{access}");
            let device = format!("virtio-blk-device,drive={disk},serial={disk}");
            all.extend(["-drive".to_owned(), drive, "-device".to_owned(), device]);
        }
        let [_, b, c, d] = self.address.octets();
        let device = format!("virtio-net-device,netdev=network,mac=52:54:00:{b:02x}:{c:02x}:{d:02x}");
        all.extend(["-netdev".to_owned(), format!("tap,id=network,fd={NETWORK_FD}")]);
        all.extend(["-device".to_owned(), device]);
        all
    }

    /// The arguments of a machine that has nothing but its kernel and its agent.
    pub(super) fn bare(&self) -> Vec<String> {
        let (initrd, kernel) = (FIRST_FILE_FD + 1, FIRST_FILE_FD);
        let (accelerator, processor) = if self.kvm {
            ("kvm".to_owned(), "host")
        } else {
            (format!("tcg,tb-size={TRANSLATED_MIB}"), "max")
        };
        let mut all: Vec<String> = [
            ("-machine", "microvm"),
            ("-accel", accelerator.as_str()),
            ("-cpu", processor),
            ("-m", &format!("{}M", self.memory_mib)),
            ("-smp", &self.processors.to_string()),
            ("-display", "none"),
            ("-kernel", &format!("/proc/self/fd/{kernel}")),
            ("-initrd", &format!("/proc/self/fd/{initrd}")),
            ("-append", &self.kernel_line()),
            ("-chardev", &format!("socket,id=console,fd={CONSOLE_FD}")),
            ("-serial", "chardev:console"),
            ("-device", "virtio-serial-device"),
            ("-device", "virtio-rng-device"),
            ("-chardev", &format!("socket,id=control,fd={CONTROL_FD},server=on,wait=off")),
            ("-mon", "chardev=control,mode=control"),
            ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        ]
        .iter()
        .flat_map(|(name, value)| [(*name).to_owned(), (*value).to_owned()])
        .collect();
        all.extend(["-nodefaults", "-no-user-config", "-no-reboot"].map(str::to_owned));
        for (id, fd, name) in [("agent", AGENT_FD, AGENT_PORT), ("log", LOG_FD, LOG_PORT)] {
            all.extend(["-chardev".to_owned(), format!("socket,id={id},fd={fd}")]);
            all.extend(["-device".to_owned(), format!("virtserialport,chardev={id},name={name}")]);
        }
        all
    }

    fn kernel_line(&self) -> String {
        if self.kvm || self.tsc_khz == 0 {
            return KERNEL.to_owned();
        }
        format!("{KERNEL} tsc=reliable tsc_early_khz={}", self.tsc_khz)
    }
}

/// What is added for a machine whose memory comes from elsewhere.
pub(super) fn incoming() -> [String; 3] {
    ["-incoming", "defer", "-S"].map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kvm: bool, cpu_milli: u64) -> Shape {
        let limits = Limits { memory_mib: 256, cpu_milli, pids: 64, disk_mib: 64 };
        let acceleration = if kvm { Acceleration::Kvm } else { Acceleration::Tcg };
        Shape::new(&limits, acceleration, 2_500_000, Ipv4Addr::new(10, 177, 3, 254))
    }

    fn after(all: &[String], name: &str) -> Vec<String> {
        all.windows(2).filter(|pair| pair[0] == name).map(|pair| pair[1].clone()).collect()
    }

    #[test]
    fn an_emulated_machine_is_told_the_counter_and_has_one_processor() {
        let all = shape(false, 4000).arguments();
        assert_eq!(after(&all, "-smp"), ["1"]);
        assert_eq!(after(&all, "-accel"), ["tcg,tb-size=32"]);
        assert!(after(&all, "-append")[0].contains("tsc_early_khz=2500000"));
        let kvm = shape(true, 1500).arguments();
        assert_eq!((after(&kvm, "-smp"), after(&kvm, "-cpu")), (vec!["2".into()], vec!["host".into()]));
        assert!(!after(&kvm, "-append")[0].contains("tsc"));
    }

    #[test]
    fn the_emulator_may_nothing_and_knows_no_names() {
        let all = shape(false, 1000).arguments();
        assert!(after(&all, "-sandbox")[0].contains("spawn=deny"));
        assert!(all.contains(&"-nodefaults".to_owned()) && all.contains(&"-no-reboot".to_owned()));
        let writable: Vec<_> =
            after(&all, "-drive").into_iter().filter(|d| !d.contains("readonly=on")).collect();
        assert_eq!(writable.len(), 1, "{writable:?}");
        assert!(writable[0].starts_with("if=none,id=layer,"));
        assert!(
            all.iter()
                .all(|a| !a.contains("path=") && (!a.contains("file=") || a.contains("file=/proc/self/fd/")))
        );
    }

    #[test]
    fn further_directories_are_further_disks() {
        let all = Shape { further: 2, ..shape(false, 1000) }.arguments();
        let drives = after(&all, "-drive");
        assert_eq!(drives.len(), 5);
        assert!(
            drives[4].contains("id=further1,file=/proc/self/fd/21,") && drives[4].ends_with("readonly=on")
        );
    }

    #[test]
    fn the_interface_follows_from_the_address() {
        let all = shape(false, 1000).arguments();
        assert!(
            all.contains(&"virtio-net-device,netdev=network,mac=52:54:00:b1:03:fe".to_owned()),
            "{all:?}"
        );
    }
}
