//! A world as a topology has it: its hosts, its buses as cables, and its checks in virtual time.
//!
//! The same value makes a lab of real kernels in `rumpnet`, and a file is read into one by [`crate::topology`].

use std::{collections::BTreeMap, time::Duration};

use rumpnet_proto::topology::{self, Check, Host as Plan, Outcome, Refusal, Topology};
use rumpnet_stack::Config;

use crate::{Cable, Conditions, Host, Said, World, sleep, task};

/// The pause before a check that has failed is tried again.
const PAUSE: Duration = Duration::from_millis(100);

/// The hosts and buses of a topology in a world.
pub struct Lab {
    topology: Topology,
    hosts: Vec<Host>,
    buses: Vec<Cable>,
}

/// What came of a check.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The check.
    pub check: Check,
    /// What its tool said; that of the last time, if it was tried again.
    pub said: Said,
    /// What is not as it should be; none if the check holds.
    pub miss: Option<String>,
}

impl World {
    /// A new world that is what a topology says, with the topology's seed, or 1.
    pub fn from_topology(topology: &Topology) -> Result<(Self, Lab), Refusal> {
        let world = Self::new(topology.seed.unwrap_or(1));
        let lab = world.build(topology)?;
        Ok((world, lab))
    }

    /// Makes the hosts and buses of a topology in this world. Names of hosts must be new to it.
    pub fn build(&self, topology: &Topology) -> Result<Lab, Refusal> {
        let places = 0..topology.buses.len();
        let buses: Vec<_> =
            places.map(|place| self.bus(&topology.link_string(&topology.name, place))).collect();
        for (bus, plan) in buses.iter().zip(&topology.buses) {
            let conditions = determine_conditions(&plan.conditions);
            bus.set(|own| *own = conditions);
        }
        let built = topology.hosts.iter().map(|plan| self.build_host(plan, topology));
        let hosts = built.collect::<Result<_, _>>()?;
        Ok(Lab { topology: topology.clone(), hosts, buses })
    }

    fn build_host(&self, plan: &Plan, topology: &Topology) -> Result<Host, Refusal> {
        let host = self.host_with(&plan.name, Config::lab());
        let requests = topology.requests(&topology.name, plan).into_iter();
        let mut asked = requests.map(|request| host.control(request).map(drop));
        asked.try_for_each(|answer| answer).map_err(|error| topology.refusal(plan, error))?;
        for own in &plan.interfaces {
            if let Some(conditions) = &own.conditions {
                let bus = self.bus(&topology.link_string(&topology.name, own.bus));
                let interface = host.interface(own.name.as_str());
                bus.set_from(&interface, |of_end| *of_end = determine_conditions(conditions));
            }
        }
        Ok(host)
    }
}

impl Lab {
    /// The host of that name.
    ///
    /// # Panics
    ///
    /// If the topology has none.
    pub fn host(&self, name: &str) -> &Host {
        let place = self.topology.host(name);
        &self.hosts[place.unwrap_or_else(|| panic!("the topology has no host `{name}`"))]
    }

    /// The bus of that name.
    ///
    /// # Panics
    ///
    /// If the topology has none.
    pub fn bus(&self, name: &str) -> &Cable {
        let place = self.topology.bus(name);
        &self.buses[place.unwrap_or_else(|| panic!("the topology has no bus `{name}`"))]
    }

    /// Its hosts, in the order of the topology.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// What it is made of.
    pub const fn topology(&self) -> &Topology {
        &self.topology
    }

    /// Runs all checks of the topology: those of different hosts at the same time, those of one host one after the other. What came
    /// of them is in the topology's order.
    pub fn check(&self, world: &World) -> Vec<Judged> {
        let mut of_hosts: BTreeMap<usize, Vec<(usize, Check)>> = BTreeMap::new();
        for (number, check) in self.topology.checks.iter().enumerate() {
            of_hosts.entry(check.host).or_default().push((number, check.clone()));
        }
        let tasks: Vec<_> = of_hosts
            .into_iter()
            .map(|(host, checks)| {
                let host = self.hosts[host].clone();
                host.clone().spawn(async move {
                    let mut judged = Vec::new();
                    for (number, check) in checks {
                        judged.push((number, judge(&host, check).await));
                    }
                    judged
                })
            })
            .collect();
        let mut judged: Vec<_> = tasks.into_iter().flat_map(|task| world.block_on(task)).collect();
        judged.sort_by_key(|(number, _)| *number);
        judged.into_iter().map(|(_, judged)| judged).collect()
    }

    /// Runs all checks.
    ///
    /// # Panics
    ///
    /// If one does not hold, with what its tool said.
    #[track_caller]
    pub fn assert_checks(&self, world: &World) {
        let judged = self.check(world);
        let missed: Vec<_> = judged.iter().filter_map(Judged::complaint).collect();
        assert!(
            missed.is_empty(),
            "{} of {} checks failed:\n{}",
            missed.len(),
            judged.len(),
            missed.join("\n")
        );
    }
}

impl Judged {
    /// What is to be said of a check that does not hold.
    pub fn complaint(&self) -> Option<String> {
        let miss = self.miss.as_ref()?;
        Some(format!("{}: {miss}\n{}{}", self.check.name, self.said.out, self.said.err))
    }
}

/// Runs a check until it holds, at most as long as it may take.
async fn judge(host: &Host, check: Check) -> Judged {
    let end = task::now() + Duration::from_nanos(check.limit_ns);
    loop {
        let mut tool = host.start_words(check.words.clone());
        let Ok(said) = task::timeout(end.saturating_sub(task::now()), &mut tool).await else {
            tool.interrupt();
            let said = tool.await;
            let miss = Some(format!("not at its end within {} ms", check.limit_ns / 1_000_000));
            return Judged { check, said, miss };
        };
        let outcome = Outcome { status: said.status, out: &said.out, err: &said.err };
        let miss = check.judge(outcome).map(|miss| miss.to_string());
        if miss.is_none() || !check.retry || end.saturating_sub(task::now()) <= PAUSE {
            return Judged { check, said, miss };
        }
        sleep(PAUSE).await;
    }
}

fn determine_conditions(conditions: &topology::Conditions) -> Conditions {
    let share = |ppm: u32| f64::from(ppm) / 1e6;
    Conditions {
        latency: Duration::from_nanos(conditions.latency_ns),
        jitter: Duration::from_nanos(conditions.jitter_ns),
        bandwidth: conditions.bandwidth,
        queue: conditions.queue,
        loss: share(conditions.loss_ppm),
        duplication: share(conditions.duplication_ppm),
        reordering: share(conditions.reordering_ppm),
        corruption: share(conditions.corruption_ppm),
        ..Conditions::PERFECT
    }
}
