use data_encoding::HEXLOWER;

use super::*;
use crate::{
    metainfo::PeerId,
    wire::{HANDSHAKE_LENGTH, Handshake},
};

const TORRENT: InfoHash = InfoHash([7; 20]);

/// The golden bytes were made by a few lines of Python from the private keys a1a1… and b2b2….
const OURS: &str = "eea899441b5da7063cf2afce6bf504d45010a1f147fc0056c22f151a22bd60ef096e680c2ce09e74481811e49d25b262\
                    1cf7270a55ea2cda09e0a935cccb9a40f7174f30f7a8be04c69ff3c0fc0349c8a8aab975b53bfd8510bb2fa3e1281295";
const THEIRS: &str = "9ca3be10af67261f185b97df8534d9ee7a9e97d55fde2ba825230e138fc256e31be61a9cc8d5e580ac8c2f918360f1e3\
                      b16aec77dc7a4b7954ce54e5f13690afb4de5c7518d7eef602ab9da0d5c9fe37aedacdcd0d6fa3fbb1870007ef728a27";
const THIRD: &str = "3aefab6e8f8469747aedf72654174c39d7345e10e91d8585cfa4a83ed9d75b7c284a676747d4a3d72c0ec2227e998b4a\
                     d031c3b3890a6e54c8e2cb31f87a2b299c21010e44faf37ebcb874d892bebd602b33d4bced3303a2fad418911a791969\
                     5a0fd152f9b791ffd34572b0aa53edc26f3b351cb5fb73457b7429b532c5";
const FOURTH: &str = "a75c6444d85b62560fca5bda2a30";

fn bytes(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn handshake() -> [u8; HANDSHAKE_LENGTH] {
    Handshake::ours(TORRENT, PeerId(*b"-XX0000-abcdefghijkl")).to_bytes()
}

/// The other side of a handshake, as far as it can be varied.
pub(crate) struct Initiator {
    pub(crate) torrent: InfoHash,
    pub(crate) pad_a: Vec<u8>,
    pub(crate) verification: [u8; 8],
    pub(crate) provided: u32,
    pub(crate) pad_c: usize,
    pub(crate) initial: Vec<u8>,
    pub(crate) behind: Vec<u8>,
}

impl Initiator {
    pub(crate) fn that_provides(provided: u32) -> Initiator {
        Initiator {
            torrent: TORRENT,
            pad_a: vec![],
            verification: VERIFICATION,
            provided,
            pad_c: 0,
            initial: handshake().to_vec(),
            behind: vec![],
        }
    }

    /// All that it sends, and what goes on.
    fn speak(&self) -> (Vec<u8>, Ciphers) {
        let (begun, (rest, ciphers)) = (self.begin(), self.go_on(&exchange([0xb2; 20], &[0; KEY_LENGTH]).0));
        ([begun, rest].concat(), ciphers)
    }

    /// Its key and PadA.
    pub(crate) fn begin(&self) -> Vec<u8> {
        [&exchange([0xa1; 20], &[0; KEY_LENGTH]).0[..], &self.pad_a].concat()
    }

    /// What it sends when it has the responder's key, and what goes on.
    pub(crate) fn go_on(&self, theirs: &[u8; KEY_LENGTH]) -> (Vec<u8>, Ciphers) {
        let (_, secret) = exchange([0xa1; 20], theirs);
        let mut outgoing = Cipher::new(hash([b"keyA", &secret.0, &self.torrent.0]));
        let incoming = Cipher::new(hash([b"keyB", &secret.0, &self.torrent.0]));
        let request = request_hash(self.torrent);
        let named: Vec<u8> = request.iter().zip(hash([b"req3", &secret.0])).map(|(left, right)| left ^ right).collect();
        let mut encrypted = self.verification.to_vec();
        encrypted.extend(self.provided.to_be_bytes());
        encrypted.extend((self.pad_c as u16).to_be_bytes());
        encrypted.extend(vec![0; self.pad_c]);
        encrypted.extend((self.initial.len() as u16).to_be_bytes());
        encrypted.extend(&self.initial);
        let goes_on_encrypted = self.provided & PLAIN == 0;
        encrypted.extend(goes_on_encrypted.then_some(&self.behind).into_iter().flatten());
        outgoing.apply(&mut encrypted);
        let mut all = [&hash([b"req1", &secret.0])[..], &named, &encrypted].concat();
        all.extend((!goes_on_encrypted).then_some(&self.behind).into_iter().flatten());
        (all, Ciphers { incoming, outgoing })
    }
}

/// What a responder makes of bytes that come in these parts: what it sends before it is done, and how it ends, unless it waits.
fn respond(parts: &[&[u8]]) -> (Vec<u8>, Option<Result<Established, MseError>>) {
    let (mut responder, mut sent) = (Responder::default(), vec![]);
    for part in parts.iter().flat_map(|part| part.chunks(MAX_READ)) {
        responder.feed(part);
        loop {
            match responder.step() {
                Ok(MseStep::Read) => break,
                Ok(MseStep::Exchange) => sent.extend(responder.exchange([0xb2; 20])),
                Ok(MseStep::Torrent(wanted)) if wanted == request_hash(TORRENT) => responder.torrent(TORRENT),
                Ok(MseStep::Torrent(_)) => panic!("it asks for another torrent"),
                Ok(MseStep::Done(established)) => return (sent, Some(Ok(*established))),
                Err(error) => return (sent, Some(Err(error))),
            }
        }
    }
    (sent, None)
}

fn outcome(of: &Initiator) -> Result<Established, MseError> {
    respond(&[&of.speak().0]).1.expect("it waits for more")
}

#[test]
fn these_bytes_are_answered_with_those() {
    let all = [bytes(THEIRS), bytes(THIRD)].concat();
    let (sent, end) = respond(&[&all]);
    let established = end.unwrap().unwrap();
    assert_eq!(HEXLOWER.encode(&sent), OURS);
    assert_eq!(HEXLOWER.encode(&established.answer), FOURTH);
    assert_eq!(established.begun, handshake());
    assert!(established.ciphers.is_none(), "plain text was offered");
    assert_eq!(HEXLOWER.encode(&request_hash(TORRENT)), "4a90947f810ab816d0d9b5370b2b1dddde511d77");
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    let of = |provided| Initiator {
        pad_a: vec![3; 57],
        pad_c: 29,
        behind: b"behind".to_vec(),
        ..Initiator::that_provides(provided)
    };
    for initiator in [of(PLAIN | RC4), of(RC4)] {
        let (all, _) = initiator.speak();
        let begun = [&handshake()[..], b"behind"].concat();
        for cut in 0..all.len() {
            let (_, end) = respond(&[&all[..cut], &all[cut..]]);
            let established = end.expect("it waits for more").unwrap();
            let behind = if cut < all.len() - 6 { 6 } else { all.len() - cut };
            // What had not come when the handshake was done is read from the connection.
            assert!(begun.starts_with(&established.begun), "cut at {cut}");
            assert!(established.begun.len() + behind >= begun.len(), "cut at {cut}");
        }
        let single: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(respond(&single).1.unwrap().unwrap().begun, handshake());
        // Nothing is decided before all is there.
        assert!(respond(&[&all[..all.len() - 7]]).1.is_none());
    }
}

#[test]
fn rc4_goes_on_both_ways_where_plain_text_is_not_offered() {
    let initiator = Initiator { initial: vec![], ..Initiator::that_provides(RC4) };
    let (all, mut theirs) = initiator.speak();
    let established = respond(&[&all]).1.unwrap().unwrap();
    let mut ours = established.ciphers.unwrap();
    let mut answer = established.answer;
    theirs.incoming.apply(&mut answer);
    assert_eq!(answer, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0]);
    for (from, to) in [(&mut ours.outgoing, &mut theirs.incoming), (&mut theirs.outgoing, &mut ours.incoming)] {
        let mut words = *b"some words";
        from.apply(&mut words);
        assert_ne!(words, *b"some words");
        to.apply(&mut words);
        assert_eq!(words, *b"some words");
    }
}

