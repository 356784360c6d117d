//! Message Stream Encryption, the side that is connected to: a handshake that hides the protocol before the protocol
//! begins. Many clients try it first, some insist on it. Pure: bytes in, bytes out, and the private key is an argument.
//!
//! ```text
//! 1 they: Ya, PadA                                              96 bytes, then 0 to 512
//! 2 we:   Yb                                                    96 bytes; our pad is empty
//! 3 they: HASH(req1, S)                                         20 bytes, found by searching past PadA
//!         HASH(req2, SKEY) xor HASH(req3, S)                    20 bytes; SKEY is the info hash
//!         RC4(VC, crypto_provide, len(PadC), PadC, len(IA), IA) IA is what they begin with: a handshake of BEP 3, or nothing
//! 4 we:   RC4(VC, crypto_select, len(PadD))                     14 bytes; PadD is empty
//! ```
//!
//! What follows is in the clear where they allow that, and RC4 goes on where they do not. This keeps nothing secret from whoever
//! knows the info hash, and is not meant to: it is here so that nobody has to be turned away.
//!
//! Invariant: a [`Responder`] holds at most [`MAX_HELD`] bytes that it has not understood, and none is computed with before all
//! of its field is there.

use std::fmt;

use crypto_bigint::{NonZero, U768, const_monty_params, modular::ConstMontyForm};
use rc4::{KeyInit, StreamCipher};
use sha1::{Digest, Sha1};

use crate::metainfo::InfoHash;

/// Bytes of a public key.
pub const KEY_LENGTH: usize = 96;

/// Bytes of a private key; more than 160 bits make nothing safer.
pub const PRIVATE_KEY_LENGTH: usize = 20;

/// Bytes of PadA and of PadC at most.
pub const MAX_PAD: usize = 512;

/// Bytes of IA at most: a handshake is 68, and what a peer may say behind it before it has our answer is a bitfield.
pub const MAX_INITIAL_PAYLOAD: usize = 8 * 1024;

/// Bytes that may have come and wait to be understood: those of the longest field, and what one read brings behind it.
pub const MAX_HELD: usize = MAX_INITIAL_PAYLOAD + MAX_READ;

/// Bytes that may be fed at once.
pub const MAX_READ: usize = 1024;

/// Bytes of RC4's stream that are thrown away, because its first ones tell of the key.
const DISCARDED: usize = 1024;

/// What stands at the beginning of each encrypted part, so that the other side can find it.
const VERIFICATION: [u8; 8] = [0; 8];

/// Bytes of VC, crypto_provide and len(PadC).
const OFFER_LENGTH: usize = VERIFICATION.len() + 4 + 2;

/// In crypto_provide and crypto_select: what follows is in the clear.
const PLAIN: u32 = 1;

/// In crypto_provide and crypto_select: RC4 goes on.
const RC4: u32 = 2;

const_monty_params!(
    Prime,
    U768,
    "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74020bbea63b139b22514a08798e3404dd\
     ef9519b3cd3a431b302b0a6df25f14374fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563",
    "The prime of the key exchange."
);

type Residue = ConstMontyForm<Prime, { U768::LIMBS }>;

/// The receiving side of one handshake.
#[derive(Debug)]
pub struct Responder {
    stage: Stage,
    held: Vec<u8>,
}

#[derive(Debug)]
enum Stage {
    /// Their public key comes.
    Key,
    /// PadA comes, and what ends it, in a distance of at most [`MAX_PAD`].
    Pad { secret: Secret },
    /// The hash that says which torrent it is about.
    Torrent { secret: Secret },
    /// VC, crypto_provide and len(PadC).
    Offer(Ciphers),
    /// PadC and len(IA).
    PadC(Ciphers, Method, usize),
    /// IA.
    InitialPayload(Ciphers, Method, usize),
    /// It is over.
    Over,
}

/// What comes next.
#[derive(Debug)]
pub enum MseStep {
    /// More bytes have to come.
    Read,
    /// Their key is there: [`Responder::exchange`] says what to answer, and takes a while.
    Exchange,
    /// Which torrent has this [`request_hash`]? [`Responder::torrent`] wants to know.
    Torrent([u8; 20]),
    /// It is done.
    Done(Box<Established>),
}

/// A handshake that is done.
#[derive(Debug)]
pub struct Established {
    /// To be sent before anything else.
    pub answer: [u8; OFFER_LENGTH],
    /// What the other side has begun with, decrypted.
    pub begun: Vec<u8>,
    /// What goes on encrypted; without it all goes on in the clear.
    pub ciphers: Option<Ciphers>,
}

/// The two directions of an encrypted connection.
#[derive(Debug)]
pub struct Ciphers {
    /// What comes.
    pub incoming: Cipher,
    /// What goes.
    pub outgoing: Cipher,
}

