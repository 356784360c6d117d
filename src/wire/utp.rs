//! uTP (BEP 29), as much of it as says no: a connection that begins is answered with a reset, so that whoever tries uTP first
//! comes by TCP at once and does not wait for a time-out. Pure.
//!
//! The answer is as long as what it answers, and is no SYN, so it is of no use for flooding a third, and never answered itself.

/// Bytes of a packet without extensions and payload.
pub const PACKET_LENGTH: usize = 20;

/// Type 4 (ST_SYN), version 1.
const SYN: u8 = 0x41;

/// Type 3 (ST_RESET), version 1.
const RESET: u8 = 0x31;

/// What is answered to a packet: a reset to a well-formed ST_SYN of 20 bytes, nothing to anything else.
///
/// ```text
/// 0 type, version · 1 extension · 2 connection id · 4 timestamp · 8 timestamp difference · 12 window · 16 seq_nr · 18 ack_nr
/// ```
pub fn reset_for(packet: &[u8]) -> Option<[u8; PACKET_LENGTH]> {
    let syn: &[u8; PACKET_LENGTH] = packet.try_into().ok()?;
    if syn[0] != SYN || syn[1] != 0 {
        return None;
    }
    let mut reset = [0; PACKET_LENGTH];
    reset[0] = RESET;
    reset[2..4].copy_from_slice(&syn[2..4]);
    // What it has sent last is what is confirmed.
    reset[18..20].copy_from_slice(&syn[16..18]);
    Some(reset)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: [u8; PACKET_LENGTH] = [0x41, 0, 0x12, 0x34, 1, 2, 3, 4, 0, 0, 0, 0, 0, 0x10, 0, 0, 0xab, 0xcd, 0, 0];

    #[test]
    fn a_syn_is_answered_with_this_reset() {
        let reset = [0x31, 0, 0x12, 0x34, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd];
        assert_eq!(reset_for(&CALL), Some(reset));
    }

    #[test]
    fn nothing_else_is_answered() {
        for length in (0..64).filter(|length| *length != PACKET_LENGTH) {
            let mut packet = vec![0; length];
            packet.iter_mut().zip(CALL).for_each(|(byte, call)| *byte = call);
            assert_eq!(reset_for(&packet), None, "{length} bytes");
        }
        for first in (0..=255).filter(|first| *first != SYN) {
            let mut packet = CALL;
            packet[0] = first;
            assert_eq!(reset_for(&packet), None, "first byte {first:#x}");
        }
        let mut extended = CALL;
        extended[1] = 1;
        assert_eq!(reset_for(&extended), None);
        assert_eq!(reset_for(&reset_for(&CALL).unwrap()), None, "a reset is answered");
    }
}
