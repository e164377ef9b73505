//! The VPCs of this instance, each a network namespace that routes between its tasks and out to the
//! instance through one link, its uplink. Ranges of VPCs may overlap: what leaves one is rewritten
//! to the uplink's own address, and rewritten again where it leaves the instance.
//!
//! A VPC's namespace is pinned by a mount, so it outlives the agent; a file beside it says what it
//! is. Nothing of the host can be reached from a VPC but what the host itself began to talk to.

use super::link::{Links, Veth};
use super::nft::{self, Action, Hook, Match, Rule};
use crate::failure::Failure;
use crate::limits::VPCS_MAX;
use crate::spec::{Cidr, VpcId, VpcSpec};
use crate::sys::{mount, process};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

const FOLDER: &str = "vpc";
/// Pins are called after their VPC and their runtime's tag.
pub const PIN_SUFFIX: &str = ".ns";
/// The file system type of a pinned namespace.
const NAMESPACE_TYPE: i64 = 0x6e73_6673;
/// The uplink, seen from inside.
const UPLINK_INSIDE: &str = "up0";
/// Where uplinks' addresses are from: link-local, four for each.
const UPLINKS: Cidr = Cidr { address: Ipv4Addr::new(169, 254, 128, 0), prefix: 18 };
const UPLINK_PREFIX: u8 = 30;
const LINK_LOCAL: Cidr = Cidr { address: Ipv4Addr::new(169, 254, 0, 0), prefix: 16 };
const EVERYWHERE: Cidr = Cidr { address: Ipv4Addr::UNSPECIFIED, prefix: 0 };
/// How long interfaces of removed tasks may take to go.
const EMPTY_PATIENCE: Duration = Duration::from_secs(5);
/// Name of the table inside a VPC.
const INSIDE_TABLE: &str = "neargate";

/// Set in each VPC's namespace before any interface is made, as interfaces copy them at birth:
/// packets are forwarded, a task can't send from an address that isn't its own, and IPv6 is not
/// spoken.
const SETTINGS: [(&str, &str); 6] = [
    ("ipv4/ip_forward", "1"),
    ("ipv4/conf/all/rp_filter", "1"),
    ("ipv4/conf/default/rp_filter", "1"),
    ("ipv4/conf/all/send_redirects", "0"),
    ("ipv4/conf/default/send_redirects", "0"),
    ("ipv6/conf/default/disable_ipv6", "1"),
];

pub struct Vpcs {
    folder: PathBuf,
    tag: String,
    known: Mutex<BTreeMap<VpcId, Known>>,
}

struct Known {
    namespace: Arc<OwnedFd>,
    /// Whether this process has set it up, or found it and not looked yet.
    configured: bool,
    record: Record,
}

/// What is kept beside a pin.
#[derive(Clone, Serialize, Deserialize)]
struct Record {
    spec: VpcSpec,
    /// Which of the uplinks' addresses it has.
    slot: u32,
}

impl Record {
    fn uplink_name(&self, tag: &str) -> String {
        format!("ng{tag}-{:x}", self.slot)
    }

    /// The addresses of the uplink: on the host, in the VPC.
    fn uplink_addresses(&self) -> (Ipv4Addr, Ipv4Addr) {
        let base = u32::from(UPLINKS.address) + self.slot * 4;
        (Ipv4Addr::from(base + 1), Ipv4Addr::from(base + 2))
    }
}

/// The name of a runtime's table on the machine itself.
pub fn host_table(tag: &str) -> String {
    format!("neargate-{tag}")
}

fn pin_path(folder: &Path, vpc: &VpcId, tag: &str) -> PathBuf {
    folder.join(format!("{vpc}.{tag}{PIN_SUFFIX}"))
}

/// Deletes a link of this network namespace.
pub fn delete_link(name: &str) -> io::Result<()> {
    let links = Links::here()?;
    links.delete(links.index(name)?)
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    Failure::of(what)
}

