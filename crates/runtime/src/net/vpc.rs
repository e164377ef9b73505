//! The VPCs of this instance, each a network namespace that routes between its tasks and out to the
//! instance through one link, its uplink. Ranges of VPCs may overlap: what leaves one is rewritten
//! to an address that is unique on the instance, and rewritten again where it leaves the instance.
//!
//! A VPC's namespace is pinned by a mount, so it outlives the agent; a file beside it says what it
//! is. Nothing of the host can be reached from a VPC but what the host itself began to talk to.

use super::host::{self, Tunnel};
use super::link::{Links, Veth};
use super::nft::{self, Table, Transaction};
use super::passage;
use super::router::{self, Router, UPLINK_INSIDE, UPLINK_PREFIX};
use super::tunnel::{self, Underlay};
use crate::failure::Failure;
use crate::limits::VPCS_MAX;
use crate::spec::{Cidr, InterfaceChanges, Place, TableInterface, VpcId, VpcTable};
use crate::sys::{mount, socket};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub const FOLDER: &str = "vpc";
/// Pins are called after their VPC and their runtime's tag.
pub const PIN_SUFFIX: &str = ".ns";
/// The file system type of a pinned namespace.
const NAMESPACE_TYPE: i64 = 0x6e73_6673;
/// How long interfaces of removed tasks may take to go by themselves.
const EMPTY_PATIENCE: Duration = Duration::from_secs(1);

/// Why the machine's own table is there where it is changed.
const MADE_BEFORE: &str = "whoever changes the machine's table has made it before";

pub struct Vpcs {
    folder: PathBuf,
    tag: String,
    underlay: Option<Underlay>,
    all: Mutex<All>,
}

#[derive(Default)]
struct All {
    known: BTreeMap<VpcId, Router>,
    /// The machine's own table as it is; None: not made by this process yet.
    host: Option<Table>,
    /// Public addresses at other instances that this machine has routes to.
    elsewhere: BTreeMap<VpcId, Elsewhere>,
    /// Who may send in VPCs' names, as the machine's own table has it.
    tunnels: BTreeMap<VpcId, Tunnel>,
}

/// Public addresses, and the instances they are at.
type Elsewhere = BTreeMap<Ipv4Addr, Ipv4Addr>;

/// What is kept beside a pin.
#[derive(Serialize, Deserialize)]
struct Record {
    /// Which of the uplinks' addresses it has.
    slot: u32,
    /// Before there are such routes, so that none outlives who knows of it.
    #[serde(default)]
    elsewhere: Elsewhere,
}

pub fn pin_path(folder: &Path, vpc: &VpcId, tag: &str) -> PathBuf {
    folder.join(format!("{vpc}.{tag}{PIN_SUFFIX}"))
}

fn record_path(folder: &Path, vpc: &VpcId) -> PathBuf {
    folder.join(format!("{vpc}.json"))
}

/// Deletes a link of this network namespace.
pub fn delete_link(name: &str) -> io::Result<()> {
    let links = Links::here()?;
    links.delete(links.index(name)?)
}

/// In whose names addresses of the pool that stand for nothing are refused.
pub fn refusals() -> io::Result<Vec<u32>> {
    let mut all = Links::here()?.refusals(host::POOL)?;
    all.retain(|metric| host::is_refusal(*metric));
    Ok(all)
}

