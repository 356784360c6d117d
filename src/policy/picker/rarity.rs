//! How many peers have each piece, and the missing pieces in order of that.
//!
//! The order is one array, cut into buckets of equal count, with a border behind each bucket:
//!
//! ```text
//!   order  │ 0 peers │ 1 peer     │ 2 peers │ not listed, in no order │
//!   ends             ▲            ▲         ▲
//! ```
//!
//! A piece that gains a peer trades places with the last of its bucket, and the border moves before it: one swap, however
//! many pieces there are. Listing and unlisting swap it across every bucket above its own, of which there are at
//! most as many as there were peers at once.

/// Counts for every piece; an order for those that are listed.
pub(super) struct Rarity {
    /// Peers that have every piece, counted here instead of in `peers`. Never more than there are such peers.
    everywhere: u32,
    /// By piece: the other peers that have it.
    peers: Vec<u32>,
    /// The pieces: bucket after bucket, then those that are not listed.
    order: Vec<u32>,
    /// By piece: where in `order` it is.
    position: Vec<u32>,
    /// By count: where in `order` its bucket ends; the next one begins there.
    ends: Vec<u32>,
}

impl Rarity {
    /// `count` pieces that no peer has; those are listed for which `listed` says so.
    pub(super) fn new(count: u32, listed: impl Fn(u32) -> bool) -> Rarity {
        let mut order: Vec<u32> = (0..count).filter(|piece| listed(*piece)).collect();
        let ends = vec![order.len() as u32];
        order.extend((0..count).filter(|piece| !listed(*piece)));
        let mut position = vec![0; order.len()];
        for (at, piece) in (0..).zip(&order) {
            position[*piece as usize] = at;
        }
        Rarity { everywhere: 0, peers: vec![0; order.len()], order, position, ends }
    }

    /// How many peers have the piece.
    pub(super) fn of(&self, piece: u32) -> u32 {
        self.everywhere + self.peers[piece as usize]
    }

    /// One more peer has the piece.
    pub(super) fn raise(&mut self, piece: u32) {
        let bucket = self.peers[piece as usize];
        self.peers[piece as usize] += 1;
        if self.is_listed(piece) {
            self.reach(bucket + 1);
            self.leave_upwards(piece, bucket);
        }
    }

    /// One peer less has the piece.
    pub(super) fn lower(&mut self, piece: u32) {
        let bucket = self.peers[piece as usize].checked_sub(1).expect("a peer that leaves was counted");
        self.peers[piece as usize] = bucket;
        if self.is_listed(piece) {
            self.enter_downwards(piece, bucket);
        }
    }

    /// One more peer has every piece.
    pub(super) fn raise_all(&mut self) {
        self.everywhere += 1;
    }

    /// One peer less has every piece; false, and nothing done, if it has to be told piece by piece.
    ///
    /// It does not matter whether this peer was the one counted by [`Rarity::raise_all`]: the sums are the same.
    pub(super) fn lower_all(&mut self) -> bool {
        let counted = self.everywhere > 0;
        self.everywhere -= u32::from(counted);
        counted
    }

    /// Whether the piece is listed.
    pub(super) fn is_listed(&self, piece: u32) -> bool {
        self.position[piece as usize] < self.listed_count()
    }

    /// Lists a piece that is not.
    pub(super) fn list(&mut self, piece: u32) {
        let bucket = self.peers[piece as usize];
        self.reach(bucket);
        for into in (bucket..self.ends.len() as u32).rev() {
            self.enter_downwards(piece, into);
        }
    }

    /// Takes a piece that is listed off the list.
    pub(super) fn unlist(&mut self, piece: u32) {
        for out_of in self.peers[piece as usize]..self.ends.len() as u32 {
            self.leave_upwards(piece, out_of);
        }
    }

    /// How many pieces are listed.
    pub(super) fn listed_count(&self) -> u32 {
        *self.ends.last().expect("there is always a first bucket")
    }

    /// How many of those no peer has.
    pub(super) fn listed_without_peers(&self) -> u32 {
        if self.everywhere == 0 { self.ends[0] } else { 0 }
    }

    /// The listed pieces, rarest first. Each bucket is begun somewhere by `chance` and gone round once.
    pub(super) fn listed(&self, chance: u64) -> impl Iterator<Item = u32> + '_ {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).filter(|(start, end)| start < *end).flat_map(move |(start, end)| {
            let bucket = &self.order[start as usize..*end as usize];
            let (head, tail) = bucket.split_at((chance % bucket.len() as u64) as usize);
            tail.iter().chain(head).copied()
        })
    }

    /// Moves the piece over the upper border of its bucket.
    fn leave_upwards(&mut self, piece: u32, bucket: u32) {
        self.ends[bucket as usize] -= 1;
        self.trade_places(piece, self.ends[bucket as usize]);
    }

    /// Moves the piece over the upper border of the bucket below it.
    fn enter_downwards(&mut self, piece: u32, bucket: u32) {
        self.trade_places(piece, self.ends[bucket as usize]);
        self.ends[bucket as usize] += 1;
    }

    /// Sees to it that there is a bucket for that count.
    fn reach(&mut self, bucket: u32) {
        let buckets = self.ends.len().max(bucket as usize + 1);
        self.ends.resize(buckets, self.listed_count());
    }

    fn trade_places(&mut self, piece: u32, at: u32) {
        let from = std::mem::replace(&mut self.position[piece as usize], at);
        let other = std::mem::replace(&mut self.order[at as usize], piece);
        self.order[from as usize] = other;
        self.position[other as usize] = from;
    }
}
