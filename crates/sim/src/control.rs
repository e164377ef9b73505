//! The control plane in its plainest form: records with revisions, sessions, placement that plans
//! on one state and commits on another, leases and deadlines.

use crate::agent::short;
use crate::limits::{LIST_SECONDS, REFUSED_PERMILLE};
use crate::service::Web;
use crate::templates;
use crate::world::{Happening, MACHINE_CPU_UNITS, MACHINE_MEMORY_MIB, Mistake, World};
use model::container::ContainerState;
use model::facts::{ContainersFact, Facts, InterfaceFact, Placement, TargetFact, TaskStatus};
use model::instance::{Allocation, Instance, InstanceState};
use model::network::{AddressPool, Cidr, Subnet};
use model::session::{Assignment, RegistryAccess, TaskReport, ToAgent, ToControl};
use model::task::*;
use model::task_definition::TaskTemplate;
use model::{
    ContainerId, Document, InstanceId, SubnetId, TaskDefinitionRevision, TaskId, Timestamp,
};
use plan::instance::Lease;
use plan::placement::{Address, Demand, InstanceRoom, Placed, Spread, SubnetRoom, Unplaceable};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What the control plane has of one machine's agent.
struct Session {
    link: u64,
    heard_at: Timestamp,
    sequence: u64,
    listed_at: Timestamp,
    sent: BTreeMap<TaskId, Arc<Assignment>>,
}

pub struct Control {
    pub tasks: BTreeMap<TaskId, Task>,
    pub templates: BTreeMap<TaskId, Arc<TaskTemplate>>,
    pub instances: BTreeMap<InstanceId, Instance>,
    /// The service, in runs that have one.
    pub web: Option<Web>,
    pub allocations: BTreeMap<InstanceId, Allocation>,
    subnets: Vec<Subnet>,
    pub pools: BTreeMap<SubnetId, AddressPool>,
    /// How often each record has changed.
    revisions: BTreeMap<String, u64>,
    sessions: Vec<Session>,
    /// Tasks that hold an address and room.
    pub holders: BTreeSet<TaskId>,
    /// Tasks of lost instances that may still run there.
    strays: BTreeSet<TaskId>,
    /// Tasks that were ended without asking their machine.
    lost: BTreeSet<TaskId>,
}

/// A plan and what it relied on.
pub struct Planned {
    placed: Vec<Placed>,
    waiting: Vec<Unplaceable>,
    relied_on: BTreeMap<String, u64>,
}

impl Control {
    pub fn new(ids: Vec<InstanceId>, now: Timestamp) -> Self {
        // Small enough that addresses come round.
        let subnets: Vec<Subnet> = [("s0", "za", "10.0.0.0/28"), ("s1", "zb", "10.0.1.0/29")]
            .into_iter()
            .map(|(id, zone, cidr)| {
                let cidr = Cidr::parse(cidr).expect("valid");
                Subnet::new(id.into(), "vpc".into(), cidr, zone.into(), now)
            })
            .collect();
        let pool =
            |s: &Subnet| AddressPool { subnet: s.id.clone(), taken: BTreeSet::new(), next: 4 };
        let session = || Session {
            link: 0,
            heard_at: now,
            sequence: 0,
            listed_at: now,
            sent: BTreeMap::new(),
        };
        Self {
            tasks: BTreeMap::new(),
            templates: BTreeMap::new(),
            allocations: ids.iter().map(|id| (id.clone(), empty(id))).collect(),
            sessions: ids.iter().map(|_| session()).collect(),
            instances: ids.into_iter().map(|id| (id.clone(), instance(id, now))).collect(),
            pools: subnets.iter().map(|s| (s.id.clone(), pool(s))).collect(),
            subnets,
            web: None,
            revisions: BTreeMap::new(),
            holders: BTreeSet::new(),
            strays: BTreeSet::new(),
            lost: BTreeSet::new(),
        }
    }

    pub fn touch(&mut self, key: &str) {
        *self.revisions.entry(key.to_owned()).or_default() += 1;
    }

    fn revision(&self, key: &str) -> u64 {
        self.revisions.get(key).copied().unwrap_or(0)
    }

    fn concerns(&self, task: &Task, instance: &InstanceId) -> bool {
        task.facts.placed.as_ref().is_some_and(|p| p.instance == *instance)
            && task.last_status() != TaskStatus::Stopped
    }
}

fn empty(instance: &InstanceId) -> Allocation {
    Allocation { instance: instance.clone(), cpu_units: 0, memory_mib: 0, tasks: 0 }
}