pub fn refuse_no_more(metric: u32) -> io::Result<()> {
    Links::here()?.refuse_no_more(host::POOL, metric)
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> Failure {
    Failure::of(what)
}

fn unknown(vpc: &VpcId) -> Failure {
    Failure::Refused(format!("{vpc} is not known on this instance"))
}

impl Vpcs {
    /// Finds those of an earlier agent. They stay as they are until their tables come.
    pub fn new(root: &Path, tag: &str, underlay: Option<Underlay>) -> Result<Self, Failure> {
        let folder = root.join(FOLDER);
        fs::create_dir_all(&folder).map_err(failed("making the folder of VPCs"))?;
        let mut all = All::default();
        for entry in fs::read_dir(&folder).map_err(failed("reading the folder of VPCs"))?.flatten()
        {
            let path = entry.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let Some(vpc) = name.and_then(|name| name.strip_suffix(".json")).map(VpcId::from)
            else {
                continue;
            };
            let pin = pin_path(&folder, &vpc, tag);
            if !is_namespace(&pin) {
                continue;
            }
            let read = fs::read(&path).map_err(failed(format!("reading {}", path.display())))?;
            let record: Record = serde_json::from_slice(&read)
                .map_err(|e| Failure::of(format!("reading {}", path.display()))(e.into()))?;
            let namespace = File::open(&pin).map_err(failed("opening a VPC's namespace"))?;
            all.elsewhere.insert(vpc.clone(), record.elsewhere);
            all.known.insert(vpc, Router::new(namespace.into(), record.slot));
        }
        Ok(Self { folder, tag: tag.to_owned(), underlay, all: Mutex::new(all) })
    }

    fn lock(&self) -> MutexGuard<'_, All> {
        self.all.lock().expect("nothing panics while it holds the VPCs")
    }

    pub fn known(&self) -> Vec<VpcId> {
        self.lock().known.keys().cloned().collect()
    }

    pub fn namespace(&self, vpc: &VpcId) -> Option<Arc<OwnedFd>> {
        self.lock().known.get(vpc).map(|router| router.namespace.clone())
    }

    /// Does something with a VPC's router.
    pub fn with<T>(
        &self,
        vpc: &VpcId,
        what: &str,
        work: impl FnOnce(&mut Router) -> io::Result<T>,
    ) -> Result<T, Failure> {
        let mut all = self.lock();
        let router = all.known.get_mut(vpc).ok_or_else(|| unknown(vpc))?;
        work(router).map_err(failed(format!("{what} in {vpc}")))
    }

    /// All of our uplinks on the host, as nftables writes it.
    fn uplinks(&self) -> String {
        format!("ng{}-*", self.tag)
    }

    fn uplink(&self, slot: u32) -> String {
        format!("ng{}-{slot:x}", self.tag)
    }

    /// Keeps other firewalls from stopping tasks, for ever.
    pub fn keep_passage(&self) -> impl Future<Output = io::Result<()>> + Send + use<> {
        passage::keep_open(self.uplinks(), host::table_name(&self.tag))
    }

    pub fn ensure(&self, table: &VpcTable) -> Result<(), Failure> {
        let id = table.id.as_str();
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if id.is_empty() || !id.chars().all(plain) {
            return Err(Failure::Refused(format!("{id:?} is no id of a VPC")));
        }
        let mut all = self.lock();
        if all.known.get(&table.id).is_some_and(|router| router.table() == Some(table)) {
            return Ok(());
        }
        if !all.known.contains_key(&table.id) {
            let router = self.begin(&all.known, &table.id)?;
            all.known.insert(table.id.clone(), router);
        }
        self.make_host(&mut all).map_err(failed("rules of the machine itself"))?;
        let All { known, host, elsewhere, tunnels } = &mut *all;
        let router = known.get_mut(&table.id).expect("it was just put there");
        self.make_uplink(router, table).map_err(failed(format!("uplink of {id}")))?;
        let before = host::addresses(router.table());
        router
            .replace(table, self.underlay.as_ref())
            .map_err(failed(format!("rules, addresses and routes of {id}")))?;
        let wanted = table.interfaces.values().filter_map(host::elsewhere).collect();
        self.change_elsewhere(elsewhere.entry(table.id.clone()).or_default(), router, wanted, id)
            .map_err(failed(format!("ways to public addresses of {id}")))?;
        let after = host::addresses(Some(table));
        self.change_host(host, router, &before, &after)
            .map_err(failed(format!("public addresses of {id}")))?;
        self.change_tunnel(host, tunnels, &table.id, Some(Tunnel::of(table)))
            .map_err(failed(format!("who may send in the name of {id}")))
    }

    /// Interfaces came, changed or went. The VPC's table was given before, else all of it is asked
    /// for: false.
    pub fn change(&self, vpc: &VpcId, changes: &InterfaceChanges) -> Result<bool, Failure> {
        let mut all = self.lock();
        self.make_host(&mut all).map_err(failed("rules of the machine itself"))?;
        let All { known, host, elsewhere, tunnels } = &mut *all;
        let router = known.get_mut(vpc).ok_or_else(|| unknown(vpc))?;
        let before = host::changed_addresses(router.table(), changes);
        let old = |address| host::elsewhere(router.table()?.interfaces.get(address)?);
        let touched = || changes.remove.iter().chain(changes.upsert.keys());
        let went: Vec<_> = touched().filter_map(old).collect();
        let is_peers = |one: &TableInterface| matches!(one.place, Place::Instance(_));
        let was_peers =
            |address| router.table().and_then(|t| t.interfaces.get(address)).is_some_and(is_peers);
        let moves_peers = touched().any(was_peers) || changes.upsert.values().any(is_peers);
        let came: Vec<_> = changes.upsert.values().filter_map(host::elsewhere).collect();
        if !router.change(changes).map_err(failed(format!("interfaces of {vpc}")))? {
            return Ok(false);
        }
        if !went.is_empty() || !came.is_empty() {
            let known = elsewhere.entry(vpc.clone()).or_default();
            let mut wanted = known.clone();
            wanted.retain(|public, _| !went.iter().any(|(gone, _)| gone == public));
            wanted.extend(came);
            self.change_elsewhere(known, router, wanted, vpc.as_str())
                .map_err(failed(format!("ways to public addresses of {vpc}")))?;
        }
        let after = host::changed_addresses(router.table(), changes);
        self.change_host(host, router, &before, &after)
            .map_err(failed(format!("public addresses of {vpc}")))?;
        if moves_peers {
            let tunnel = router.table().map(Tunnel::of);
            self.change_tunnel(host, tunnels, vpc, tunnel)
                .map_err(failed(format!("who may send in the name of {vpc}")))?;
        }
        Ok(true)
    }

    fn begin(&self, known: &BTreeMap<VpcId, Router>, vpc: &VpcId) -> Result<Router, Failure> {
        let slot = self.free_slot(known, vpc)?;
        let written = self.write_down(vpc.as_str(), slot, Elsewhere::new());
        written.map_err(failed("writing down a VPC"))?;
        let pin = pin_path(&self.folder, vpc, &self.tag);
        let namespace = if is_namespace(&pin) {
            File::open(&pin).map(Into::into)
        } else {
            File::create(&pin).and_then(|_| router::pin(&pin))
        };
        let router = Router::new(namespace.map_err(failed("making a VPC's namespace"))?, slot);
        router.apply_settings().map_err(failed(format!("settings of {vpc}")))?;
        Ok(router)
    }

    /// An uplink's number that no VPC of any runtime on this machine has.
    fn free_slot(&self, known: &BTreeMap<VpcId, Router>, vpc: &VpcId) -> Result<u32, Failure> {
        let mut taken: Vec<u32> = known.values().map(|router| router.slot).collect();
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

    /// The link between this machine and the VPC, with this machine's side of the routes.
    fn make_uplink(&self, router: &Router, table: &VpcTable) -> io::Result<()> {
        let links = Links::here()?;
        let name = self.uplink(router.slot);
        if links.index(&name).is_err() {
            links.add_veth(&Veth {
                name: &name,
                peer_name: UPLINK_INSIDE,
                peer_namespace: router.namespace.as_fd(),
                peer_mac: None,
                mtu: None,
            })?;
        }
        let index = links.index(&name)?;
        let (host, vpc) = router.uplink_addresses();
        links.add_address(index, host, UPLINK_PREFIX)?;
        fs::write("/proc/sys/net/ipv4/ip_forward", "1")?;
        if table.host_route {
            for cidr in &table.cidrs {
                links.route(*cidr, vpc, index)?;
            }
        }
        if router.table().is_none() {
            // Of an earlier agent, and perhaps not wanted any more.
            let wanted = host::addresses(Some(table));
            for stale in links.routes(index)? {
                if !wanted.contains_key(&stale) {
                    links.delete_route(Some(index), stale)?;
                }
            }
        }
        Ok(())
    }

    /// The machine's own table for the VPCs whose tables came, and its word on the pool. What is
    /// there of an earlier agent is thrown away.
    fn make_host(&self, all: &mut All) -> io::Result<()> {
        if all.host.is_some() {
            return Ok(());
        }
        let port = self.underlay.as_ref().map(|underlay| underlay.port);
        let mut rules = host::table(&self.uplinks(), port);
        all.tunnels.clear();
        for (id, table) in all.known.iter().filter_map(|(id, it)| Some((id, it.table()?))) {
            host::add_addresses(&mut rules, &host::addresses(Some(table)));
            if self.underlay.is_some() {
                let tunnel = Tunnel::of(table);
                host::add_tunnel(&mut rules, &tunnel);
                all.tunnels.insert(id.clone(), tunnel);
            }
        }
        let netlink = socket::netlink(libc::NETLINK_NETFILTER)?;
        nft::replace(&netlink, &host::table_name(&self.tag), None, &rules)?;
        Links::here()?.refuse(host::POOL, host::refusal_metric(&self.tag))?;
        all.host = Some(rules);
        Ok(())
    }

    /// Rules of the machine for who may send in a VPC's name. None: nobody any more.
    fn change_tunnel(
        &self,
        table: &mut Option<Table>,
        tunnels: &mut BTreeMap<VpcId, Tunnel>,
        vpc: &VpcId,
        after: Option<Tunnel>,
    ) -> io::Result<()> {
        let after = after.filter(|_| self.underlay.is_some());
        let before = tunnels.get(vpc);
        if before == after.as_ref() {
            return Ok(());
        }
        let mut rules = table.take().expect(MADE_BEFORE);
        let name = host::table_name(&self.tag);
        let mut transaction = Transaction::new(&name);
        host::change_tunnel(&mut transaction, &mut rules, before, after.as_ref());
        transaction.commit(&socket::netlink(libc::NETLINK_NETFILTER)?)?;
        *table = Some(rules);
        match after {
            Some(after) => drop(tunnels.insert(vpc.clone(), after)),
            None => drop(tunnels.remove(vpc)),
        }
        Ok(())
    }

    /// Routes and rules of the machine for public addresses that came or went.
    fn change_host(
        &self,
        table: &mut Option<Table>,
        router: &Router,
        before: &BTreeMap<Ipv4Addr, bool>,
        after: &BTreeMap<Ipv4Addr, bool>,
    ) -> io::Result<()> {
        let name = host::table_name(&self.tag);
        // What can't be done leaves no table: it is made anew for the next thing to do.
        let mut rules = table.take().expect(MADE_BEFORE);
        if before != after || !after.is_empty() {
            let mut transaction = Transaction::new(&name);
            host::change(&mut transaction, &mut rules, before, after);
            transaction.commit(&socket::netlink(libc::NETLINK_NETFILTER)?)?;
            let links = Links::here()?;
            let index = links.index(&self.uplink(router.slot))?;
            let (_, vpc) = router.uplink_addresses();
            for address in after.keys().filter(|address| !before.contains_key(*address)) {
                links.route(Cidr { address: *address, prefix: 32 }, vpc, index)?;
            }
            for address in before.keys().filter(|address| !after.contains_key(*address)) {
                match links.delete_route(Some(index), *address) {
                    // Another VPC has it by now, or nobody.
                    Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
                    other => other?,
                }
            }
        }
        *table = Some(rules);
        Ok(())
    }

    fn write_down(&self, vpc: &str, slot: u32, elsewhere: Elsewhere) -> io::Result<()> {
        let json = serde_json::to_vec(&Record { slot, elsewhere }).expect("a record is plain");
        let path = record_path(&self.folder, &VpcId::from(vpc));
        let beside = path.with_extension("json.new");
        fs::write(&beside, json)?;
        fs::rename(beside, path)
    }

    /// This machine's ways to public addresses that other instances answer for. An instance that is
    /// not on a network of this machine's own can't be a way: what is there is then not reached.
    fn change_elsewhere(
        &self,
        known: &mut Elsewhere,
        router: &Router,
        wanted: Elsewhere,
        vpc: &str,
    ) -> io::Result<()> {
        if *known == wanted {
            return Ok(());
        }
        let both = known.iter().chain(&wanted).map(|(public, at)| (*public, *at));
        self.write_down(vpc, router.slot, both.collect())?;
        let links = Links::here()?;
        for (public, at) in known.iter().filter(|(public, at)| wanted.get(public) != Some(at)) {
            match links.delete_route_by(*public, *at) {
                // It could not be made, or another one took its place.
                Err(e) if e.raw_os_error() == Some(libc::ESRCH) => {}
                other => other?,
            }
        }
        for (public, at) in wanted.iter().filter(|(public, at)| known.get(public) != Some(at)) {
            match links.route_by(*public, *at) {
                // The kernel has three words for a gateway that isn't on a link.
                Err(e)
                    if matches!(
                        e.raw_os_error(),
                        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EINVAL)
                    ) =>
                {
                    tracing::warn!(%public, %at, "no way to a public address at another instance");
                }
                other => other?,
            }
        }
        *known = wanted;
        Ok(())
    }

    /// `living` are the names of interfaces of tasks that are there.
    pub fn remove(&self, vpc: &VpcId, living: BTreeSet<String>) -> Result<(), Failure> {
        let Some(namespace) = self.namespace(vpc) else { return Ok(()) };
        // Without the lock, as it may take a while.
        let used = router::inside(namespace, move || empty(&living));
        let used = used.map_err(failed("looking for a VPC's tasks"))?;
        if !used.is_empty() {
            return Err(Failure::Refused(format!("{vpc} still has interfaces of tasks: {used:?}")));
        }
        let mut all = self.lock();
        self.make_host(&mut all).map_err(failed("rules of the machine itself"))?;
        let All { known, host, elsewhere, tunnels } = &mut *all;
        let Some(router) = known.get(vpc) else { return Ok(()) };
        if let Some(mut ways) = elsewhere.remove(vpc) {
            self.change_elsewhere(&mut ways, router, Elsewhere::new(), vpc.as_str())
                .map_err(failed(format!("ways to public addresses of {vpc}")))?;
        }
        let links = Links::here().map_err(failed("talking to the kernel"))?;
        if let Ok(index) = links.index(&self.uplink(router.slot)) {
            let before = host::addresses(router.table());
            self.change_host(host, router, &before, &BTreeMap::new())
                .map_err(failed(format!("public addresses of {vpc}")))?;
            links.delete(index).map_err(failed("removing a VPC's uplink"))?;
        }
        self.change_tunnel(host, tunnels, vpc, None)
            .map_err(failed(format!("who may send in the name of {vpc}")))?;
        self.unpin(vpc)?;
        known.remove(vpc);
        Ok(())
    }

    fn unpin(&self, vpc: &VpcId) -> Result<(), Failure> {
        let pin = pin_path(&self.folder, vpc, &self.tag);
        if is_namespace(&pin) {
            mount::unmount_detach(&pin).map_err(failed("letting go of a VPC's namespace"))?;
        }
        for path in [pin, record_path(&self.folder, vpc)] {
            match fs::remove_file(&path) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                other => other.map_err(failed("removing a VPC's files"))?,
            }
        }
        Ok(())
    }

    /// The table on this machine and its word on the pool, when no VPC is left.
    pub fn remove_all(&self) -> Result<(), Failure> {
        self.lock().host = None;
        passage::close(&self.uplinks()).map_err(failed("leaving other firewalls"))?;
        refuse_no_more(host::refusal_metric(&self.tag))
            .map_err(failed("removing the route of public addresses"))?;
        nft::delete_table(&host::table_name(&self.tag))
            .map_err(failed("removing address translation"))
    }

    /// Files of VPCs that are not there any more, as after a reboot.
    pub fn sweep(&self) -> Result<Vec<String>, Failure> {
        let all = self.lock();
        let mut removed = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed("reading VPCs"))?.flatten() {
            let path = entry.path();
            let Some(name) = path.file_name().and_then(|n| n.to_str()) else { continue };
            let vpc = VpcId::from(name.split('.').next().unwrap_or(name));
            if !all.known.contains_key(&vpc) {
                self.unpin(&vpc)?;
                removed.push(format!("files of {vpc}"));
            }
        }
        Ok(removed)
    }
}

