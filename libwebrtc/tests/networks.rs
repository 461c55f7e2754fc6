//! Peers on real networks: namespaces of the kernel with cables between them, with NAT, with weather, and with interfaces
//! that go away. Each peer is a process of its own. Only root may do that; for others the tests say so and leave it.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)] // That is how a test fails.

#[path = "lab/far_peer.rs"]
mod far_peer;
#[path = "lab/namespaces.rs"]
mod namespaces;
#[path = "common/turn_server.rs"]
mod turn_server;
#[path = "lab/weather.rs"]
mod weather;

use std::time::Duration;

use far_peer::{FarPeer, Place, connect, reconnect};
use libwebrtc::peer_connection_factory::IceServer;
use namespaces::{Namespace, cable};
use turn_server::TurnServer;
use weather::{Link, Weather};

#[test]
#[ignore = "what the peers of the other tests run, in processes of their own"]
fn peer_of_another_process() {
    far_peer::serve();
}

fn namespaces<const N: usize>() -> Option<[Namespace; N]> {
    let made: Option<Vec<Namespace>> = (0..N).map(|_| Namespace::new()).collect();
    made?.try_into().ok()
}

/// Two with a cable between them, and their addresses on it.
fn neighbours(a: &str, b: &str) -> Option<[Namespace; 2]> {
    let both = namespaces::<2>()?;
    cable((&both[0], "eth0", a), (&both[1], "eth0", b));
    Some(both)
}

fn peer(in_namespace: &Namespace, servers: &[IceServer]) -> FarPeer {
    FarPeer::start(Place::in_namespace(&in_namespace.name), servers)
}

/// Two homes, each with a NAT before it, on a network that knows the NATs' addresses alone; a STUN server is on it.
struct Homes {
    a: Namespace,
    b: Namespace,
    _nats: [Namespace; 2],
    _net: Namespace,
    server: TurnServer,
}

impl Homes {
    fn build() -> Option<Self> {
        let [a, b, nat_a, nat_b, net] = namespaces()?;
        for (home, nat, inner, outer) in [
            (&a, &nat_a, "10.1.0", "198.51.100"),
            (&b, &nat_b, "10.2.0", "203.0.113"),
        ] {
            cable(
                (home, "eth0", &format!("{inner}.2/24")),
                (nat, "inside", &format!("{inner}.1/24")),
            );
            let port = format!("port{}", &inner[3..4]);
            cable(
                (nat, "outside", &format!("{outer}.2/24")),
                (&net, &port, &format!("{outer}.1/24")),
            );
            home.ip(&format!("route add default via {inner}.1"));
            nat.ip(&format!("route add default via {outer}.1"));
            nat.forward();
            nat.masquerade("outside");
        }
        net.forward();
        // Whatever else is sent ends at a NAT, uncalled. Without any way coturn would give up an allocation whose peer names
        // an address that only his home knows.
        net.ip("route add default via 198.51.100.2");
        let server = TurnServer::start_in(&net.name, "198.51.100.1");
        Some(Self {
            a,
            b,
            _nats: [nat_a, nat_b],
            _net: net,
            server,
        })
    }

    fn stun(&self) -> IceServer {
        IceServer {
            urls: vec![self.server.stun_url()],
            username: String::new(),
            password: String::new(),
        }
    }
}

#[test]
fn peers_behind_nats_meet_at_the_addresses_that_a_stun_server_saw() {
    let Some(homes) = Homes::build() else { return };
    let mut a = peer(&homes.a, &[homes.stun()]);
    let mut b = peer(&homes.b, &[homes.stun()]);
    let offer = a.offer(false);
    a.wait_for("the address outside", |a| {
        a.candidates.iter().any(|line| line.contains("typ srflx"))
    });
    let line = a
        .candidates
        .iter()
        .find(|line| line.contains("typ srflx"))
        .unwrap();
    assert!(line.contains(" 198.51.100.2 "), "{line}");
    assert!(line.contains(" raddr 10.1.0.2 rport "), "{line}");
    let answer = b.answer(&offer);
    a.accept(&answer);
    far_peer::carry_candidates(&mut a, &mut b);
    a.hears(&mut b);
    for peer in [&mut a, &mut b] {
        let path = peer.path();
        assert_eq!(path["local"]["kind"], "host", "{path}");
        assert_ne!(path["remote"]["kind"], "host", "{path}");
    }
}

