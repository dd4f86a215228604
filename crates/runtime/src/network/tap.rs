//! The network of a virtual machine: the same address, rules and name service as a sandbox's, with a tap in the place of the pair.
//!
//! The interface is its keeper's, and goes with it. Address and rules are there before it, and stay while a machine's memory is on disk.

use super::{Error, Inner, Link, Network, netlink, sysctl};
use teal_core::id::InstanceId;

impl Network {
    /// Gives `id` its address, and its interface (which is not there yet) its rules. Answers the largest packet, too. Idempotent.
    ///
    /// # Errors
    /// As [`Network::attach`].
    pub(crate) async fn lease(&self, id: &InstanceId, egress: bool) -> Result<(Link, u32), Error> {
        let id = id.clone();
        self.blocking(move |inner| {
            let mut slots = inner.slots();
            let link = inner.lease(&mut slots, &id, egress)?;
            let mtu = inner.open_uplinks(slots.pool(), egress)?;
            Ok((link, mtu))
        })
        .await
    }

    /// Sets the host's end up, now that the interface is there.
    ///
    /// # Errors
    /// If the interface has gone, or what the kernel refused.
    pub(crate) async fn adopt(&self, link: &Link, mtu: u32, egress: bool) -> Result<(), Error> {
        let link = link.clone();
        self.blocking(move |inner| inner.adopt(&link, mtu, egress)).await
    }
}

impl Inner {
    fn adopt(&self, link: &Link, mtu: u32, egress: bool) -> Result<(), Error> {
        let name = link.host_interface.as_str();
        let _changing = self.slots();
        sysctl::host_end(name)?;
        netlink::with(None, async |handle| {
            netlink::limit(handle, name, mtu).await?;
            // Nothing to wait for, as there is with a pair: this interface's other end was there before it.
            netlink::configure(handle, name, link.gateway).await
        })?;
        self.serve_names(link, egress);
        Ok(())
    }
}
