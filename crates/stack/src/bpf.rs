//! Classic BPF programs (bpf(4)): which packets a capture wants, and how much of each.
//!
//! A program is checked once, when it is made: every jump goes forward and stays inside, every memory word exists, nothing is divided by
//! the constant 0, and the last instruction returns. So a run ends after at most as many steps as there are instructions, and none can
//! fail but by rejecting the packet: a load beyond its end, or a division by a register that is 0, is a 0 returned.
//!
//! Not here: compiling expressions such as `udp port 53`, and extensions of single kernels.

use alloc::vec::Vec;

use rumpnet_proto::Errno;

/// Instructions that a program has at most (BPF_MAXINSNS).
pub const MAX_INSTRUCTIONS: usize = 512;

/// Words of scratch memory (BPF_MEMWORDS).
const MEMORY_WORDS: usize = 16;

/// An instruction as bpf(4) lays it out (struct bpf_insn).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if a condition holds.
    pub jt: u8,
    /// How many to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A program that was found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    steps: Vec<Step>,
}

/// How much a load takes, in bytes.
type Size = u8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operand {
    K(u32),
    X,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arithmetic {
    Add,
    Sub,
    Mul,
    Div,
    Mod,
    Or,
    And,
    Xor,
    ShiftLeft,
    ShiftRight,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Equal,
    Greater,
    GreaterOrEqual,
    AnyBit,
}

/// An instruction that was understood; jumps count from the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// A = the bytes of the packet there, or with `true` so far from X.
    Load(Size, u32, bool),
    LoadLength,
    LoadConstant(u32),
    LoadMemory(usize),
    LoadXLength,
    LoadXConstant(u32),
    LoadXMemory(usize),
    /// X = the length of the IP header whose first byte is there.
    LoadXHeaderLength(u32),
    Store(usize),
    StoreX(usize),
    Compute(Arithmetic, Operand),
    Negate,
    Jump(usize),
    Branch(Condition, Operand, u8, u8),
    Return(u32),
    ReturnA,
    AToX,
    XToA,
}

/// The parts of a code.
const CLASS: u16 = 0x07;
const SIZE: u16 = 0x18;
const MODE: u16 = 0xe0;
const OPERATION: u16 = 0xf0;
const SOURCE_X: u16 = 0x08;

impl Program {
    /// Checks a program. EINVAL if it is none that would end well.
    pub fn new(instructions: &[Instruction]) -> Result<Self, Errno> {
        if instructions.is_empty() || instructions.len() > MAX_INSTRUCTIONS {
            return Err(Errno::Inval);
        }
        let count = instructions.len();
        let steps = instructions
            .iter()
            .enumerate()
            .map(|(place, instruction)| Step::parse(instruction, count - place - 1))
            .collect::<Option<Vec<_>>>()
            .ok_or(Errno::Inval)?;
        let ends = matches!(steps.last(), Some(Step::Return(_) | Step::ReturnA));
        if ends { Ok(Self { steps }) } else { Err(Errno::Inval) }
    }

    /// How many bytes of a packet, which lies in some slices, are wanted; 0 if it is not wanted at all.
    pub fn run(&self, packet: &[&[u8]]) -> u32 {
        self.determine(packet).unwrap_or(0)
    }

    fn determine(&self, packet: &[&[u8]]) -> Option<u32> {
        let len = packet.iter().map(|slice| slice.len()).sum::<usize>() as u32;
        let (mut a, mut x, mut memory, mut place) = (0_u32, 0_u32, [0_u32; MEMORY_WORDS], 0);
        loop {
            let step = self.steps.get(place)?;
            place += 1;
            match *step {
                Step::Load(size, k, from_x) => {
                    a = load(packet, if from_x { x.checked_add(k)? } else { k }, size)?;
                }
                Step::LoadLength => a = len,
                Step::LoadConstant(k) => a = k,
                Step::LoadMemory(word) => a = memory[word],
                Step::LoadXLength => x = len,
                Step::LoadXConstant(k) => x = k,
                Step::LoadXMemory(word) => x = memory[word],
                Step::LoadXHeaderLength(k) => x = (load(packet, k, 1)? & 15) * 4,
                Step::Store(word) => memory[word] = a,
                Step::StoreX(word) => memory[word] = x,
                Step::Compute(arithmetic, operand) => a = arithmetic.of(a, operand.value(x))?,
                Step::Negate => a = a.wrapping_neg(),
                Step::Jump(skipped) => place += skipped,
                Step::Branch(condition, operand, jt, jf) => {
                    let holds = condition.holds(a, operand.value(x));
                    place += usize::from(if holds { jt } else { jf });
                }
                Step::Return(k) => return Some(k),
                Step::ReturnA => return Some(a),
                Step::AToX => x = a,
                Step::XToA => a = x,
            }
        }
    }
}