fn instance(id: InstanceId, now: Timestamp) -> Instance {
    Instance {
        id,
        name: String::new(),
        zone: "local".into(),
        cpu_architecture: "X86_64".to_owned(),
        state: InstanceState::Active,
        drains: false,
        cpu_units: MACHINE_CPU_UNITS,
        memory_mib: MACHINE_MEMORY_MIB,
        registered_at: now,
        boot_id: String::new(),
        agent_version: String::new(),
        session_epoch: 0,
        seen_at: now,
        serves_balancers: false,
        underlay: None,
    }
}

pub fn new_task(id: TaskId, template: &TaskTemplate, now: Timestamp) -> Task {
    let n = u128::from_str_radix(id.as_str(), 16).expect("an id is a number here");
    let containers = template.containers.iter().enumerate();
    let container = |(at, c): (usize, &model::task_definition::ContainerTemplate)| {
        ContainerState::new(c.name.clone(), ContainerId::mint(n + at as u128), format!("{id}-{at}"))
    };
    Task {
        cluster: "default".into(),
        family: "f".into(),
        revision: TaskDefinitionRevision(1),
        overrides: TaskOverrides::default(),
        overrides_document: Document::default(),
        cpu_units: template.cpu_units,
        memory_mib: template.memory_mib,
        ephemeral_storage_gib: template.ephemeral_storage_gib,
        cpu_architecture: template.cpu_architecture.clone(),
        launch_type: None,
        capacity_provider: None,
        platform_version: "1.4.0".to_owned(),
        group: "family:f".to_owned(),
        started_by: None,
        enable_execute_command: false,
        tags: model::Tags::new(),
        network: NetworkRequest {
            subnets: vec!["s0".into(), "s1".into()],
            ..NetworkRequest::default()
        },
        facts: Facts::new(InterfaceFact::Wanted, TargetFact::NotNeeded),
        stop: None,
        waiting: None,
        interface: None,
        containers: containers.map(container).collect(),
        version: 1,
        created_at: now,
        placed_at: None,
        pull_started_at: None,
        pull_stopped_at: None,
        connectivity_at: None,
        started_at: None,
        stopping_at: None,
        execution_stopped_at: None,
        images: BTreeMap::new(),
        deregistered_at: None,
        protected_until: None,
        stopped_at: None,
        id,
    }
}

/// What users do.
impl World {
    pub fn run_task(&mut self) {
        let template = templates::random(&mut self.random);
        plan::check_dependencies(&template).expect("templates of a run are valid");
        let n = self.control.tasks.len() as u128 + 1;
        let task = new_task(TaskId::mint(n), &template, self.now);
        let programs: Vec<&str> = template.containers.iter().map(|c| c.image.as_str()).collect();
        let line = format!("RunTask {} {programs:?}", short(&task.id));
        self.note(|| line);
        self.control.templates.insert(task.id.clone(), Arc::new(template));
        self.control.tasks.insert(task.id.clone(), task);
    }

    pub fn stop_some_task(&mut self) {
        let tasks: Vec<TaskId> = self.control.tasks.keys().cloned().collect();
        if !tasks.is_empty() {
            let task = self.random.pick(&tasks).clone();
            self.stop_task(&task);
        }
    }

    pub fn stop_task(&mut self, id: &TaskId) {
        let now = self.now;
        let Some(mut task) = self.control.tasks.get(id).cloned() else { return };
        if task.request_stop(StopCode::UserInitiated, "Task stopped by user", now) {
            self.note(|| format!("StopTask {}", short(id)));
            self.put_task(task);
        }
    }
}

/// Records.
impl World {
    pub fn put_task(&mut self, after: Task) {
        let Some(before) = self.control.tasks.get(&after.id) else { return };
        self.ledger.changed(before, &after);
        let (was, is) = (before.last_status(), after.last_status());
        if was != is {
            let line = format!("{} {} -> {}", short(&after.id), was.as_str(), is.as_str());
            self.note(|| line);
        }
        if is == TaskStatus::Stopped {
            self.check_stopped(&after);
        }
        self.control.touch(&format!("task/{}", after.id));
        self.control.tasks.insert(after.id.clone(), after);
    }

    /// What is STOPPED is really gone, unless its machine could not be asked.
    fn check_stopped(&mut self, task: &Task) {
        let reason = task.stop.as_ref().map(|s| s.reason.clone()).unwrap_or_default();
        self.ledger.hold(!reason.is_empty(), || format!("{} stopped without a reason", task.id));
        self.ledger.hold(!reason.contains("no trace"), || format!("{}: {reason}", task.id));
        if self.control.lost.contains(&task.id) {
            return;
        }
        let left = self.machines.iter().any(|m| m.kernel.sandboxes.contains_key(&task.id));
        self.ledger.hold(!left, || format!("{} is STOPPED and still has a sandbox", task.id));
        let ran = self.ledger.ever_started(&task.id);
        let told = task.containers.iter().any(|c| c.exit_code.is_some() || c.reason.is_some());
        self.ledger.hold(!ran || told, || format!("the exit codes of {} are lost", task.id));
    }