impl Vpcs {
    /// Finds those of an earlier agent.
    pub fn new(root: &Path, tag: &str) -> Result<Self, Failure> {
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder).map_err(failed("making the folder of VPCs"))?;
        let mut known = BTreeMap::new();
        for entry in fs::read_dir(&folder).map_err(failed("reading the folder of VPCs"))?.flatten()
        {
            let path = entry.path();
            if path.extension().is_none_or(|e| e != "json") {
                continue;
            }
            let read = fs::read(&path).ok().and_then(|b| serde_json::from_slice(&b).ok());
            let Some::<Record>(record) = read else { continue };
            let pin = pin_path(&folder, &record.spec.id, tag);
            if is_namespace(&pin) {
                let opened = File::open(&pin).map_err(failed("opening a VPC's namespace"))?;
                let namespace = Arc::new(OwnedFd::from(opened));
                let id = record.spec.id.clone();
                known.insert(id, Known { namespace, configured: false, record });
            }
        }
        Ok(Self { folder, tag: tag.to_owned(), known: Mutex::new(known) })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VpcId, Known>> {
        self.known.lock().expect("nothing panics while it holds the VPCs")
    }

    pub fn known(&self) -> Vec<VpcId> {
        self.lock().keys().cloned().collect()
    }

    pub fn namespace(&self, vpc: &VpcId) -> Option<Arc<OwnedFd>> {
        self.lock().get(vpc).map(|known| known.namespace.clone())
    }

    /// All of our uplinks on the host, as nftables writes it.
    fn uplinks(&self) -> String {
        format!("ng{}-*", self.tag)
    }

    pub fn ensure(&self, spec: &VpcSpec) -> Result<(), Failure> {
        let id = spec.id.as_str();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if id.is_empty() || !id.chars().all(plain) {
            return Err(Failure::Refused(format!("{id:?} is no id of a VPC")));
        }
        let mut known = self.lock();
        if known.get(&spec.id).is_some_and(|k| k.configured && k.record.spec == *spec) {
            return Ok(());
        }
        let slot = known.get(&spec.id).map(|k| k.record.slot);
        let slot = slot.map_or_else(|| self.free_slot(&known, &spec.id), Ok)?;
        let record = Record { spec: spec.clone(), slot };
        let json = serde_json::to_vec(&record).expect("a record has string keys only");
        let written = fs::write(self.folder.join(format!("{id}.json")), json);
        written.map_err(failed("writing down a VPC"))?;
        let namespace = match known.get(&spec.id) {
            Some(k) => k.namespace.clone(),
            None => Arc::new(self.pin(&spec.id)?),
        };
        let tables = self.replace_host_table();
        tables.map_err(failed("setting up address translation on this machine"))?;
        self.configure(&record, &namespace)?;
        known.insert(spec.id.clone(), Known { namespace, configured: true, record });
        Ok(())
    }

    /// An uplink's number that no VPC of any runtime on this machine has.
    fn free_slot(&self, known: &BTreeMap<VpcId, Known>, vpc: &VpcId) -> Result<u32, Failure> {
        let mut taken: Vec<u32> = known.values().map(|k| k.record.slot).collect();
        for name in interfaces().map_err(failed("listing interfaces"))? {
            let slot = name.strip_prefix("ng").and_then(|n| n.rsplit_once('-'));
            taken.extend(slot.and_then(|(_, s)| u32::from_str_radix(s, 16).ok()));
        }
        let mut hasher = DefaultHasher::new();
        (&self.tag, vpc).hash(&mut hasher);
        let first = (hasher.finish() % u64::from(VPCS_MAX)) as u32;
        let mut slots = (0..VPCS_MAX).map(|n| (first + n) % VPCS_MAX);
        let free = slots.find(|slot| !taken.contains(slot));
        free.ok_or_else(|| Failure::Refused("this instance has no room for another VPC".to_owned()))
    }