/// So many bytes of a packet from a place on, most significant first; none if it is not that long.
fn load(packet: &[&[u8]], place: u32, size: Size) -> Option<u32> {
    let mut place = place as usize;
    let mut value = 0;
    let mut left = usize::from(size);
    for slice in packet {
        if place >= slice.len() {
            place -= slice.len();
            continue;
        }
        for byte in slice[place..].iter().take(left) {
            value = value << 8 | u32::from(*byte);
            left -= 1;
        }
        if left == 0 {
            return Some(value);
        }
        place = 0;
    }
    None
}

impl Operand {
    const fn value(self, x: u32) -> u32 {
        match self {
            Self::K(k) => k,
            Self::X => x,
        }
    }
}

impl Arithmetic {
    const fn parse(code: u16) -> Option<Self> {
        Some(match code & OPERATION {
            0x00 => Self::Add,
            0x10 => Self::Sub,
            0x20 => Self::Mul,
            0x30 => Self::Div,
            0x40 => Self::Or,
            0x50 => Self::And,
            0x60 => Self::ShiftLeft,
            0x70 => Self::ShiftRight,
            0x90 => Self::Mod,
            0xa0 => Self::Xor,
            _ => return None,
        })
    }

    /// Whether it may be done with this constant.
    const fn permits(self, k: u32) -> bool {
        match self {
            Self::Div | Self::Mod => k != 0,
            Self::ShiftLeft | Self::ShiftRight => k < u32::BITS,
            _ => true,
        }
    }

    /// None for a division by 0; what is shifted out is gone.
    fn of(self, a: u32, b: u32) -> Option<u32> {
        Some(match self {
            Self::Add => a.wrapping_add(b),
            Self::Sub => a.wrapping_sub(b),
            Self::Mul => a.wrapping_mul(b),
            Self::Div => a.checked_div(b)?,
            Self::Mod => a.checked_rem(b)?,
            Self::Or => a | b,
            Self::And => a & b,
            Self::Xor => a ^ b,
            Self::ShiftLeft => a.checked_shl(b).unwrap_or(0),
            Self::ShiftRight => a.checked_shr(b).unwrap_or(0),
        })
    }
}

impl Condition {
    const fn parse(code: u16) -> Option<Self> {
        Some(match code & OPERATION {
            0x10 => Self::Equal,
            0x20 => Self::Greater,
            0x30 => Self::GreaterOrEqual,
            0x40 => Self::AnyBit,
            _ => return None,
        })
    }

    const fn holds(self, a: u32, b: u32) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
            Self::AnyBit => a & b != 0,
        }
    }
}

impl Step {
    /// What an instruction says that so many others follow; none if it says nothing that may be done.
    fn parse(instruction: &Instruction, following: usize) -> Option<Self> {
        let Instruction { code, k, .. } = *instruction;
        if code > 0xff {
            return None;
        }
        match code & CLASS {
            0 => Self::parse_load(code, k),
            1 => Self::parse_load_x(code, k),
            2 if code == 0x02 => Some(Self::Store(word(k)?)),
            3 if code == 0x03 => Some(Self::StoreX(word(k)?)),
            4 => Self::parse_arithmetic(code, k),
            5 => Self::parse_jump(instruction, following),
            6 if code == 0x06 => Some(Self::Return(k)),
            6 if code == 0x16 => Some(Self::ReturnA),
            7 if code == 0x07 => Some(Self::AToX),
            7 if code == 0x87 => Some(Self::XToA),
            _ => None,
        }
    }

