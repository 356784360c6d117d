//! The extension protocol's handshake (BEP 10): a dictionary that says what else its sender can do.

use std::fmt;

use crate::{
    bencode::{self, Encoder},
    text::{escape, name_of},
};

/// The extended message id of the handshake itself.
pub const EXTENDED_HANDSHAKE: u8 = 0;

/// The longest client name that is kept, in bytes.
const MAX_CLIENT: usize = 64;

/// What we say of ourselves, and what we keep of what others say. Every field may be missing (BEP 10).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// `p`: the TCP port on which the sender takes connections.
    pub port: Option<u16>,
    /// `reqq`: how many requests it holds open before it drops some.
    pub request_queue: Option<u32>,
    /// `v`: its client's name and version, made harmless.
    pub client: Option<String>,
    /// `mt_name`, a key of ours: what people call the machine. Nothing but what its owner chose is ever sent.
    pub name: Option<Box<str>>,
    /// `upload_only` (BEP 21): it has all that it wants.
    pub upload_only: bool,
}

/// A payload that is no bencode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionError(bencode::BencodeError);

impl fmt::Display for ExtensionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an extension handshake that cannot be read: {}", self.0)
    }
}

impl std::error::Error for ExtensionError {}

impl ExtendedHandshake {
    /// The payload behind the extended message id.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder::new();
        out.dict(|dict| {
            dict.key("m").dict(|_| {});
            if let Some(name) = &self.name {
                dict.key("mt_name").bytes(&**name);
            }
            if let Some(port) = self.port {
                dict.key("p").integer(port);
            }
            if let Some(open) = self.request_queue {
                dict.key("reqq").integer(open);
            }
            if self.upload_only {
                dict.key("upload_only").integer(1u8);
            }
            if let Some(client) = &self.client {
                dict.key("v").bytes(client);
            }
        });
        out.finish()
    }

    /// From a payload. What is missing, of the wrong type or out of range is left out: a peer with a bad
    /// extension handshake still has pieces.
    pub fn from_bytes(payload: &[u8]) -> Result<ExtendedHandshake, ExtensionError> {
        let (dict, _) = bencode::decode_prefix(payload).map_err(ExtensionError)?;
        let number = |key: &[u8]| dict.get(key).and_then(super::super::bencode::BencodeNode::as_integer);
        let client = dict.get(b"v").and_then(super::super::bencode::BencodeNode::as_bytes).map(|bytes| {
            let end = bytes.len().min(MAX_CLIENT);
            escape(&String::from_utf8_lossy(&bytes[..end]))
        });
        Ok(ExtendedHandshake {
            port: number(b"p").and_then(|port| port.try_into().ok()).filter(|port| *port != 0),
            request_queue: number(b"reqq").and_then(|open| open.try_into().ok()).filter(|open| *open != 0),
            client,
            name: dict.get(b"mt_name").and_then(bencode::BencodeNode::as_bytes).and_then(name_of),
            upload_only: number(b"upload_only") == Some(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_these_bytes_and_reads_back() {
        let plain = ExtendedHandshake {
            port: Some(6881),
            request_queue: Some(512),
            client: Some("mini 1".into()),
            ..ExtendedHandshake::default()
        };
        assert_eq!(plain.to_bytes(), b"d1:mde1:pi6881e4:reqqi512e1:v6:mini 1e", "no name is sent that nobody chose");
        let said = ExtendedHandshake { name: Some("Ada".into()), upload_only: true, ..plain };
        let bytes = b"d1:mde7:mt_name3:Ada1:pi6881e4:reqqi512e11:upload_onlyi1e1:v6:mini 1e";
        assert_eq!(said.to_bytes(), bytes);
        assert_eq!(ExtendedHandshake::from_bytes(&said.to_bytes()), Ok(said));
    }

    #[test]
    fn what_makes_no_sense_is_left_out() {
        let odd = ExtendedHandshake::from_bytes(b"d1:p3:abc4:reqqi-1e1:vi1ee").unwrap();
        assert_eq!(odd, ExtendedHandshake::default());
        assert_eq!(ExtendedHandshake::from_bytes(b"d1:pi65536ee").unwrap().port, None);
        assert_eq!(ExtendedHandshake::from_bytes(b"i1e").unwrap(), ExtendedHandshake::default());
        assert!(ExtendedHandshake::from_bytes(b"d").is_err());
        let nasty = "d1:v9:a\n\u{9b}m\u{202e}bee";
        let nasty = ExtendedHandshake::from_bytes(nasty.as_bytes()).unwrap().client;
        assert_eq!(nasty.as_deref(), Some(r"a\n\u{9b}m\u{202e}b"));
        let long = format!("d1:v100:{}e", "x".repeat(100));
        assert_eq!(ExtendedHandshake::from_bytes(long.as_bytes()).unwrap().client.unwrap().len(), MAX_CLIENT);
    }

    #[test]
    fn ten_thousand_levels_are_an_error_and_no_crash() {
        let deep = [b"d1:m".as_slice(), &vec![b'l'; 10_000], &vec![b'e'; 10_001]].concat();
        assert!(ExtendedHandshake::from_bytes(&deep).is_err());
    }
}
