use super::*;

/// The bytes of an instruction on a little-endian machine.
fn bytes(instruction: Instruction) -> [u8; 8] {
    let Instruction { code, registers, offset, immediate } = instruction;
    let ([o0, o1], [i0, i1, i2, i3]) = (offset.to_le_bytes(), immediate.to_le_bytes());
    [code, registers, o0, o1, i0, i1, i2, i3]
}

fn only(write: impl FnOnce(&mut Assembler)) -> [u8; 8] {
    let mut assembler = Assembler::default();
    write(&mut assembler);
    let program = assembler.finish().unwrap();
    assert_eq!(program.len(), 1);
    bytes(program[0])
}

// What an assembler of others (clang, `llvm-mc -triple bpf`) makes of the line that stands beside.
#[test]
fn instructions_have_their_codes() {
    use Register::{R0, R1, R2, R3, R4, R6, R9};
    // r2 = *(u32 *)(r1 + 4)
    assert_eq!(only(|a| a.load(Width::Word, R2, R1, 4)), [0x61, 0x12, 4, 0, 0, 0, 0, 0]);
    // r4 = *(u16 *)(r2 - 2)
    assert_eq!(only(|a| a.load(Width::Half, R4, R2, -2)), [0x69, 0x24, 0xfe, 0xff, 0, 0, 0, 0]);
    // r6 = *(u8 *)(r9 + 9)
    assert_eq!(only(|a| a.load(Width::Byte, R6, R9, 9)), [0x71, 0x96, 9, 0, 0, 0, 0, 0]);
    // r3 = r2
    assert_eq!(only(|a| a.copy(R3, R2)), [0xbf, 0x23, 0, 0, 0, 0, 0, 0]);
    // r0 = 2
    assert_eq!(only(|a| a.set(R0, 2)), [0xb7, 0, 0, 0, 2, 0, 0, 0]);
    // r4 += 14
    assert_eq!(only(|a| a.add(R4, 14)), [0x07, 4, 0, 0, 14, 0, 0, 0]);
    // r9 += r3
    assert_eq!(only(|a| a.add_register(R9, R3)), [0x0f, 0x39, 0, 0, 0, 0, 0, 0]);
    // r3 &= 15
    assert_eq!(only(|a| a.and(R3, 15)), [0x57, 3, 0, 0, 15, 0, 0, 0]);
    // r3 <<= 2
    assert_eq!(only(|a| a.shift_left(R3, 2)), [0x67, 3, 0, 0, 2, 0, 0, 0]);
    // r3 = be16 r3
    assert_eq!(only(|a| a.half_from_network(R3)), [0xdc, 3, 0, 0, 16, 0, 0, 0]);
    // call 51
    assert_eq!(only(|a| a.call(51)), [0x85, 0, 0, 0, 51, 0, 0, 0]);
    assert_eq!(only(Assembler::exit), [0x95, 0, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn a_map_takes_two_instructions() {
    let mut assembler = Assembler::default();
    assembler.load_map(Register::R1, 7);
    let program = assembler.finish().unwrap();
    assert_eq!(program.iter().copied().map(bytes).collect::<Vec<_>>(), [[0x18, 0x11, 0, 0, 7, 0, 0, 0], [0; 8]]);
}

#[test]
fn jumps_lead_to_their_labels() {
    let mut assembler = Assembler::default();
    let (back, ahead) = (assembler.label(), assembler.label());
    assembler.bind(back);
    assembler.set(Register::R0, 0);
    assembler.jump(Condition::Greater, Register::R4, Register::R3, ahead);
    assembler.jump32(Condition::NotEqual, Register::R4, 0xfedc_ba98, back);
    assembler.exit();
    assembler.bind(ahead);
    assembler.exit();
    let program = assembler.finish().unwrap();
    // if r4 > r3 goto +2, if w4 != 0xfedcba98 goto -3
    assert_eq!(bytes(program[1]), [0x2d, 0x34, 2, 0, 0, 0, 0, 0]);
    assert_eq!(bytes(program[2]), [0x56, 4, 0xfd, 0xff, 0x98, 0xba, 0xdc, 0xfe]);
}

#[test]
fn all_jumps_have_their_codes() {
    let of = |write: fn(&mut Assembler, Label)| {
        only(|assembler| {
            let here = assembler.label();
            assembler.bind(here);
            write(assembler, here);
        })
    };
    // goto -1
    assert_eq!(of(Assembler::go), [0x05, 0, 0xff, 0xff, 0, 0, 0, 0]);
    // if r9 == 0 goto -1
    assert_eq!(of(|a, here| a.jump_if_zero(Register::R9, here)), [0x15, 9, 0xff, 0xff, 0, 0, 0, 0]);
    // if w3 == 80 goto -1, if w3 & 80 goto -1, if w3 < 80 goto -1, if w3 <= 80 goto -1
    let code = |condition| {
        only(|assembler| {
            let here = assembler.label();
            assembler.bind(here);
            assembler.jump32(condition, Register::R3, 80, here);
        })
    };
    let conditions = [Condition::Equal, Condition::AnyBit, Condition::Less, Condition::LessOrEqual];
    for (condition, first) in conditions.into_iter().zip([0x16, 0x46, 0xa6, 0xb6]) {
        assert_eq!(code(condition), [first, 3, 0xff, 0xff, 80, 0, 0, 0]);
    }
}

#[test]
fn jumps_that_lead_nowhere_are_errors() {
    let mut assembler = Assembler::default();
    let nowhere = assembler.label();
    assembler.jump32(Condition::NotEqual, Register::R0, 0, nowhere);
    assert_eq!(assembler.finish(), Err(AssembleError::Unbound));

    let mut assembler = Assembler::default();
    let far = assembler.label();
    assembler.jump32(Condition::NotEqual, Register::R0, 0, far);
    (0..=i16::MAX).for_each(|_| assembler.exit());
    assembler.bind(far);
    assert_eq!(assembler.finish(), Err(AssembleError::TooFar));
}