    fn parse_load(code: u16, k: u32) -> Option<Self> {
        let size = match code & SIZE {
            0x00 => 4,
            0x08 => 2,
            0x10 => 1,
            _ => return None,
        };
        match code & MODE {
            0x00 if size == 4 => Some(Self::LoadConstant(k)),
            0x20 => Some(Self::Load(size, k, false)),
            0x40 => Some(Self::Load(size, k, true)),
            0x60 if size == 4 => Some(Self::LoadMemory(word(k)?)),
            0x80 if size == 4 => Some(Self::LoadLength),
            _ => None,
        }
    }

    fn parse_load_x(code: u16, k: u32) -> Option<Self> {
        match (code & MODE, code & SIZE) {
            (0x00, 0x00) => Some(Self::LoadXConstant(k)),
            (0x60, 0x00) => Some(Self::LoadXMemory(word(k)?)),
            (0x80, 0x00) => Some(Self::LoadXLength),
            (0xa0, 0x10) => Some(Self::LoadXHeaderLength(k)),
            _ => None,
        }
    }

    fn parse_arithmetic(code: u16, k: u32) -> Option<Self> {
        if code == 0x84 {
            return Some(Self::Negate);
        }
        let arithmetic = Arithmetic::parse(code)?;
        match operand(code, k) {
            Operand::K(k) if !arithmetic.permits(k) => None,
            operand => Some(Self::Compute(arithmetic, operand)),
        }
    }

    fn parse_jump(instruction: &Instruction, following: usize) -> Option<Self> {
        let Instruction { code, jt, jf, k } = *instruction;
        if code == 0x05 {
            return ((k as usize) < following).then_some(Self::Jump(k as usize));
        }
        let condition = Condition::parse(code)?;
        let inside = usize::from(jt.max(jf)) < following;
        inside.then(|| Self::Branch(condition, operand(code, k), jt, jf))
    }
}

const fn operand(code: u16, k: u32) -> Operand {
    if code & SOURCE_X == 0 { Operand::K(k) } else { Operand::X }
}