    pub fn check_books(&mut self) {
        let control = &self.control;
        for (id, instance) in &control.instances {
            let holders = control.holders.iter().filter_map(|task| control.tasks.get(task));
            let here =
                holders.filter(|t| t.facts.placed.as_ref().is_some_and(|p| p.instance == *id));
            self.ledger.rooms(instance, &control.allocations[id], here);
        }
        let holders = control.holders.iter().filter_map(|task| control.tasks.get(task));
        self.ledger.addresses(control.pools.values(), holders);
    }

    /// What stopped tasks held is free again.
    fn release(&mut self) {
        let control = &mut self.control;
        let over = control.holders.iter().filter(|id| {
            let stopped = control.tasks[*id].last_status() == TaskStatus::Stopped;
            stopped && !control.strays.contains(*id)
        });
        let over: Vec<TaskId> = over.cloned().collect();
        for id in over {
            let control = &mut self.control;
            control.holders.remove(&id);
            let task = control.tasks[&id].clone();
            if let Some(placed) = &task.facts.placed
                && let Some(allocation) = control.allocations.get_mut(&placed.instance)
            {
                allocation.cpu_units -= task.cpu_units;
                allocation.memory_mib -= task.memory_mib;
                allocation.tasks -= 1;
                control.touch(&format!("allocation/{}", placed.instance));
            }
            if let Some(interface) = &task.interface
                && let Some(pool) = control.pools.get_mut(&interface.subnet)
            {
                let subnet = control.subnets.iter().find(|s| s.id == interface.subnet);
                let first = subnet.map_or(0, |s| u32::from(s.cidr.address));
                pool.taken.remove(&(u32::from(interface.private_ip) - first));
                control.touch(&format!("pool/{}", interface.subnet));
            }
        }
    }
}

/// Reconciling.
impl World {
    pub fn tick_control(&mut self) {
        self.look_at_leases();
        self.look_at_deadlines();
        self.reconcile_service();
        self.release();
        self.plan();
        for m in 0..self.machines.len() {
            self.send_list(m, false);
        }
    }

    fn look_at_leases(&mut self) {
        let now = self.now;
        for m in 0..self.machines.len() {
            let id = self.machines[m].id.clone();
            let heard_at = self.control.sessions[m].heard_at;
            let Some(instance) = self.control.instances.get_mut(&id) else { continue };
            if instance.state == InstanceState::Lost
                || plan::instance::lease(instance.state, heard_at, now) != Lease::Lost
            {
                continue;
            }
            instance.state = InstanceState::Lost;
            self.control.touch(&format!("instance/{id}"));
            self.note(|| format!("machine {m} is lost"));
            let control = &self.control;
            let here = control.tasks.values().filter(|task| control.concerns(task, &id));
            let here: Vec<Task> = here.cloned().collect();
            for mut task in here {
                // Its address and room stay taken until the machine says that it is gone.
                if self.mistake != Some(Mistake::FreesWhatIsLost) {
                    self.control.strays.insert(task.id.clone());
                }
                self.control.lost.insert(task.id.clone());
                task.lose_instance("The instance that the task ran on was lost.", now);
                self.put_task(task);
            }
        }
    }

    fn look_at_deadlines(&mut self) {
        let now = self.now;
        let overdue = self.control.tasks.values();
        let overdue: Vec<(Task, plan::Overdue)> =
            overdue.filter_map(|t| Some((t.clone(), plan::overdue(t, now)?))).collect();
        for (mut task, overdue) in overdue {
            let changed = match overdue.action {
                plan::OverdueAction::Stop => task.request_stop(overdue.code, &overdue.reason, now),
                plan::OverdueAction::Abandon => task.abandon(&overdue.reason, now),
            };
            if changed {
                self.note(|| format!("{} is overdue: {}", short(&task.id), overdue.reason));
                self.put_task(task);
            }
        }
    }

