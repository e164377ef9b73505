//! The device filter of cgroup v2, which is a BPF program: any node may be made, but only the
//! harmless ones of Docker's list opened. Written by hand as the few instructions it is, so that
//! nothing has to be compiled or linked.

use super::{check, owned};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
/// Attaching again replaces the program, so that every start leaves exactly one.
const ATTACH_REPLACEABLE: u32 = 1;

const LDX_WORD: u8 = 0x61;
const AND_IMMEDIATE: u8 = 0x57;
const MOVE_REGISTER: u8 = 0xbf;
const SHIFT_RIGHT_IMMEDIATE: u8 = 0x77;
const MOVE_IMMEDIATE: u8 = 0xb7;
const JUMP_EQUAL: u8 = 0x15;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP: u8 = 0x05;
const EXIT: u8 = 0x95;

/// Access bits and device type, as in the program's context.
const ACCESS_MAKE: i32 = 1;
const TYPE_CHARACTER: i32 = 2;

/// Character devices that may be opened: major, minor (None: all).
const ALLOWED: [(i32, Option<i32>); 8] = [
    (1, Some(3)),
    (1, Some(5)),
    (1, Some(7)),
    (1, Some(8)),
    (1, Some(9)),
    (5, Some(0)),
    (5, Some(2)),
    (136, None),
];

#[repr(C)]
#[derive(Clone, Copy)]
struct Instruction {
    code: u8,
    registers: u8,
    offset: i16,
    immediate: i32,
}

fn op(code: u8, to: u8, from: u8, offset: i16, immediate: i32) -> Instruction {
    Instruction { code, registers: from << 4 | to, offset, immediate }
}

/// Register 1 points to { access_type << 16 | type, major, minor }; the result is 1 to allow.
fn program() -> Vec<Instruction> {
    let mut all = vec![
        op(LDX_WORD, 2, 1, 0, 0),
        op(MOVE_REGISTER, 3, 2, 0, 0),
        op(SHIFT_RIGHT_IMMEDIATE, 3, 0, 0, 16),
        op(AND_IMMEDIATE, 2, 0, 0, 0xffff),
        op(LDX_WORD, 4, 1, 4, 0),
        op(LDX_WORD, 5, 1, 8, 0),
    ];
    // Jumps to the end (allow) are set when the length is known.
    let mut to_allow = Vec::new();
    to_allow.push(all.len());
    all.push(op(JUMP_EQUAL, 3, 0, 0, ACCESS_MAKE));
    let not_character = all.len();
    all.push(op(JUMP_NOT_EQUAL, 2, 0, 0, TYPE_CHARACTER));
    for (major, minor) in ALLOWED {
        match minor {
            Some(minor) => {
                all.push(op(JUMP_NOT_EQUAL, 4, 0, 1, major));
                to_allow.push(all.len());
                all.push(op(JUMP_EQUAL, 5, 0, 0, minor));
            }
            None => {
                to_allow.push(all.len());
                all.push(op(JUMP_EQUAL, 4, 0, 0, major));
            }
        }
    }
    let deny = all.len();
    all.push(op(MOVE_IMMEDIATE, 0, 0, 0, 0));
    all.push(op(JUMP, 0, 0, 1, 0));
    let allow = all.len();
    all.push(op(MOVE_IMMEDIATE, 0, 0, 0, 1));
    all.push(op(EXIT, 0, 0, 0, 0));
    all[not_character].offset = (deny - not_character - 1) as i16;
    for at in to_allow {
        all[at].offset = (allow - at - 1) as i16;
    }
    all
}

/// The first fields of the kernel's `union bpf_attr` for loading a program.
#[repr(C)]
struct LoadAttr {
    kind: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
    rest: [u64; 12],
}

#[repr(C)]
struct AttachAttr {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
    rest: [u64; 12],
}

/// The filter, to be given to groups.
pub fn device_filter() -> io::Result<OwnedFd> {
    let program = program();
    let attr = LoadAttr {
        kind: TYPE_CGROUP_DEVICE,
        instruction_count: program.len() as u32,
        instructions: program.as_ptr() as u64,
        license: c"Apache-2.0".as_ptr() as u64,
        rest: [0; 12],
    };
    // SAFETY: the attributes, and the program they point to, outlive the call.
    owned(unsafe {
        libc::syscall(libc::SYS_bpf, PROG_LOAD, &raw const attr, size_of::<LoadAttr>())
    })
}

/// From now on processes in this group of cgroup2, and below it, open only the allowed devices.
pub fn filter_devices(group: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let attr = AttachAttr {
        target: group.as_raw_fd() as u32,
        program: program.as_raw_fd() as u32,
        kind: ATTACH_CGROUP_DEVICE,
        flags: ATTACH_REPLACEABLE,
        rest: [0; 12],
    };
    // SAFETY: the attributes outlive the call.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, PROG_ATTACH, &raw const attr, size_of::<AttachAttr>())
    };
    check(result).map(drop)
}