/// RC4 at some place of its stream.
pub struct Cipher(rc4::Rc4);

/// What is sent after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Plain,
    Rc4,
}

/// S: what both sides know after the exchange.
#[derive(Clone, Copy)]
struct Secret([u8; KEY_LENGTH]);

/// Why bytes are no encrypted handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MseError {
    /// Nothing within the longest PadA follows from the key that was exchanged.
    NoSync,
    /// What should be eight zeros is not: it has another torrent in mind, or none.
    Verification,
    /// It can neither go on in the clear nor with RC4.
    Methods(u32),
    /// A pad longer than there may be.
    Pad(usize),
    /// It begins with more than a peer has to say before it is answered.
    InitialPayload(usize),
}

/// `HASH(req2, SKEY)`: how an encrypted handshake names its torrent.
pub fn request_hash(info_hash: InfoHash) -> [u8; 20] {
    hash([b"req2", &info_hash.0])
}

impl Default for Responder {
    fn default() -> Responder {
        Responder { stage: Stage::Key, held: Vec::new() }
    }
}

impl Responder {
    /// More has come; at most [`MAX_READ`] bytes, and only after [`MseStep::Read`].
    pub fn feed(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        assert!(self.held.len() <= MAX_HELD, "more is fed than is asked for");
    }

    /// What the bytes that are there lead to.
    pub fn step(&mut self) -> Result<MseStep, MseError> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Key if self.held.len() < KEY_LENGTH => return self.wait(Stage::Key),
                Stage::Key => {
                    self.stage = Stage::Key;
                    return Ok(MseStep::Exchange);
                }
                Stage::Pad { secret } => {
                    let Some(at) = find(&hash([b"req1", &secret.0]), &self.held) else {
                        let come_to_nothing = self.held.len() >= MAX_PAD + 20;
                        return if come_to_nothing { Err(MseError::NoSync) } else { self.wait(Stage::Pad { secret }) };
                    };
                    if at > MAX_PAD {
                        return Err(MseError::NoSync);
                    }
                    self.held.drain(..at + 20);
                    self.stage = Stage::Torrent { secret };
                }
                Stage::Torrent { secret } if self.held.len() < 20 => return self.wait(Stage::Torrent { secret }),
                Stage::Torrent { secret } => {
                    let mut wanted = hash([b"req3", &secret.0]);
                    wanted.iter_mut().zip(&self.held).for_each(|(byte, sent)| *byte ^= sent);
                    self.stage = Stage::Torrent { secret };
                    return Ok(MseStep::Torrent(wanted));
                }
                Stage::Offer(ciphers) if self.held.len() < OFFER_LENGTH => return self.wait(Stage::Offer(ciphers)),
                Stage::Offer(mut ciphers) => {
                    let (method, pad) = self.read_offer(&mut ciphers.incoming)?;
                    self.stage = Stage::PadC(ciphers, method, pad);
                }
                Stage::PadC(ciphers, method, pad) if self.held.len() < pad + 2 => {
                    return self.wait(Stage::PadC(ciphers, method, pad));
                }
                Stage::PadC(mut ciphers, method, pad) => {
                    let bytes = self.decrypt(pad + 2, &mut ciphers.incoming);
                    let length = usize::from(u16::from_be_bytes([bytes[pad], bytes[pad + 1]]));
                    if length > MAX_INITIAL_PAYLOAD {
                        return Err(MseError::InitialPayload(length));
                    }
                    self.stage = Stage::InitialPayload(ciphers, method, length);
                }
                Stage::InitialPayload(ciphers, method, length) if self.held.len() < length => {
                    return self.wait(Stage::InitialPayload(ciphers, method, length));
                }
                Stage::InitialPayload(ciphers, method, length) => {
                    return Ok(MseStep::Done(Box::new(self.establish(ciphers, method, length))));
                }
                Stage::Over => return self.wait(Stage::Over),
            }
        }
    }

    /// Takes their public key and says what to answer: our own. Takes two modular powers, about a millisecond.
    pub fn exchange(&mut self, private: [u8; PRIVATE_KEY_LENGTH]) -> [u8; KEY_LENGTH] {
        assert!(matches!(self.stage, Stage::Key) && self.held.len() >= KEY_LENGTH, "their key is not there");
        let (ours, secret) = exchange(private, self.held[..KEY_LENGTH].try_into().expect("as many bytes were cut"));
        self.held.drain(..KEY_LENGTH);
        self.stage = Stage::Pad { secret };
        ours
    }

    /// The torrent that was asked for.
    pub fn torrent(&mut self, info_hash: InfoHash) {
        let Stage::Torrent { secret } = self.stage else { panic!("no torrent was asked for") };
        self.held.drain(..20);
        self.stage = Stage::Offer(Ciphers {
            incoming: Cipher::new(hash([b"keyA", &secret.0, &info_hash.0])),
            outgoing: Cipher::new(hash([b"keyB", &secret.0, &info_hash.0])),
        });
    }

    fn wait(&mut self, stage: Stage) -> Result<MseStep, MseError> {
        self.stage = stage;
        Ok(MseStep::Read)
    }

    fn read_offer(&mut self, incoming: &mut Cipher) -> Result<(Method, usize), MseError> {
        let offer = self.decrypt(OFFER_LENGTH, incoming);
        if offer[..8] != VERIFICATION {
            return Err(MseError::Verification);
        }
        let provided = u32::from_be_bytes(offer[8..12].try_into().expect("four bytes were cut"));
        let pad = usize::from(u16::from_be_bytes([offer[12], offer[13]]));
        if pad > MAX_PAD {
            return Err(MseError::Pad(pad));
        }
        match provided {
            _ if provided & PLAIN != 0 => Ok((Method::Plain, pad)),
            _ if provided & RC4 != 0 => Ok((Method::Rc4, pad)),
            _ => Err(MseError::Methods(provided)),
        }
    }

    fn establish(&mut self, mut ciphers: Ciphers, method: Method, initial: usize) -> Established {
        let mut begun = self.decrypt(initial, &mut ciphers.incoming);
        let mut rest = std::mem::take(&mut self.held);
        if method == Method::Rc4 {
            ciphers.incoming.apply(&mut rest);
        }
        begun.append(&mut rest);
        let selected = if method == Method::Plain { PLAIN } else { RC4 };
        let mut answer = [0; OFFER_LENGTH];
        answer[8..12].copy_from_slice(&selected.to_be_bytes());
        ciphers.outgoing.apply(&mut answer);
        Established { answer, begun, ciphers: (method == Method::Rc4).then_some(ciphers) }
    }

    fn decrypt(&mut self, length: usize, cipher: &mut Cipher) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.held.drain(..length).collect();
        cipher.apply(&mut bytes);
        bytes
    }
}

