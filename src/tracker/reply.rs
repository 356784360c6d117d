//! What the tracker answers an announce with: bencode for clients (BEP 3, 7, 23), JSON for people and scripts.

use std::net::IpAddr;

use serde::Serialize;

use super::{announce::PeerListForm, table::AnnounceReply};
use crate::bencode::{DictEncoder, Encoder};

/// The bencoded reply. `tracker_id` is what the client is to send back with its next announce.
pub fn bencode(reply: &AnnounceReply, form: PeerListForm, tracker_id: &str) -> Vec<u8> {
    let mut out = Encoder::new();
    out.dict(|dict| {
        dict.key("complete").integer(reply.counts.complete);
        dict.key("downloaded").integer(reply.counts.downloaded);
        dict.key("incomplete").integer(reply.counts.incomplete);
        dict.key("interval").integer(reply.interval);
        dict.key("min interval").integer(reply.min_interval);
        match form {
            PeerListForm::Compact => compact_peers(dict, reply),
            PeerListForm::Dicts { peer_ids } => peer_dicts(dict.key("peers"), reply, peer_ids),
        }
        dict.key("tracker id").bytes(tracker_id);
        if let Some(full) = reply.unlisted {
            dict.key("warning message").bytes(full.to_string());
        }
    });
    out.finish()
}

/// The bencoded refusal of an announce or a scrape; `reason` is a sentence.
pub fn bencode_failure(reason: &str) -> Vec<u8> {
    let mut out = Encoder::new();
    out.dict(|dict| dict.key("failure reason").bytes(reason));
    out.finish()
}

fn compact_peers(dict: &mut DictEncoder<'_>, reply: &AnnounceReply) {
    let (mut v4, mut v6) = (Vec::with_capacity(6 * reply.peers.len()), Vec::new());
    for peer in &reply.peers {
        let port = peer.address.port().to_be_bytes();
        match peer.address.ip() {
            IpAddr::V4(ip) => v4.extend(ip.octets().into_iter().chain(port)),
            IpAddr::V6(ip) => v6.extend(ip.octets().into_iter().chain(port)),
        }
    }
    dict.key("peers").bytes(v4);
    if !v6.is_empty() {
        dict.key("peers6").bytes(v6);
    }
}

fn peer_dicts(out: &mut Encoder, reply: &AnnounceReply, peer_ids: bool) {
    out.list(|list| {
        for peer in &reply.peers {
            list.dict(|dict| {
                dict.key("ip").bytes(peer.address.ip().to_string());
                if peer_ids {
                    dict.key("peer id").bytes(peer.peer_id.0);
                }
                dict.key("port").integer(peer.address.port());
            });
        }
    });
}

#[derive(Serialize)]
struct JsonReply {
    interval: u32,
    min_interval: u32,
    complete: u32,
    incomplete: u32,
    downloaded: u32,
    peers: Vec<JsonPeer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    warning_message: Option<String>,
}

#[derive(Serialize)]
struct JsonPeer {
    ip: IpAddr,
    port: u16,
    peer_id: String,
}

#[derive(Serialize)]
struct JsonFailure<'a> {
    failure_reason: &'a str,
}

/// The reply in JSON. A peer id is any bytes: what is no printable ASCII in it is escaped as in `\x00`.
pub fn json(reply: &AnnounceReply) -> Vec<u8> {
    let peers = reply.peers.iter().map(|peer| JsonPeer {
        ip: peer.address.ip(),
        port: peer.address.port(),
        peer_id: peer.peer_id.to_string(),
    });
    print(&JsonReply {
        interval: reply.interval,
        min_interval: reply.min_interval,
        complete: reply.counts.complete,
        incomplete: reply.counts.incomplete,
        downloaded: reply.counts.downloaded,
        peers: peers.collect(),
        warning_message: reply.unlisted.map(|full| full.to_string()),
    })
}

