//! What a metainfo says outside its info dictionary: whom to ask, who made it, and whatever else a `.torrent` carried.

use std::collections::BTreeMap;

use crate::bencode::{self, BencodeNode, Encoder};

/// The most URLs of trackers that are kept, and of web seeds: more than anybody could ask, and few enough to print.
pub(super) const MAX_URLS: usize = 1000;

/// The keys beside `info`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Outer {
    pub trackers: Trackers,
    pub web_seeds: Vec<String>,
    pub comment: Option<String>,
    pub created_by: Option<String>,
    /// Seconds since 1970.
    pub creation_date: Option<i64>,
    /// Every other key of a `.torrent`, and those above whose value is no text or number; with the bencoded value.
    pub extra: Extra,
}

/// Bencoded values by their keys.
pub(super) type Extra = BTreeMap<Vec<u8>, Vec<u8>>;

impl Outer {
    /// Takes the further keys, but none that has a field of its own here, nor any that a reader of the `.torrent` would take for
    /// such a field: what this does not say, no further key says in its place.
    pub fn with_extra(mut self, mut extra: Extra) -> Outer {
        let own = self.entries();
        let is_read = |key: &[u8], value: &[u8]| bencode::decode(value).is_ok_and(|value| is_read(key, value));
        extra.retain(|key, value| !own.contains_key(key.as_slice()) && !is_read(key, value));
        self.extra = extra;
        self
    }

    /// The same with other trackers, and with none left among the further keys.
    pub fn with_trackers(mut self, trackers: Trackers) -> Outer {
        self.trackers = trackers;
        let mut extra = std::mem::take(&mut self.extra);
        extra.retain(|key, _| !matches!(key.as_slice(), b"announce" | b"announce-list"));
        self.with_extra(extra)
    }

    /// The fields as the keys of a `.torrent` with their bencoded values.
    pub fn entries(&self) -> BTreeMap<&'static [u8], Vec<u8>> {
        let text = |text: &str| encoded(|out| out.bytes(text));
        let urls = |out: &mut Encoder, urls: &[String]| out.list(|list| urls.iter().for_each(|url| list.bytes(url)));
        let tiers =
            |tiers: &[Vec<String>]| encoded(|out| out.list(|list| tiers.iter().for_each(|tier| urls(list, tier))));
        let web_seeds = match self.web_seeds.as_slice() {
            [] => None,
            [one] => Some(text(one)),
            all => Some(encoded(|out| urls(out, all))),
        };
        let entries: [(&[u8], _); 6] = [
            (b"announce", self.trackers.announce().map(text)),
            (b"announce-list", self.trackers.list().map(tiers)),
            (b"comment", self.comment.as_deref().map(text)),
            (b"created by", self.created_by.as_deref().map(text)),
            (b"creation date", self.creation_date.map(|date| encoded(|out| out.integer(date)))),
            (b"url-list", web_seeds),
        ];
        entries.into_iter().filter_map(|(key, value)| Some((key, value?))).collect()
    }
}

/// Whether a key beside `info` in a `.torrent` is one of the fields of [`Outer`], or `info` itself.
pub(super) fn is_read(key: &[u8], value: BencodeNode<'_>) -> bool {
    match key {
        b"info" => true,
        b"announce" | b"comment" | b"created by" => value.as_str().is_some(),
        b"announce-list" => value.as_list().is_some(),
        b"url-list" => value.as_list().is_some() || value.as_str().is_some(),
        b"creation date" => value.as_integer().is_some(),
        _ => false,
    }
}

fn encoded(write: impl FnOnce(&mut Encoder)) -> Vec<u8> {
    let mut out = Encoder::new();
    write(&mut out);
    out.finish()
}

/// Whom to announce to: one URL for clients without BEP 12, and all of them in tiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Trackers {
    announce: Option<String>,
    tiers: Vec<Vec<String>>,
}

impl Trackers {
    /// `announce` counts when no tier has a URL (BEP 12); it keeps its place even where the tiers leave it out.
    pub fn new(announce: Option<String>, tiers: Vec<Vec<String>>) -> Trackers {
        let mut room = MAX_URLS;
        let tiers = tiers.into_iter().map(|tier| {
            let tier: Vec<String> = tier.iter().filter_map(|url| cleaned(url)).take(room).collect();
            room -= tier.len();
            tier
        });
        let mut tiers: Vec<_> = tiers.filter(|tier| !tier.is_empty()).collect();
        let mut announce = announce.as_deref().and_then(cleaned);
        match (&announce, tiers.first()) {
            (Some(url), None) => tiers.push(vec![url.clone()]),
            (None, Some(tier)) => announce = tier.first().cloned(),
            _ => {}
        }
        Trackers { announce, tiers }
    }

    /// The same, but these are asked first, one after the other.
    pub fn after(self, first: &[String]) -> Trackers {
        let rest = self.tiers.into_iter().map(|tier| tier.into_iter().filter(|url| !first.contains(url)).collect());
        Trackers::new(None, first.iter().map(|url| vec![url.clone()]).chain(rest).collect())
    }

    /// All of them.
    pub fn tiers(&self) -> &[Vec<String>] {
        &self.tiers
    }

    /// The one that stands alone.
    pub fn announce(&self) -> Option<&str> {
        self.announce.as_deref()
    }

    /// The tiers, where [`Trackers::announce`] does not say it all.
    pub fn list(&self) -> Option<&[Vec<String>]> {
        let is_announce_alone = match self.tiers.as_slice() {
            [] => true,
            [tier] => tier.len() == 1 && tier.first() == self.announce.as_ref(),
            _ => false,
        };
        (!is_announce_alone).then_some(&self.tiers)
    }
}

/// A URL without white space around it, unless it is empty.
pub(super) fn cleaned(url: &str) -> Option<String> {
    Some(url.trim()).filter(|url| !url.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trackers(announce: Option<&str>, tiers: &[&[&str]]) -> Trackers {
        let tiers = tiers.iter().map(|tier| tier.iter().map(std::string::ToString::to_string).collect()).collect();
        Trackers::new(announce.map(str::to_owned), tiers)
    }

    #[test]
    fn tiers_count_before_the_single_tracker() {
        assert_eq!(trackers(Some("a"), &[]).tiers(), [["a"]]);
        assert_eq!(trackers(Some("a"), &[&["b"], &["c"]]).tiers(), [["b"], ["c"]]);
        assert_eq!(trackers(Some("a"), &[&["b"], &["c"]]).announce(), Some("a"));
        assert_eq!(trackers(None, &[&[" b "], &[]]).announce(), Some("b"));
        assert_eq!(trackers(Some(" "), &[&[""], &[]]), Trackers::default());
    }

    #[test]
    fn a_list_is_needed_only_where_it_says_more() {
        assert_eq!(trackers(None, &[]).list(), None);
        assert_eq!(trackers(Some("a"), &[&["a"]]).list(), None);
        assert!(trackers(Some("a"), &[&["b"]]).list().is_some());
        assert!(trackers(Some("a"), &[&["a", "b"]]).list().is_some());
    }

    #[test]
    fn trackers_beyond_the_limit_are_left_out() {
        let tiers: Vec<Vec<String>> = (0..MAX_URLS + 1).map(|number| vec![number.to_string()]).collect();
        assert_eq!(Trackers::new(None, tiers.clone()).tiers(), &tiers[..MAX_URLS]);
    }
}