    fn plan(&mut self) {
        let control = &self.control;
        let waiting =
            control.tasks.values().filter(|t| t.last_status() == TaskStatus::Provisioning);
        let demands: Vec<Demand> = waiting.map(Demand::of).collect();
        if demands.is_empty() {
            return;
        }
        let now = self.now;
        let rooms: Vec<InstanceRoom> = self
            .machines
            .iter()
            .enumerate()
            .map(|(m, machine)| {
                let instance = &control.instances[&machine.id];
                let heard_at = control.sessions[m].heard_at;
                let held = plan::instance::lease(instance.state, heard_at, now) == Lease::Held;
                InstanceRoom::of(instance, control.allocations.get(&machine.id), held)
            })
            .collect();
        let subnets: Vec<SubnetRoom<'_>> = control
            .subnets
            .iter()
            .map(|subnet| SubnetRoom { subnet, pool: control.pools.get(&subnet.id) })
            .collect();
        let mut spread = Spread::new();
        for task in control.tasks.values().filter(|t| t.last_status() != TaskStatus::Stopped) {
            if let Some(placed) = &task.facts.placed {
                let zones = spread.entry(task.group.clone()).or_default();
                *zones.entry(placed.zone.clone()).or_default() += 1;
            }
        }
        let placements = plan::place(&demands, &rooms, &subnets, &spread);
        let keys = placements.placed.iter().flat_map(keys_of);
        let relied_on = keys.map(|key| (control.revision(&key), key)).map(|(r, key)| (key, r));
        let planned = Planned {
            relied_on: relied_on.collect(),
            placed: placements.placed,
            waiting: placements.waiting,
        };
        let ms = self.random.ms(0, 1500);
        self.after_ms(ms, Happening::Commit(planned));
    }

    /// All of a plan or nothing of it.
    pub fn commit(&mut self, planned: Planned) {
        let refused = self.goes_wrong(REFUSED_PERMILLE);
        let control = &self.control;
        let changed = planned.relied_on.iter().any(|(key, r)| control.revision(key) != *r);
        let blind = self.mistake == Some(Mistake::CommitsBlindly);
        if refused || (changed && !blind) {
            self.note(|| "a plan is refused".to_owned());
            return;
        }
        for unplaceable in planned.waiting {
            if let Some(task) = self.control.tasks.get_mut(&unplaceable.task) {
                task.waiting = Some(unplaceable.text());
            }
        }
        for placed in planned.placed {
            self.commit_one(&placed);
        }
    }

    fn commit_one(&mut self, placed: &Placed) {
        let now = self.now;
        let Some(mut task) = self.control.tasks.get(&placed.task).cloned() else { return };
        let address = placed.address.as_ref().expect("every task of a run wants one");
        let place = Placement { instance: placed.instance.clone(), zone: placed.zone.clone() };
        if !task.place(place, Some(interface(address)), now) {
            return;
        }
        self.note(|| {
            format!("{} is placed on {} as {}", short(&task.id), placed.instance, address.ip)
        });
        let control = &mut self.control;
        if let Some(allocation) = control.allocations.get_mut(&placed.instance) {
            allocation.cpu_units += task.cpu_units;
            allocation.memory_mib += task.memory_mib;
            allocation.tasks += 1;
        }
        if let Some(pool) = control.pools.get_mut(&address.subnet) {
            pool.taken.insert(address.offset);
            pool.next = address.next_after;
        }
        control.touch(&format!("allocation/{}", placed.instance));
        control.touch(&format!("pool/{}", address.subnet));
        control.holders.insert(task.id.clone());
        self.put_task(task);
    }
}

fn keys_of(placed: &Placed) -> Vec<String> {
    let mut keys = vec![
        format!("task/{}", placed.task),
        format!("instance/{}", placed.instance),
        format!("allocation/{}", placed.instance),
    ];
    keys.extend(placed.address.as_ref().map(|address| format!("pool/{}", address.subnet)));
    keys
}

fn interface(address: &Address) -> TaskInterface {
    TaskInterface {
        attachment: "attachment".into(),
        interface: format!("eni-{}", address.ip).into(),
        vpc: address.vpc.clone(),
        subnet: address.subnet.clone(),
        private_ip: address.ip,
        public_ip: None,
        mac: String::new(),
        private_dns_name: String::new(),
        resolving: None,
    }
}

/// Sessions.
impl World {
    pub fn control_hears(&mut self, m: usize, link: u64, message: ToControl) {
        let now = self.now;
        if let ToControl::Hello(hello) = message {
            if link > self.control.sessions[m].link {
                self.begin_session(m, link, &hello.tasks);
            }
            return;
        }
        if self.control.sessions[m].link != link {
            return;
        }
        self.control.sessions[m].heard_at = now;
        match message {
            ToControl::Report { number, report } => {
                let durable = !self.goes_wrong(REFUSED_PERMILLE);
                if durable {
                    self.fold(m, &report);
                    self.send_down(m, link, &ToAgent::Reported { number });
                }
            }
            ToControl::Resync => self.send_list(m, true),
            _ => {}
        }
    }