#[test]
fn peers_behind_nats_do_not_meet_without_a_stun_server() {
    let Some(homes) = Homes::build() else { return };
    let (mut a, mut b) = (peer(&homes.a, &[]), peer(&homes.b, &[]));
    let offer = a.offer(false);
    let answer = b.answer(&offer);
    a.accept(&answer);
    a.wait_for("the failure", |a| a.is("Failed"));
}

#[test]
fn a_relay_that_one_of_them_reaches_over_tcp_is_enough() {
    let Some(homes) = Homes::build() else { return };
    let place = Place::in_namespace(&homes.a.name).relay_only();
    let mut a = FarPeer::start(place, &[homes.server.relay("tcp", "secret")]);
    let mut b = peer(&homes.b, &[homes.stun()]);
    connect(&mut a, &mut b);
    a.hears(&mut b);
    let path = a.path();
    assert_eq!(path["local"]["kind"], "relay", "{path}");
}

/// `a` has two ways to a router, and `b` one.
struct TwoWays {
    a: Namespace,
    b: Namespace,
    router: Namespace,
}

impl TwoWays {
    fn build() -> Option<Self> {
        let [a, b, router] = namespaces()?;
        for number in 1..=2 {
            cable(
                (&a, &format!("eth{number}"), &format!("10.0.{number}.2/24")),
                (
                    &router,
                    &format!("way{number}"),
                    &format!("10.0.{number}.1/24"),
                ),
            );
            a.ip(&format!(
                "route add default via 10.0.{number}.1 metric {number}"
            ));
        }
        cable((&b, "eth0", "10.0.9.2/24"), (&router, "far", "10.0.9.1/24"));
        b.ip("route add default via 10.0.9.1");
        router.forward();
        Some(Self { a, b, router })
    }
}

fn local_address(peer: &mut FarPeer) -> String {
    let path = peer.path();
    path["local"]["address"].as_str().unwrap().to_owned()
}

/// The interface of `a` that has an address, and the address of the other.
fn interface_of(address: &str) -> (&'static str, &'static str) {
    match address {
        "10.0.1.2" => ("eth1", "10.0.2.2"),
        _ => ("eth2", "10.0.1.2"),
    }
}

/// Loses the interface over which a conversation goes, and sees it go on over the other; what the states of `a` were.
fn goes_on_over_the_other_after(lose: impl Fn(&TwoWays, &str)) -> Option<Vec<String>> {
    let net = TwoWays::build()?;
    let (mut a, mut b) = (peer(&net.a, &[]), peer(&net.b, &[]));
    connect(&mut a, &mut b);
    a.hears(&mut b);
    let (interface, other) = interface_of(&local_address(&mut a));
    lose(&net, interface);
    a.wait_for("the failure", |a| a.is("Failed"));
    let states = a.states.clone();
    reconnect(&mut a, &mut b);
    assert_eq!(local_address(&mut a), other);
    a.hears(&mut b);
    Some(states)
}

#[test]
fn when_an_interface_goes_down_the_conversation_goes_on_over_the_other() {
    let states = goes_on_over_the_other_after(|net, interface| {
        net.a.ip(&format!("link set {interface} down"));
    });
    if let Some(states) = states {
        assert!(
            states.ends_with(&["Disconnected".into(), "Failed".into()]),
            "{states:?}"
        );
    }
}

#[test]
fn when_a_cable_is_pulled_the_conversation_goes_on_over_the_other() {
    goes_on_over_the_other_after(|net, interface| {
        // As a network manager would have it.
        net.a
            .shell("echo 1 >/proc/sys/net/ipv4/conf/all/ignore_routes_with_linkdown");
        net.router
            .ip(&format!("link set way{} down", &interface[3..]));
    });
}

#[test]
fn an_address_that_comes_later_is_used() {
    let Some([a_net, b_net]) = neighbours("10.0.1.2/24", "10.0.1.1/24") else {
        return;
    };
    let (mut a, mut b) = (peer(&a_net, &[]), peer(&b_net, &[]));
    connect(&mut a, &mut b);
    a_net.ip("address delete 10.0.1.2/24 dev eth0");
    a.wait_for("the interruption", |a| a.is("Disconnected"));
    a_net.ip("address add 10.0.1.3/24 dev eth0");
    a.wait_for("the failure", |a| a.is("Failed"));
    reconnect(&mut a, &mut b);
    assert_eq!(local_address(&mut a), "10.0.1.3");
    a.hears(&mut b);
}