#[test]
fn plain_text_is_chosen_wherever_it_is_offered_and_unknown_methods_are_passed_over() {
    assert!(outcome(&Initiator::that_provides(PLAIN)).unwrap().ciphers.is_none());
    assert!(outcome(&Initiator::that_provides(0xff)).unwrap().ciphers.is_none());
    assert!(outcome(&Initiator::that_provides(0xfe)).unwrap().ciphers.is_some());
    assert_eq!(outcome(&Initiator::that_provides(0xfc)).unwrap_err(), MseError::Methods(0xfc));
    assert_eq!(outcome(&Initiator::that_provides(0)).unwrap_err(), MseError::Methods(0));
}

#[test]
fn pads_may_have_512_bytes_and_no_more() {
    let with = |pad_a, pad_c| Initiator { pad_a: vec![9; pad_a], pad_c, ..Initiator::that_provides(PLAIN) };
    assert!(outcome(&with(MAX_PAD, MAX_PAD)).is_ok());
    assert_eq!(outcome(&with(MAX_PAD + 1, 0)).unwrap_err(), MseError::NoSync);
    assert_eq!(outcome(&with(0, MAX_PAD + 1)).unwrap_err(), MseError::Pad(MAX_PAD + 1));
    // Noise is not searched for ever.
    let noise = [&bytes(THEIRS)[..], &[5; MAX_PAD + 19]].concat();
    assert!(respond(&[&noise]).1.is_none());
    assert_eq!(respond(&[&noise, &[5]]).1.unwrap().unwrap_err(), MseError::NoSync);
}

#[test]
fn a_peer_may_begin_with_as_much_as_there_is_to_say_and_no_more() {
    let with = |length| Initiator { initial: vec![1; length], ..Initiator::that_provides(RC4) };
    assert_eq!(outcome(&with(MAX_INITIAL_PAYLOAD)).unwrap().begun, [1; MAX_INITIAL_PAYLOAD]);
    let error = outcome(&with(MAX_INITIAL_PAYLOAD + 1)).unwrap_err();
    assert_eq!(error, MseError::InitialPayload(MAX_INITIAL_PAYLOAD + 1));
}

#[test]
fn garbage_where_zeros_should_be_ends_it() {
    let initiator = Initiator { verification: [0, 0, 0, 0, 0, 0, 0, 1], ..Initiator::that_provides(PLAIN) };
    assert_eq!(outcome(&initiator).unwrap_err(), MseError::Verification);
}

#[test]
fn no_public_key_is_too_odd_to_compute_with() {
    let prime = bytes(
        "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
         ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
    );
    let power = |key: &[u8]| exchange([0xb2; 20], key.try_into().unwrap()).1.0;
    assert_eq!(power(&[0; KEY_LENGTH]), [0; KEY_LENGTH]);
    assert_eq!(power(&prime), [0; KEY_LENGTH]);
    let mut two = [0; KEY_LENGTH];
    two[KEY_LENGTH - 1] = 2;
    let mut beyond = prime;
    beyond[KEY_LENGTH - 1] += 2;
    assert_eq!(power(&two), power(&beyond));
    power(&[0xff; KEY_LENGTH]);
}
