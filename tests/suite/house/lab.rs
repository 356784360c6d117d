//! Hosts on one machine: network namespaces, each with an address of its own, around a bridge in a namespace of its own.
//!
//! Nothing shows outside of them, so that any number of labs exist at once, all with the same addresses.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{self, Command};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::skip;

/// Every namespace of every lab begins with this, then the pid of the test.
const PREFIX: &str = "minitorrent-test";

static LABS: AtomicU32 = AtomicU32::new(0);

/// A bridge and the hosts around it, gone when dropped.
pub struct Lab {
    switch: String,
    hosts: Vec<Host>,
}

/// Where a command runs, and the address that others find it at.
#[derive(Debug, Clone)]
pub struct Host {
    /// `None` is this machine itself.
    namespace: Option<String>,
    pub address: Ipv4Addr,
}

impl Lab {
    /// Why there are no labs here, if so.
    pub fn available() -> Result<(), String> {
        static ANSWER: OnceLock<Result<(), String>> = OnceLock::new();
        ANSWER.get_or_init(probe).clone()
    }

    /// A lab, or a line that says aloud that `test` is skipped.
    pub fn or_skip(test: &str, hosts: usize) -> Option<Lab> {
        match Lab::available() {
            Ok(()) => Some(Lab::new(hosts)),
            Err(reason) => {
                skip(test, &reason);
                None
            }
        }
    }

    /// A lab of so many hosts, at 10.77.0.1 and on. [`Lab::available`] must have said yes.
    pub fn new(hosts: usize) -> Lab {
        let name = format!("{PREFIX}-{}-{}", process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        let mut lab = Lab { switch: format!("{name}-switch"), hosts: Vec::new() };
        ip(&format!("netns add {}", lab.switch));
        ip(&format!("-n {} link add hub up type bridge", lab.switch));
        for number in 1..=hosts {
            let address = Ipv4Addr::new(10, 77, 0, u8::try_from(number).unwrap());
            let (switch, namespace) = (&lab.switch, format!("{name}-{number}"));
            ip(&format!("netns add {namespace}"));
            lab.hosts.push(Host { namespace: Some(namespace.clone()), address });
            ip(&format!("-n {switch} link add port{number} type veth peer name eth0 netns {namespace}"));
            ip(&format!("-n {switch} link set port{number} master hub up"));
            ip(&format!("-n {namespace} address add {address}/16 dev eth0"));
            ip(&format!("-n {namespace} link set eth0 up"));
            ip(&format!("-n {namespace} link set lo up"));
        }
        lab
    }

    /// Gives the link of a host a rate each way, in Mbit/s.
    pub fn limit_link(&self, number: usize, mbit: u32) {
        self.hosts[number].run(&format!("tc qdisc add dev eth0 {}", rate(mbit))).unwrap();
        let port = format!("port{}", number + 1);
        run(&format!("tc -n {} qdisc add dev {port} {}", self.switch, rate(mbit))).unwrap();
    }

    /// Pulls the plug of a host's link, or puts it in again.
    pub fn plug_link(&self, number: usize, plugged: bool) {
        let state = if plugged { "up" } else { "down" };
        ip(&format!("-n {} link set port{} {state}", self.switch, number + 1));
    }

    /// The host of that number, from 0.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for namespace in self.hosts.iter().flat_map(|host| &host.namespace).chain([&self.switch]) {
            let _ = run(&format!("ip netns delete {namespace}"));
        }
    }
}

impl Host {
    /// This machine, on loopback.
    pub fn here() -> Host {
        Host { namespace: None, address: Ipv4Addr::LOCALHOST }
    }