    fn begin_session(&mut self, m: usize, link: u64, reports: &[TaskReport]) {
        let (id, now) = (self.machines[m].id.clone(), self.now);
        if self.control.instances[&id].state == InstanceState::Lost {
            self.note(|| format!("machine {m} is back"));
        }
        if let Some(instance) = self.control.instances.get_mut(&id) {
            instance.session_epoch += 1;
            instance.state = InstanceState::wished(instance.drains());
            instance.seen_at = now;
        }
        self.control.touch(&format!("instance/{id}"));
        let session = &mut self.control.sessions[m];
        *session =
            Session { link, heard_at: now, sent: BTreeMap::new(), sequence: 0, listed_at: now };
        for report in reports {
            self.fold(m, report);
        }
        // What it doesn't have any more is gone.
        let gone = self.control.strays.iter().filter(|stray| {
            let placed = self.control.tasks[*stray].facts.placed.as_ref();
            placed.is_some_and(|p| p.instance == id) && !reports.iter().any(|r| r.task == **stray)
        });
        let gone: Vec<TaskId> = gone.cloned().collect();
        for stray in gone {
            self.control.strays.remove(&stray);
        }
        let (host, endpoint, names, username, password) = Default::default();
        let registry = RegistryAccess { host, endpoint, names, username, password };
        let protocol = model::session::PROTOCOL_VERSION;
        let epoch = self.control.instances[&id].session_epoch;
        self.send_down(m, link, &ToAgent::Welcome { protocol, instance: id, epoch, registry });
        self.send_list(m, true);
    }

    fn fold(&mut self, m: usize, report: &TaskReport) {
        let now = self.now;
        let Some(mut task) = self.control.tasks.get(&report.task).cloned() else { return };
        if task.facts.placed.as_ref().is_none_or(|p| p.instance != self.machines[m].id) {
            return;
        }
        let gone = report.containers_fact == ContainersFact::Stopped
            && report.interface == InterfaceFact::Released;
        if gone {
            self.control.strays.remove(&report.task);
        }
        if task.observe(report, now) {
            self.put_task(task);
        }
    }

    /// Changes when there are some; the whole list when it is asked for, and now and then.
    fn send_list(&mut self, m: usize, whole: bool) {
        let now = self.now;
        let id = self.machines[m].id.clone();
        let (control, session) = (&self.control, &self.control.sessions[m]);
        if session.link == 0 {
            return;
        }
        let wanted = control.tasks.values().filter(|task| control.concerns(task, &id));
        let wanted: BTreeMap<TaskId, Arc<Assignment>> =
            wanted.map(|t| (t.id.clone(), Arc::new(assign(control, t)))).collect();
        let whole = whole || now >= session.listed_at.plus_seconds(LIST_SECONDS);
        let link = session.link;
        let sequence = session.sequence + 1;
        let message = if whole {
            ToAgent::Assignments { sequence, tasks: wanted.values().cloned().collect() }
        } else {
            let news = wanted
                .values()
                .filter(|a| session.sent.get(&a.task).is_none_or(|sent| sent.desired != a.desired));
            let upsert: Vec<Arc<Assignment>> = news.cloned().collect();
            let remove = session.sent.keys().filter(|task| !wanted.contains_key(*task));
            let remove: Vec<TaskId> = remove.cloned().collect();
            if upsert.is_empty() && remove.is_empty() {
                return;
            }
            ToAgent::Changes { sequence, upsert, remove }
        };
        let session = &mut self.control.sessions[m];
        session.sequence = sequence;
        session.sent = wanted;
        if whole {
            session.listed_at = now;
        }
        self.send_down(m, link, &message);
    }
}

fn assign(control: &Control, task: &Task) -> Assignment {
    Assignment {
        task: task.id.clone(),
        cluster: task.cluster.clone(),
        task_arn: String::new(),
        cluster_arn: String::new(),
        family: task.family.clone(),
        revision: task.revision,
        desired: task.facts.desired,
        template: Arc::clone(&control.templates[&task.id]),
        container_ids: task.containers.iter().map(|c| c.id.clone()).collect(),
        interface: task.interface.clone(),
        subnet: None,
        containers_fact: task.facts.containers,
        start_failure: None,
        registry_credentials: BTreeMap::new(),
        secrets: BTreeMap::new(),
        launch_type: None,
        zone: "local".into(),
        region: "r".to_owned(),
        inside: model::session::Inside::default(),
    }
}