#[test]
fn after_a_failure_a_restart_finds_the_path_again() {
    let Some([a_net, b_net]) = neighbours("10.0.1.2/24", "10.0.1.1/24") else {
        return;
    };
    let (mut a, mut b) = (peer(&a_net, &[]), peer(&b_net, &[]));
    connect(&mut a, &mut b);
    a_net.ip("link set eth0 down");
    a.wait_for("the failure", |a| a.is("Failed"));
    b.wait_for("the failure", |b| b.is("Failed"));
    a_net.ip("link set eth0 up");
    reconnect(&mut a, &mut b);
    a.hears(&mut b);
}

#[test]
fn peers_meet_over_ipv6_alone() {
    let Some([a_net, b_net]) = neighbours("fd00::2/64", "fd00::1/64") else {
        return;
    };
    let (mut a, mut b) = (peer(&a_net, &[]), peer(&b_net, &[]));
    connect(&mut a, &mut b);
    a.hears(&mut b);
    assert_eq!(local_address(&mut a), "fd00::2");
}

#[test]
fn nobody_is_told_of_the_addresses_of_containers() {
    let Some([a_net, b_net, container]) = namespaces() else {
        return;
    };
    cable(
        (&a_net, "eth0", "10.0.1.2/24"),
        (&b_net, "eth0", "10.0.1.1/24"),
    );
    a_net.ip("link add docker0 type bridge");
    cable(
        (&a_net, "veth0", "0.0.0.0/32"),
        (&container, "eth0", "172.17.0.2/16"),
    );
    a_net.ip("link set veth0 master docker0");
    a_net.ip("address add 172.17.0.1/16 dev docker0");
    a_net.ip("link set docker0 up");
    let (mut a, mut b) = (peer(&a_net, &[]), peer(&b_net, &[]));
    let offer = a.offer(false);
    let answer = b.answer(&offer);
    a.accept(&answer);
    let told: Vec<String> = offer
        .as_str()
        .unwrap()
        .lines()
        .filter(|line| line.starts_with("a=candidate"))
        .map(str::to_owned)
        .chain(a.candidates.iter().cloned())
        .collect();
    assert!(!told.is_empty());
    for line in told {
        assert!(line.contains(" 10.0.1.2 "), "{line}");
    }
}

/// What a telephone on a train has.
const FOUL: Weather = Weather {
    loss_percent: 5,
    delay_ms: 50,
    jitter_ms: 20,
    hasty_percent: 2,
};

#[test]
fn sound_goes_both_ways_through_loss_delay_jitter_and_reordering() {
    let Some([a_net, b_net]) = namespaces() else {
        return;
    };
    let Some(mut link) = Link::lay((&a_net, "10.0.1.1"), (&b_net, "10.0.1.2"), FOUL) else {
        return;
    };
    let (mut a, mut b) = (peer(&a_net, &[]), peer(&b_net, &[]));
    connect(&mut a, &mut b);
    a.hears(&mut b);
    for peer in [&mut a, &mut b] {
        for _ in 0..3 {
            let heard = peer.listen();
            assert!(heard.loud > 80, "{heard:?}");
        }
        let heard = peer.listen();
        let is_foul = heard.lost > 0 || heard.resent > 0;
        assert!(is_foul, "the weather is fine: {heard:?}");
        assert!(heard.concealed < heard.samples / 4, "{heard:?}");
    }

    // Cut for less than it takes to give the path up: it goes on by itself.
    link.cut();
    std::thread::sleep(Duration::from_secs(3));
    assert!(a.listen().loud < 50);
    link.mend();
    a.hears(&mut b);
    a.wait_for("the connection", |a| a.is("Connected"));
    assert!(!a.states.contains(&"Failed".to_owned()), "{a:?}");

    // Cut for longer: it is noticed, and a restart is needed.
    link.cut();
    a.wait_for("the failure", |a| a.is("Failed"));
    b.wait_for("the failure", |b| b.is("Failed"));
    link.mend();
    reconnect(&mut a, &mut b);
    a.hears(&mut b);
}
