//! After anything that may have changed connections: who is to be told.

use alloc::vec::Vec;

use sunstar_tcpip::time::Instant;

use super::{Object, Sockets};
use crate::descriptors::ObjectId;
use crate::stream::World;

impl Sockets {
    /// Looks at all sockets after packets have come, packets have left, or time has passed; answers whether anything has happened that
    /// somebody may wait for.
    ///
    /// Call it at each time at which something may have happened: it is what times are taken from that programs ask for.
    pub fn look(&mut self, now: Instant) -> bool {
        // Events say which connections have changed, but not that packets have left.
        while self.stack.poll_event().is_some() {}
        let mut news: Vec<(ObjectId, u32)> = Vec::new();
        for (id, object) in &mut self.objects {
            let Object::Stream(stream) = object else { continue };
            let mut world = World { stack: &mut self.stack, settings: &self.settings, now, bound: &mut self.bound };
            let mask = stream.look(&mut world);
            if mask != 0 {
                news.push((*id, mask));
            }
        }
        for (id, mask) in &news {
            self.tell(*id, *mask);
        }
        !news.is_empty()
    }
}
