//! The program that tells frames of the stack from those of the kernel.
//!
//! The stack has a hardware address of its own at the interface, as another host on the same wire. What comes for that address is its; all
//! else goes the kernel's way. What comes for everybody goes there too, and the kernel hands out copies of it (`group.rs`): a
//! program can't give one frame to two.

use sunstar_wire::MacAddr;

use super::assembler::{AssembleError, Assembler, Condition, Instruction, Register, Width};

#[cfg(test)]
mod tests;

/// What a program answers (`enum xdp_action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(super) enum Action {
    /// Goes on to the kernel.
    Pass = 2,
}

/// `bpf_redirect_map`.
const REDIRECT_MAP: i32 = 51;

// Offsets in what a program begins with, `struct xdp_md`.
const DATA: i16 = 0;
const DATA_END: i16 = 4;
const RX_QUEUE_INDEX: i16 = 16;

/// Bytes of an Ethernet header without tags.
const ETHERNET_BYTES: i32 = 14;

/// A program that redirects frames for `mac` to the socket that `map` has for the queue, and answers `missing` if there is none.
/// Other frames it lets pass.
pub(super) fn steering(mac: MacAddr, map: i32, missing: i32) -> Result<Vec<Instruction>, AssembleError> {
    use Register::{R0, R1, R2, R3, R4};
    let MacAddr([a, b, c, d, e, f]) = mac;
    let mut asm = Assembler::default();
    let pass = asm.label();
    asm.load(Width::Word, R2, R1, DATA);
    asm.load(Width::Word, R3, R1, DATA_END);
    // The verifier lets nobody look at what may lie beyond the end.
    asm.copy(R4, R2);
    asm.add(R4, ETHERNET_BYTES);
    asm.jump(Condition::Greater, R4, R3, pass);
    asm.load(Width::Word, R4, R2, 0);
    asm.jump32(Condition::NotEqual, R4, u32::from_ne_bytes([a, b, c, d]), pass);
    asm.load(Width::Half, R4, R2, 4);
    asm.jump32(Condition::NotEqual, R4, u16::from_ne_bytes([e, f]).into(), pass);
    // bpf_redirect_map(map, queue, missing)
    asm.load(Width::Word, R2, R1, RX_QUEUE_INDEX);
    asm.load_map(R1, map);
    asm.set(R3, missing);
    asm.call(REDIRECT_MAP);
    asm.exit();
    asm.bind(pass);
    asm.set(R0, Action::Pass as i32);
    asm.exit();
    asm.finish()
}