/// Our public key, and the secret that it makes with theirs.
fn exchange(private: [u8; PRIVATE_KEY_LENGTH], theirs: &[u8; KEY_LENGTH]) -> ([u8; KEY_LENGTH], Secret) {
    let mut exponent = [0; KEY_LENGTH];
    exponent[KEY_LENGTH - PRIVATE_KEY_LENGTH..].copy_from_slice(&private);
    let exponent = U768::from_be_slice(&exponent);
    let power = |base: &U768| {
        let power = Residue::new(base).pow_bounded_exp(&exponent, 8 * PRIVATE_KEY_LENGTH as u32).retrieve();
        let mut bytes = [0; KEY_LENGTH];
        bytes.copy_from_slice(power.to_be_bytes().as_ref());
        bytes
    };
    let prime =
        NonZero::new(*<Prime as crypto_bigint::modular::ConstMontyParams<{ U768::LIMBS }>>::PARAMS.modulus().as_ref());
    let theirs = U768::from_be_slice(theirs).rem_vartime(&prime.expect("a prime is not zero"));
    (power(&U768::from_u8(2)), Secret(power(&theirs)))
}

fn hash<const PARTS: usize>(parts: [&[u8]; PARTS]) -> [u8; 20] {
    let mut hasher = Sha1::new();
    parts.into_iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

fn find(wanted: &[u8], bytes: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

impl Cipher {
    fn new(key: [u8; 20]) -> Cipher {
        let mut cipher = Cipher(rc4::Rc4::new_from_slice(&key).expect("RC4 takes keys of 20 bytes"));
        cipher.apply(&mut [0; DISCARDED]);
        cipher
    }

    /// Encrypts, or decrypts, the next bytes of its direction.
    pub fn apply(&mut self, bytes: &mut [u8]) {
        self.0.apply_keystream(bytes);
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher")
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl fmt::Display for MseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MseError::NoSync => f.write_str("what follows its first 96 bytes is no encrypted handshake"),
            MseError::Verification => f.write_str("its encrypted handshake is not about the torrent that it names"),
            MseError::Methods(provided) => {
                write!(f, "it offers encryption methods {provided:#x}; plain text (1) and RC4 (2) are known here")
            }
            MseError::Pad(length) => {
                write!(f, "its encrypted handshake has a pad of {length} bytes, {MAX_PAD} are allowed")
            }
            MseError::InitialPayload(length) => {
                write!(f, "its encrypted handshake begins with {length} bytes, {MAX_INITIAL_PAYLOAD} are allowed")
            }
        }
    }
}

impl std::error::Error for MseError {}

#[cfg(test)]
pub(crate) mod tests;