    /// A new namespace, held by a mount.
    fn pin(&self, vpc: &VpcId) -> Result<OwnedFd, Failure> {
        let pin = pin_path(&self.folder, vpc, &self.tag);
        if is_namespace(&pin) {
            return Ok(File::open(&pin).map_err(failed("opening a VPC's namespace"))?.into());
        }
        File::create(&pin).map_err(failed("making a VPC's pin"))?;
        let target = pin.clone();
        in_thread(move || {
            process::unshare(libc::CLONE_NEWNET)?;
            let own = Path::new("/proc/thread-self/ns/net");
            mount::mount_flags(Some(own), &target, libc::MS_BIND)?;
            Ok(OwnedFd::from(File::open(&target)?))
        })
        .map_err(failed("making a VPC's namespace"))
    }

    fn replace_host_table(&self) -> io::Result<()> {
        let ours = || Match::InputName(self.uplinks());
        let rule = |hook, matches, action| Rule { hook, matches, action };
        nft::replace_table(
            &host_table(&self.tag),
            &[
                rule(Hook::Input, vec![ours(), Match::KnownConnection], Action::Accept),
                rule(Hook::Input, vec![ours()], Action::Drop),
                rule(Hook::Forward, vec![ours(), Match::Destination(LINK_LOCAL)], Action::Drop),
                rule(Hook::Forward, vec![ours(), Match::OutputName(self.uplinks())], Action::Drop),
                rule(
                    Hook::Postrouting,
                    vec![Match::Source(UPLINKS), Match::NotOutputName(self.uplinks())],
                    Action::Masquerade,
                ),
            ],
        )
    }

    fn configure(&self, record: &Record, namespace: &Arc<OwnedFd>) -> Result<(), Failure> {
        let id = record.spec.id.clone();
        let inside = |work: fn(&Record) -> io::Result<()>| {
            let (record, namespace) = (record.clone(), namespace.clone());
            in_thread(move || {
                process::setns(namespace.as_fd(), libc::CLONE_NEWNET)?;
                work(&record)
            })
        };
        inside(|_| apply_settings()).map_err(failed(format!("settings of {id}")))?;
        self.make_uplink(record, namespace).map_err(failed(format!("uplink of {id}")))?;
        inside(configure_inside).map_err(failed(format!("addresses and routes of {id}")))
    }

    /// The link between this machine and the VPC, with this machine's side of the routes.
    fn make_uplink(&self, record: &Record, namespace: &OwnedFd) -> io::Result<()> {
        let links = Links::here()?;
        let name = record.uplink_name(&self.tag);
        if links.index(&name).is_err() {
            links.add_veth(&Veth {
                name: &name,
                peer_name: UPLINK_INSIDE,
                peer_namespace: namespace.as_fd(),
                peer_mac: None,
                mtu: None,
            })?;
        }
        let index = links.index(&name)?;
        let (host, vpc) = record.uplink_addresses();
        links.add_address(index, host, UPLINK_PREFIX)?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        if record.spec.host_route {
            for cidr in &record.spec.cidrs {
                links.route(*cidr, vpc, index)?;
            }
        }
        Ok(())
    }

    pub fn remove(&self, vpc: &VpcId) -> Result<(), Failure> {
        let mut known = self.lock();
        let Some(found) = known.get(vpc) else { return Ok(()) };
        let namespace = found.namespace.clone();
        let busy = in_thread(move || {
            process::setns(namespace.as_fd(), libc::CLONE_NEWNET)?;
            wait_until_empty()
        });
        if let Some(left) = busy.map_err(failed("looking for a VPC's tasks"))? {
            return Err(Failure::Refused(format!("{vpc} still has interfaces of tasks: {left:?}")));
        }
        let links = Links::here().map_err(failed("talking to the kernel"))?;
        if let Ok(index) = links.index(&found.record.uplink_name(&self.tag)) {
            links.delete(index).map_err(failed("removing a VPC's uplink"))?;
        }
        self.unpin(vpc)?;
        known.remove(vpc);
        Ok(())
    }

