//! A scrape: how many seed, fetch and have fetched, for a few swarms at once (BEP 48).

use super::{
    query::{self, Refusal},
    table::Counts,
};
use crate::{bencode::Encoder, metainfo::InfoHash};

/// How many swarms one scrape may ask for: what fits a packet of the UDP protocol, so both stay alike (BEP 15).
pub const MAX_SCRAPE: usize = 74;

/// Reads the query of a scrape. One that names no swarm is refused: the list of all is nobody's business.
pub fn parse(query: &[u8]) -> Result<Vec<InfoHash>, Refusal> {
    let mut hashes = Vec::new();
    for (_, value) in query::fields(query).filter(|(name, _)| *name == b"info_hash") {
        if hashes.len() == MAX_SCRAPE {
            return Err(Refusal::TooManyHashes(MAX_SCRAPE));
        }
        hashes.push(query::info_hash(&value)?);
    }
    if hashes.is_empty() { Err(Refusal::Missing("info_hash")) } else { Ok(hashes) }
}

/// The bencoded answer; a swarm that nobody is in counts zero.
pub fn reply(mut swarms: Vec<(InfoHash, Counts)>) -> Vec<u8> {
    swarms.sort_by_key(|(hash, _)| *hash);
    swarms.dedup_by_key(|(hash, _)| *hash);
    let mut out = Encoder::new();
    out.dict(|dict| {
        dict.key("files").dict(|files| {
            for (hash, counts) in swarms {
                files.key(hash.0).dict(|file| {
                    file.key("complete").integer(counts.complete);
                    file.key("downloaded").integer(counts.downloaded);
                    file.key("incomplete").integer(counts.incomplete);
                });
            }
        });
    });
    out.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrape_names_its_swarms_up_to_the_limit() {
        let field = format!("info_hash={}", InfoHash([7; 20]));
        let query = |count: usize| vec![field.clone(); count].join("&").into_bytes();
        assert_eq!(parse(&query(MAX_SCRAPE)).map(|hashes| hashes.len()), Ok(MAX_SCRAPE));
        assert_eq!(parse(&query(MAX_SCRAPE + 1)), Err(Refusal::TooManyHashes(MAX_SCRAPE)));
        assert_eq!(parse(b"other=1"), Err(Refusal::Missing("info_hash")));
        assert_eq!(parse(b"info_hash=1"), Err(Refusal::Length { field: "info_hash", got: 1 }));
    }

    #[test]
    fn the_answer_is_bep_48s_with_its_keys_in_order_and_once() {
        let (low, high) = (InfoHash([b'a'; 20]), InfoHash([b'b'; 20]));
        let counts = Counts { complete: 5, incomplete: 10, downloaded: 50 };
        let got = reply(vec![(high, Counts::default()), (low, counts), (low, counts)]);
        let want = b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10ee\
                     20:bbbbbbbbbbbbbbbbbbbbd8:completei0e10:downloadedi0e10:incompletei0eeee";
        assert_eq!(got.escape_ascii().to_string(), want.escape_ascii().to_string());
    }
}