/// The number of a word of memory, if there is one such.
const fn word(k: u32) -> Option<usize> {
    if (k as usize) < MEMORY_WORDS { Some(k as usize) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn insn(code: u16, jt: u8, jf: u8, k: u32) -> Instruction {
        Instruction { code, jt, jf, k }
    }

    const RETURN_A: Instruction = insn(0x16, 0, 0, 0);

    /// What a program of these steps returns for a packet.
    fn returned(steps: &[Instruction], packet: &[&[u8]]) -> u32 {
        Program::new(steps).expect("a good program").run(packet)
    }

    /// `ip and udp port 53` as tcpdump(8) compiles it for Ethernet.
    const UDP_PORT_53: [Instruction; 13] = [
        insn(0x28, 0, 0, 12),
        insn(0x15, 0, 10, 0x800),
        insn(0x30, 0, 0, 23),
        insn(0x15, 0, 8, 17),
        insn(0x28, 0, 0, 20),
        insn(0x45, 6, 0, 0x1fff),
        insn(0xb1, 0, 0, 14),
        insn(0x48, 0, 0, 14),
        insn(0x15, 2, 0, 53),
        insn(0x48, 0, 0, 16),
        insn(0x15, 0, 1, 53),
        insn(0x06, 0, 0, 262_144),
        insn(0x06, 0, 0, 0),
    ];

    #[test]
    fn the_program_of_udp_port_53_takes_what_it_says_however_the_packet_is_cut() {
        let mut packet = [0; 42];
        packet[12] = 8;
        packet[14] = 0x45;
        packet[23] = 17;
        packet[37] = 53;
        let program = Program::new(&UDP_PORT_53).expect("tcpdump's own");
        for cut in 0..=packet.len() {
            assert_eq!(program.run(&[&packet[..cut], &packet[cut..]]), 262_144, "{cut}");
        }
        assert_eq!(program.run(&[&packet[..37]]), 0, "too short to tell");
        packet[37] = 54;
        assert_eq!(program.run(&[&packet]), 0);
        packet[35] = 53;
        assert_eq!(program.run(&[&packet]), 262_144, "the source's port counts, too");
        packet[21] = 1;
        assert_eq!(program.run(&[&packet]), 0, "a later fragment has no ports");
    }

    #[test]
    fn every_operation_computes_what_bpf_says() {
        let cases: &[(u16, u32, u32, u32)] = &[
            (0x04, 7, 9, 16),
            (0x14, 7, 9, u32::MAX - 1),
            (0x24, 0x1_0001, 0x1_0001, 0x2_0001),
            (0x34, 7, 2, 3),
            (0x94, 7, 4, 3),
            (0x44, 0b1100, 0b1010, 0b1110),
            (0x54, 0b1100, 0b1010, 0b1000),
            (0xa4, 0b1100, 0b1010, 0b0110),
            (0x64, 3, 31, 0x8000_0000),
            (0x74, 0x8000_0000, 31, 1),
        ];
        for &(code, a, b, wanted) in cases {
            let with_k = [insn(0x00, 0, 0, a), insn(code, 0, 0, b), RETURN_A];
            assert_eq!(returned(&with_k, &[]), wanted, "{code:#x} with a constant");
            let with_x = [insn(0x01, 0, 0, b), insn(0x00, 0, 0, a), insn(code | 8, 0, 0, 0), RETURN_A];
            assert_eq!(returned(&with_x, &[]), wanted, "{code:#x} with X");
        }
        assert_eq!(returned(&[insn(0x00, 0, 0, 1), insn(0x84, 0, 0, 0), RETURN_A], &[]), u32::MAX);
        let shifted_out = [insn(0x01, 0, 0, 32), insn(0x00, 0, 0, 1), insn(0x6c, 0, 0, 0), RETURN_A];
        assert_eq!(returned(&shifted_out, &[]), 0);
        let through_memory = [
            insn(0x80, 0, 0, 0),
            insn(0x02, 0, 0, 15),
            insn(0x61, 0, 0, 15),
            insn(0x03, 0, 0, 0),
            insn(0x60, 0, 0, 0),
            insn(0x07, 0, 0, 0),
            insn(0x81, 0, 0, 0),
            insn(0x87, 0, 0, 0),
            RETURN_A,
        ];
        assert_eq!(returned(&through_memory, &[b"abc", b"de"]), 5);
    }

    #[test]
    fn a_division_by_a_register_that_is_zero_rejects_the_packet() {
        for code in [0x3c, 0x9c] {
            assert_eq!(returned(&[insn(0x00, 0, 0, 7), insn(code, 0, 0, 0), RETURN_A], &[b"x"]), 0);
        }
    }

    #[test]
    fn what_would_not_end_well_is_no_program() {
        let ends = insn(0x06, 0, 0, 1);
        let bad: &[&[Instruction]] = &[
            &[],
            &[insn(0x00, 0, 0, 1)],
            &[insn(0x34, 0, 0, 0), ends],
            &[insn(0x94, 0, 0, 0), ends],
            &[insn(0x64, 0, 0, 32), ends],
            &[insn(0x05, 0, 0, 1), ends],
            &[insn(0x05, 0, 0, u32::MAX), ends],
            &[insn(0x15, 1, 0, 0), ends],
            &[insn(0x15, 0, 1, 0), ends],
            &[insn(0x02, 0, 0, 16), ends],
            &[insn(0x60, 0, 0, 16), ends],
            &[insn(0x61, 0, 0, 16), ends],
            &[insn(0x03, 0, 0, 16), ends],
            &[insn(0x18, 0, 0, 0), ends],
            &[insn(0xb0, 0, 0, 0), ends],
            &[insn(0xc4, 0, 0, 1), ends],
            &[insn(0x55, 0, 0, 1), ends],
            &[insn(0x106, 0, 0, 1)],
            &[insn(0x0e, 0, 0, 1)],
            &[ends; MAX_INSTRUCTIONS + 1],
        ];
        for program in bad {
            assert_eq!(Program::new(program), Err(Errno::Inval), "{program:?}");
        }
        assert!(Program::new(&[ends; MAX_INSTRUCTIONS]).is_ok());
    }

    #[test]
    fn a_place_that_no_packet_reaches_rejects_it() {
        for (code, k) in [(0x20, u32::MAX), (0x40, u32::MAX), (0x30, 1), (0xb1, 1)] {
            let program = [insn(0x01, 0, 0, 1), insn(code, 0, 0, k), insn(0x06, 0, 0, 9)];
            assert_eq!(returned(&program, &[b"x"]), 0, "{code:#x}");
        }
    }
}
