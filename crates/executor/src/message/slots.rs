//! The memory of a ring's slots.

#[cfg(loom)]
pub(super) use self::modelled::Slots;
#[cfg(not(loom))]
pub(super) use self::zeroed::Slots;

#[cfg(not(loom))]
mod zeroed {
    use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error};
    use core::alloc::Layout;
    use core::mem::{align_of, size_of};
    use core::ptr::NonNull;

    use super::super::slot::Slot;

    /// A power of two of slots in memory that the allocator hands out zeroed.
    ///
    /// It is asked for at the alignment of a word and aligned by hand: for greater alignments the allocators
    /// behind `alloc_zeroed` clear the memory themselves, and a ring that nobody uses would become resident.
    pub(in super::super) struct Slots {
        first: NonNull<Slot>,
        mask: u32,
        memory: NonNull<u8>,
        layout: Layout,
    }

    // SAFETY: the slots are shared memory by design: atomics, and cells whose users keep the ring's protocol.
    unsafe impl Send for Slots {}
    // SAFETY: as above.
    unsafe impl Sync for Slots {}

    impl Slots {
        pub(in super::super) fn new(capacity: u32) -> Self {
            assert!(capacity.is_power_of_two(), "a ring's capacity must be a power of two");
            let bytes = (capacity as usize + 1) * size_of::<Slot>();
            let layout = Layout::from_size_align(bytes, align_of::<usize>()).expect("a ring fits the address space");
            // SAFETY: the size is not zero.
            let memory = unsafe { alloc_zeroed(layout) };
            let Some(memory) = NonNull::new(memory) else { handle_alloc_error(layout) };
            // SAFETY: aligning skips less than one slot, and there is one slot more than needed.
            let first = unsafe { memory.add(memory.align_offset(align_of::<Slot>())) }.cast();
            Self { first, mask: capacity - 1, memory, layout }
        }

        pub(in super::super) fn capacity(&self) -> u32 {
            self.mask + 1
        }

        /// The slot of a position.
        #[inline(always)]
        pub(in super::super) fn at(&self, position: u32) -> &Slot {
            // SAFETY: the mask keeps the index within the allocation, and zeroed memory is a valid slot.
            unsafe { self.first.add((position & self.mask) as usize).as_ref() }
        }
    }

    impl Slots {
        /// Has the processor fetch the slot of a position for writing.
        #[inline(always)]
        pub(in super::super) fn prefetch_for_write(&self, position: u32) {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: a prefetch changes nothing that a program can see, and processors without the instruction's
            // effect treat it as doing nothing.
            unsafe {
                let slot = core::ptr::from_ref(self.at(position));
                core::arch::asm!("prefetchw [{}]", in(reg) slot, options(nostack, preserves_flags, readonly));
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = position;
        }
    }

    impl Drop for Slots {
        fn drop(&mut self) {
            // SAFETY: allocated by `new` with this layout.
            unsafe { dealloc(self.memory.as_ptr(), self.layout) };
        }
    }
}

#[cfg(loom)]
mod modelled {
    use alloc::boxed::Box;

    use super::super::slot::Slot;

    /// Slots made one by one, since loom's types have no valid all-zero state.
    pub(in super::super) struct Slots(Box<[Slot]>);

    // SAFETY: the slots are shared memory by design: atomics, and cells whose users keep the ring's protocol.
    unsafe impl Send for Slots {}
    // SAFETY: as above.
    unsafe impl Sync for Slots {}

    impl Slots {
        pub(in super::super) fn new(capacity: u32) -> Self {
            assert!(capacity.is_power_of_two(), "a ring's capacity must be a power of two");
            Self((0..capacity).map(|_| Slot::new()).collect())
        }

        pub(in super::super) fn capacity(&self) -> u32 {
            self.0.len().try_into().expect("models are small")
        }

        pub(in super::super) fn prefetch_for_write(&self, _position: u32) {}

        pub(in super::super) fn at(&self, position: u32) -> &Slot {
            &self.0[position as usize & (self.0.len() - 1)]
        }
    }
}