    fn unpin(&self, vpc: &VpcId) -> Result<(), Failure> {
        let pin = pin_path(&self.folder, vpc, &self.tag);
        if is_namespace(&pin) {
            mount::unmount_detach(&pin).map_err(failed("letting go of a VPC's namespace"))?;
        }
        for path in [pin, self.folder.join(format!("{vpc}.json"))] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(failed("removing a VPC's files"))?,
            }
        }
        Ok(())
    }

    /// The table on this machine, when no VPC is left.
    pub fn remove_all(&self) -> Result<(), Failure> {
        nft::delete_table(&host_table(&self.tag)).map_err(failed("removing address translation"))
    }

    /// Files of VPCs that are not there any more, as after a reboot.
    pub fn sweep(&self) -> Result<Vec<String>, Failure> {
        let known = self.lock();
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed("reading VPCs"))?.flatten() {
            let path = entry.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            let vpc = VpcId::from(name.split('.').next().unwrap_or(name));
            if !known.contains_key(&vpc) {
                self.unpin(&vpc)?;
                removed.push(format!("files of {vpc}"));
            }
        }
        Ok(removed)
    }
}

/// Runs `work` in a thread of its own, which may change its network namespace for good.
fn in_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    std::thread::spawn(work).join().expect("work of ours doesn't panic")
}

fn is_namespace(path: &Path) -> bool {
    mount::file_system_type(path).is_ok_and(|kind| kind == NAMESPACE_TYPE)
}

/// Interfaces of this thread's network namespace.
pub fn interfaces() -> io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    Ok(names.collect())
}

/// Waits for interfaces of tasks that were removed a moment ago. Returns those that stay.
fn wait_until_empty() -> io::Result<Option<Vec<String>>> {
    let give_up = Instant::now() + EMPTY_PATIENCE;
    loop {
        let mut left = interfaces()?;
        left.retain(|name| name != "lo" && name != UPLINK_INSIDE);
        if left.is_empty() {
            return Ok(None);
        }
        if Instant::now() > give_up {
            return Ok(Some(left));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn apply_settings() -> io::Result<()> {
    for (name, value) in SETTINGS {
        match fs::write(format!("/proc/sys/net/{name}"), value) {
            // A kernel without IPv6.
            Err(e) if e.kind() == io::ErrorKind::NotFound && name.starts_with("ipv6") => {}
            other => other?,
        }
    }
    Ok(())
}

fn configure_inside(record: &Record) -> io::Result<()> {
    let links = Links::here()?;
    let loopback = links.index("lo")?;
    links.up(loopback)?;
    for subnet in &record.spec.subnets {
        links.add_address(loopback, subnet.gateway, 32)?;
    }
    let uplink = links.index(UPLINK_INSIDE)?;
    links.up(uplink)?;
    let (host, vpc) = record.uplink_addresses();
    links.add_address(uplink, vpc, UPLINK_PREFIX)?;
    links.route(EVERYWHERE, host, uplink)?;
    for cidr in &record.spec.cidrs {
        links.unreachable(*cidr)?;
    }
    let out = || Match::OutputName(UPLINK_INSIDE.to_owned());
    let rule = |hook, matches, action| Rule { hook, matches, action };
    // A task must not reach this machine's own link-local services, such as a cloud's credentials.
    let forward = vec![out(), Match::Destination(LINK_LOCAL), Match::KnownConnection];
    let refuse = vec![out(), Match::Destination(LINK_LOCAL)];
    nft::replace_table(
        INSIDE_TABLE,
        &[
            rule(Hook::Forward, forward, Action::Accept),
            rule(Hook::Forward, refuse, Action::Drop),
            rule(Hook::Postrouting, vec![out()], Action::Masquerade),
        ],
    )
}