/// The refusal of an announce in JSON.
pub fn json_failure(reason: &str) -> Vec<u8> {
    print(&JsonFailure { failure_reason: reason })
}

fn print(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("structs of numbers and strings always print")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        metainfo::PeerId,
        tracker::{
            census::Full,
            table::{Counts, PeerAddress},
        },
    };

    fn reply() -> AnnounceReply {
        let peer = |address: &str, id: u8| PeerAddress { address: address.parse().unwrap(), peer_id: PeerId([id; 20]) };
        AnnounceReply {
            interval: 5,
            min_interval: 2,
            counts: Counts { complete: 1, incomplete: 2, downloaded: 3 },
            peers: vec![peer("1.2.3.4:6881", b'a'), peer("[2001:db8::1]:80", 0)],
            unlisted: None,
        }
    }

    fn text(bytes: &[u8]) -> String {
        bytes.escape_ascii().to_string()
    }

    const HEAD: &str = "d8:completei1e10:downloadedi3e10:incompletei2e8:intervali5e12:min intervali2e";

    #[test]
    fn a_compact_reply_byte_for_byte() {
        let want = format!(
            r"{HEAD}5:peers6:\x01\x02\x03\x04\x1a\xe16:peers618: \x01\r\xb8{zeros}\x01\x00P10:tracker id2:mie",
            zeros = r"\x00".repeat(11)
        );
        assert_eq!(text(&bencode(&reply(), PeerListForm::Compact, "mi")), want);
    }

    #[test]
    fn a_reply_without_peers_still_has_the_key() {
        let reply = AnnounceReply { peers: Vec::new(), ..reply() };
        assert_eq!(text(&bencode(&reply, PeerListForm::Compact, "")), format!("{HEAD}5:peers0:10:tracker id0:e"));
        let form = PeerListForm::Dicts { peer_ids: true };
        assert_eq!(text(&bencode(&reply, form, "")), format!("{HEAD}5:peersle10:tracker id0:e"));
    }

    #[test]
    fn a_reply_of_dictionaries_byte_for_byte() {
        let ids = [format!("7:peer id20:{}", "a".repeat(20)), format!("7:peer id20:{}", r"\x00".repeat(20))];
        for (peer_ids, [first, second]) in [(true, ids), (false, [String::new(), String::new()])] {
            let want = format!(
                "{HEAD}5:peersld2:ip7:1.2.3.4{first}4:porti6881eed2:ip11:2001:db8::1{second}4:porti80eee10:tracker id0:e"
            );
            assert_eq!(text(&bencode(&reply(), PeerListForm::Dicts { peer_ids }, "")), want);
        }
    }

    #[test]
    fn who_is_not_listed_is_told_why() {
        let reply = AnnounceReply { unlisted: Some(Full::Swarm(7)), peers: Vec::new(), ..reply() };
        let got = text(&bencode(&reply, PeerListForm::Compact, ""));
        assert!(got.ends_with("15:warning message52:you are not listed: this torrent already has 7 peerse"), "{got}");
        assert!(text(&json(&reply)).contains("warning_message"));
    }

    #[test]
    fn the_same_in_json() {
        let want = format!(
            r#"{{"interval":5,"min_interval":2,"complete":1,"incomplete":2,"downloaded":3,"peers":[{{"ip":"1.2.3.4","port":6881,"peer_id":"{a}"}},{{"ip":"2001:db8::1","port":80,"peer_id":"{zero}"}}]}}"#,
            a = "a".repeat(20),
            zero = r"\\x00".repeat(20)
        );
        assert_eq!(String::from_utf8(json(&reply())).unwrap(), want);
    }

    #[test]
    fn a_refusal_is_one_key() {
        assert_eq!(bencode_failure("port is missing"), b"d14:failure reason15:port is missinge");
        assert_eq!(json_failure(r#"a "b""#), br#"{"failure_reason":"a \"b\""}"#);
    }
}
