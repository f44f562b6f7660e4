use std::io;

use super::super::bpf::{Program, SocketMap};
use super::*;

const MAC: MacAddr = MacAddr([0x02, 0x12, 0x34, 0x56, 0x78, 0x9a]);
const PASS: u32 = 2;
/// What the program answers here for its own frames, as there are no sockets: to send them back (`XDP_TX`).
const OURS: u32 = 3;

/// The program, if this process may load any.
fn program() -> Option<Program> {
    let map = SocketMap::new(1).and_then(|map| {
        let program = steering(MAC, map.descriptor(), OURS.cast_signed()).unwrap();
        Program::load(&program).map_err(|refused| {
            assert!(refused.log.is_empty(), "{}", refused.log);
            refused.error
        })
    });
    match map {
        Ok(program) => Some(program),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && std::env::var_os("CI").is_none() => {
            eprintln!("not run: programs for the kernel need root: {error}");
            None
        }
        Err(error) => panic!("the program can't be loaded: {error}"),
    }
}

fn frame(dst: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = dst.to_vec();
    frame.extend([0x02, 0, 0, 0, 0, 1, 0x08, 0x00]);
    frame.resize(len, 0);
    frame
}

#[test]
fn frames_for_the_stack_are_taken_and_others_pass() {
    let Some(program) = program() else { return };
    for len in [14, 60, 1_514] {
        assert_eq!(program.run(&frame(MAC.0, len), u32::try_from(len).unwrap()).unwrap(), OURS, "{len}");
    }
    assert_eq!(program.run(&frame([0xff; 6], 60), 60).unwrap(), PASS);
    assert_eq!(program.run(&frame([0x33, 0x33, 0xff, 0x56, 0x78, 0x9a], 60), 60).unwrap(), PASS);
    for byte in 0..6 {
        let mut other = MAC.0;
        other[byte] ^= 0x10;
        assert_eq!(program.run(&frame(other, 60), 60).unwrap(), PASS, "{byte}");
    }
}

#[test]
fn frames_without_a_whole_header_pass() {
    let Some(program) = program() else { return };
    for end in 0..14 {
        assert_eq!(program.run(&frame(MAC.0, 14), end).unwrap(), PASS, "{end}");
    }
    assert_eq!(program.run(&frame(MAC.0, 15), 14).unwrap(), OURS);
}

#[test]
fn a_program_without_sense_is_refused_with_the_reason() {
    if program().is_none() {
        return;
    }
    let mut asm = Assembler::default();
    asm.load(Width::Word, Register::R2, Register::R1, DATA);
    asm.load(Width::Word, Register::R0, Register::R2, 0);
    asm.exit();
    let refused = Program::load(&asm.finish().unwrap()).unwrap_err();
    assert_eq!(refused.error.kind(), io::ErrorKind::PermissionDenied);
    assert!(refused.log.contains("invalid access to packet"), "{}", refused.log);
}
