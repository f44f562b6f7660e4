//! Interfaces of the kernel whose frames come and go by AF_XDP, past its network stack.

mod assembler;
mod bpf;
mod steering;
