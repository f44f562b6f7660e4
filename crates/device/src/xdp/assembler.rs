//! Instructions of eBPF, and what writes them (RFC 9669).

#[cfg(test)]
mod tests;

/// An instruction as the kernel takes it: code, registers, offset and immediate (RFC 9669 §3.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub(super) struct Instruction {
    code: u8,
    /// The destination in the low half, the source in the high one; on big-endian machines the other way round.
    registers: u8,
    offset: i16,
    immediate: i32,
}

/// A register. Calls take arguments in the second to the sixth, answer in the first one, and leave those from `R6` on as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Register {
    R0,
    R1,
    R2,
    R3,
    R4,
    R6 = 6,
    R7,
    R8,
    R9,
}

/// How many bytes are loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Width {
    Word = 0x00,
    Half = 0x08,
    Byte = 0x10,
}

/// When a jump is taken, by how a register compares with what follows it. `AnyBit` is about bits that both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Condition {
    Equal = 0x10,
    Greater = 0x20,
    AnyBit = 0x40,
    NotEqual = 0x50,
    Less = 0xa0,
    LessOrEqual = 0xb0,
}

/// A place in the program, to which jumps lead before it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label(usize);

/// Why there is no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AssembleError {
    /// A jump leads to a label that stands nowhere.
    #[error("a jump leads nowhere")]
    Unbound,
    /// A jump leads farther than its offset can say.
    #[error("a jump is too far")]
    TooFar,
}

// Classes, sources and operations (RFC 9669 §3, §4, §5).
const LOAD: u8 = 0x61;
const LOAD_MAP: u8 = 0x18;
const ALU: u8 = 0x04;
const ALU64: u8 = 0x07;
const JUMP: u8 = 0x05;
const JUMP32: u8 = 0x06;
const FROM_REGISTER: u8 = 0x08;
const ADD: u8 = 0x00;
const AND: u8 = 0x50;
const SHIFT_LEFT: u8 = 0x60;
const MOVE: u8 = 0xb0;
const BYTE_ORDER: u8 = 0xd0;
/// In the place of `FROM_REGISTER`: to or from the order of the network.
const BIG_ENDIAN: u8 = 0x08;
const CALL: u8 = 0x80;
const EXIT: u8 = 0x90;

/// Says in the source of a 64-bit load that the immediate is a map's descriptor (RFC 9669 §5.4).
const MAP_BY_DESCRIPTOR: u8 = 1;

/// Writes a program, one instruction after the other.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    instructions: Vec<Instruction>,
    /// Where each label stands.
    labels: Vec<Option<usize>>,
    /// Jumps whose offsets are not known: where they stand, and where they lead.
    jumps: Vec<(usize, Label)>,
}

impl Assembler {
    /// A label that stands nowhere yet.
    pub(super) fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Has a label stand here.
    pub(super) fn bind(&mut self, label: Label) {
        self.labels[label.0] = Some(self.instructions.len());
    }

    /// `to = *(from + offset)`, without sign.
    pub(super) fn load(&mut self, width: Width, to: Register, from: Register, offset: i16) {
        self.push(LOAD | width as u8, to as u8, from as u8, offset, 0);
    }

    /// `to = map`, of which `descriptor` is the descriptor in this process.
    pub(super) fn load_map(&mut self, to: Register, descriptor: i32) {
        self.push(LOAD_MAP, to as u8, MAP_BY_DESCRIPTOR, 0, descriptor);
        // The higher half of the immediate.
        self.push(0, 0, 0, 0, 0);
    }

    /// `to = from`.
    pub(super) fn copy(&mut self, to: Register, from: Register) {
        self.push(ALU64 | MOVE | FROM_REGISTER, to as u8, from as u8, 0, 0);
    }

    /// `to = value`, with its sign.
    pub(super) fn set(&mut self, to: Register, value: i32) {
        self.push(ALU64 | MOVE, to as u8, 0, 0, value);
    }

    /// `to += value`.
    pub(super) fn add(&mut self, to: Register, value: i32) {
        self.push(ALU64 | ADD, to as u8, 0, 0, value);
    }

    /// `to += from`.
    pub(super) fn add_register(&mut self, to: Register, from: Register) {
        self.push(ALU64 | ADD | FROM_REGISTER, to as u8, from as u8, 0, 0);
    }

    /// `to &= mask`, with the mask's sign.
    pub(super) fn and(&mut self, to: Register, mask: i32) {
        self.push(ALU64 | AND, to as u8, 0, 0, mask);
    }

    /// `to <<= bits`.
    pub(super) fn shift_left(&mut self, to: Register, bits: i32) {
        self.push(ALU64 | SHIFT_LEFT, to as u8, 0, 0, bits);
    }

    /// Two bytes in the network's order become a number, and all else zero.
    pub(super) fn half_from_network(&mut self, to: Register) {
        self.push(ALU | BYTE_ORDER | BIG_ENDIAN, to as u8, 0, 0, 16);
    }

    /// Goes on at `label` if a register, which may be an address, is zero.
    pub(super) fn jump_if_zero(&mut self, register: Register, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(JUMP | Condition::Equal as u8, register as u8, 0, 0, 0);
    }

    /// Goes on at `label`.
    pub(super) fn go(&mut self, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(JUMP, 0, 0, 0, 0);
    }

    /// Goes on at `label` if the registers compare so, as whole numbers without sign.
    pub(super) fn jump(&mut self, condition: Condition, left: Register, right: Register, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(JUMP | condition as u8 | FROM_REGISTER, left as u8, right as u8, 0, 0);
    }

    /// Goes on at `label` if the register's lower half and the value compare so, both without sign.
    pub(super) fn jump32(&mut self, condition: Condition, left: Register, value: u32, label: Label) {
        self.jumps.push((self.instructions.len(), label));
        self.push(JUMP32 | condition as u8, left as u8, 0, 0, value.cast_signed());
    }

    /// Calls a function of the kernel.
    pub(super) fn call(&mut self, function: i32) {
        self.push(JUMP | CALL, 0, 0, 0, function);
    }

    /// Ends the program.
    pub(super) fn exit(&mut self) {
        self.push(JUMP | EXIT, 0, 0, 0, 0);
    }

    /// The program, whose jumps lead where their labels stand.
    pub(super) fn finish(mut self) -> Result<Vec<Instruction>, AssembleError> {
        for (at, label) in self.jumps {
            let target = self.labels[label.0].ok_or(AssembleError::Unbound)?;
            // Counted from the instruction that follows the jump.
            let distance = target.cast_signed() - at.cast_signed() - 1;
            self.instructions[at].offset = i16::try_from(distance).map_err(|_| AssembleError::TooFar)?;
        }
        Ok(self.instructions)
    }

    fn push(&mut self, code: u8, to: u8, from: u8, offset: i16, immediate: i32) {
        let registers = if cfg!(target_endian = "big") { to << 4 | from } else { from << 4 | to };
        self.instructions.push(Instruction { code, registers, offset, immediate });
    }
}