    /// A command that will run on this host.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program.as_ref()) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program.as_ref());
        command
    }

    /// Runs a command line on it to its end, and gives what it printed, or what it complained.
    pub fn run(&self, line: &str) -> Result<Vec<u8>, String> {
        match &self.namespace {
            Some(namespace) => run(&format!("ip netns exec {namespace} {line}")),
            None => run(line),
        }
    }

    /// Opens a control link from this host, and keeps the cookie that it gives in a file, as curl's -b takes it.
    pub fn open_control_link(&self, link: &str, jar: &Path) {
        self.run(&format!("curl -sS --fail -o /dev/null -c {} {link}", jar.display())).unwrap();
    }

    /// Gives it a way to everywhere, as a room with a router has: some clients find no interface for multicast without one.
    pub fn route_everywhere(&self) {
        self.run("ip route add default dev eth0").unwrap();
    }

    /// Takes its IPv4 address away; one of IPv6 is there as soon as the system has made sure that nobody else has it.
    pub fn use_ipv6_alone(&self) {
        self.run("ip -4 address flush dev eth0").unwrap();
    }

    /// Drops whatever would open a connection to it.
    pub fn refuse_connections(&self) {
        self.run("nft add table ip wall").unwrap();
        self.run("nft add chain ip wall in { type filter hook input priority 0 ; }").unwrap();
        self.run("nft add rule ip wall in tcp flags & ( syn | ack ) == syn drop").unwrap();
    }

    /// Puts a firewall before it that drops whatever begins from outside, TCP and UDP; answers get through.
    pub fn drop_incoming(&self) {
        self.run("nft add table ip wall").unwrap();
        self.run("nft add chain ip wall in { type filter hook input priority 0 ; }").unwrap();
        self.run("nft add rule ip wall in iifname eth0 ct state new drop").unwrap();
    }

    /// Breaks every connection to that TCP port of others, and lets none begin, until [`Host::mend`].
    pub fn break_connections_to(&self, port: u16) {
        self.run("nft add table ip wall").unwrap();
        self.run("nft add chain ip wall out { type filter hook output priority 0 ; }").unwrap();
        self.run(&format!("nft add rule ip wall out tcp dport {port} reject with tcp reset")).unwrap();
    }

    /// Takes down what [`Host::break_connections_to`] put up.
    pub fn mend(&self) {
        self.run("nft delete table ip wall").unwrap();
    }

    /// How many bytes it has sent, headers and all.
    pub fn sent(&self) -> u64 {
        let text = self.run("cat /sys/class/net/eth0/statistics/tx_bytes").unwrap();
        String::from_utf8(text).unwrap().trim().parse().unwrap()
    }

    /// How many bytes it sends in so long a time.
    pub fn sent_in(&self, time: Duration) -> u64 {
        let before = self.sent();
        thread::sleep(time);
        self.sent() - before
    }
}

/// What tc is told for a link of so many Mbit/s.
fn rate(mbit: u32) -> String {
    format!("root tbf rate {mbit}mbit burst 128kb latency 100ms")
}

fn ip(arguments: &str) {
    run(&format!("ip {arguments}")).unwrap();
}

/// Tries what a lab needs, and sweeps up what killed tests left.
fn probe() -> Result<(), String> {
    sweep();
    let namespace = format!("{PREFIX}-{}-probe", process::id());
    let needs = [
        format!("ip netns add {namespace}"),
        format!("ip -n {namespace} link add left type veth peer name right"),
        format!("tc -n {namespace} qdisc add dev left {}", rate(1)),
        format!("ip netns exec {namespace} nft add table ip wall"),
        "curl --version".into(),
    ];
    let tried = needs.iter().try_for_each(|line| run(line).map(drop));
    let _ = run(&format!("ip netns delete {namespace}"));
    tried.map_err(|reason| format!("no hosts of their own: {reason}"))
}

/// Runs a command line to its end, and gives what it printed, or what it complained.
fn run(line: &str) -> Result<Vec<u8>, String> {
    let mut words = line.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output().map_err(|error| format!("`{program}`: {error}"))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(format!("`{line}`: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

/// Deletes the namespaces of tests that are no longer running, and ends what still runs in them.
fn sweep() {
    let Ok(entries) = fs::read_dir("/run/netns") else { return };
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').nth(1));
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            let inside = run(&format!("ip netns pids {name}")).unwrap_or_default();
            for pid in String::from_utf8_lossy(&inside).split_whitespace() {
                let _ = run(&format!("kill -9 {pid}"));
            }
            let _ = run(&format!("ip netns delete {name}"));
        }
    }
}
