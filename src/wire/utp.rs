//! uTP (BEP 29), as much of it as says no: a connection that begins is answered with a reset, so that whoever tries uTP first
//! comes by TCP at once and does not wait for a time-out. Pure.
//!
//! The answer is no longer than what it answers, and is no SYN, so it is of no use for flooding a third, and never answered itself.

/// Bytes of a packet without extensions and payload, and of what is answered.
pub const HEADER_LENGTH: usize = 20;

/// Bytes of a SYN that is answered at most. Transmission's has 30: it names an extension of 8 bytes.
pub const MAX_SYN: usize = 64;

/// Type 4 (ST_SYN), version 1.
const SYN: u8 = 0x41;

/// Type 3 (ST_RESET), version 1.
const RESET: u8 = 0x31;

/// What is answered to a packet: a reset to a well-formed ST_SYN without payload, nothing to anything else.
///
/// ```text
/// 0 type, version · 1 extension · 2 connection id · 4 timestamp · 8 timestamp difference · 12 window · 16 seq_nr · 18 ack_nr
/// ```
pub fn reset_for(packet: &[u8]) -> Option<[u8; HEADER_LENGTH]> {
    let (syn, extensions) = packet.split_first_chunk::<HEADER_LENGTH>()?;
    if syn[0] != SYN || packet.len() > MAX_SYN || !is_list_of_extensions(syn[1], extensions) {
        return None;
    }
    let mut reset = [0; HEADER_LENGTH];
    reset[0] = RESET;
    reset[2..4].copy_from_slice(&syn[2..4]);
    // What it has sent last is what is confirmed.
    reset[18..20].copy_from_slice(&syn[16..18]);
    Some(reset)
}

/// Whether extensions, the first of them of that kind, take up these bytes and no more. Each says the kind of the next and its own
/// length; 0 is the end.
fn is_list_of_extensions(mut kind: u8, mut bytes: &[u8]) -> bool {
    while kind != 0 {
        let Some((&[next, length], rest)) = bytes.split_first_chunk::<2>() else { return false };
        let Some(rest) = rest.get(usize::from(length)..) else { return false };
        (kind, bytes) = (next, rest);
    }
    bytes.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: [u8; HEADER_LENGTH] = [0x41, 0, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0x10, 0, 0, 0xab, 0xcd, 0, 0];

    #[test]
    fn a_syn_is_answered_with_this_reset() {
        let reset = [0x31, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd];
        assert_eq!(reset_for(&CALL), Some(reset));
    }

    #[test]
    fn a_syn_may_have_extensions() {
        // Transmission 3.00's: extension 2, the last one, 8 bytes.
        let with = |bytes: &[u8]| [&[0x41, bytes[0]], &CALL[2..], &bytes[1..]].concat();
        assert_eq!(reset_for(&with(&[2, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0])), reset_for(&CALL));
        assert_eq!(reset_for(&with(&[2, 1, 0, 0, 1, 9])), reset_for(&CALL));
        let full: Vec<u8> = [vec![2, 0, 42], vec![0; 42]].concat();
        assert_eq!(with(&full).len(), MAX_SYN);
        assert!(reset_for(&with(&full)).is_some());
        let longer: Vec<u8> = [vec![2, 0, 43], vec![0; 43]].concat();
        for bad in [&[2][..], &[2, 0], &[2, 0, 1], &[2, 0, 0, 0], &[2, 1, 0, 0], &[0, 1], &longer] {
            assert_eq!(reset_for(&with(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn nothing_else_is_answered() {
        for length in (0..64).filter(|length| *length != HEADER_LENGTH) {
            let mut packet = vec![0; length];
            packet.iter_mut().zip(CALL).for_each(|(byte, call)| *byte = call);
            assert_eq!(reset_for(&packet), None, "{length} bytes");
        }
        for first in (0..=255).filter(|first| *first != SYN) {
            let mut packet = CALL;
            packet[0] = first;
            assert_eq!(reset_for(&packet), None, "first byte {first:#x}");
        }
        assert_eq!(reset_for(&reset_for(&CALL).unwrap()), None, "a reset is answered");
    }
}