pub fn is_namespace(path: &Path) -> bool {
    mount::file_system_type(path).is_ok_and(|kind| kind == NAMESPACE_TYPE)
}

/// Interfaces of this thread's network namespace.
pub fn interfaces() -> io::Result<Vec<String>> {
    let text = fs::read_to_string("/proc/thread-self/net/dev")?;
    let names = text.lines().filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned()));
    Ok(names.collect())
}

/// Waits for interfaces of tasks that were removed a moment ago, and takes away those that stay: a
/// connection that a dead task had to somebody who is silent keeps its namespace for minutes.
/// Returns those of living tasks.
fn empty(living: &BTreeSet<String>) -> io::Result<Vec<String>> {
    let give_up = Instant::now() + EMPTY_PATIENCE;
    loop {
        let mut left = interfaces()?;
        left.retain(|name| name != "lo" && name != UPLINK_INSIDE && name != tunnel::NAME);
        if left.iter().any(|name| living.contains(name)) {
            left.retain(|name| living.contains(name));
            return Ok(left);
        }
        if left.is_empty() {
            return leave_nothing();
        }
        if Instant::now() > give_up {
            for name in left {
                match delete_link(&name) {
                    // It has just gone.
                    Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
                    other => other?,
                }
            }
            return leave_nothing();
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Sockets of who serves in the VPC may keep its namespace for a while, and must not keep the
/// tunnel: the VPC may be made anew by then.
fn leave_nothing() -> io::Result<Vec<String>> {
    match delete_link(tunnel::NAME) {
        // There was none.
        Err(e) if e.raw_os_error() == Some(libc::ENODEV) => {}
        other => other?,
    }
    Ok(Vec::new())
}
