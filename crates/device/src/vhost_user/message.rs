//! The messages: bytes to requests and replies, and back.
//!
//! A message is a header of 12 bytes and a payload, all integers in the byte order of the machine. Descriptors travel beside the first of
//! those bytes. Nothing here does that: who decodes says how many came, and gets told if that is wrong.

#[cfg(test)]
mod tests;

/// Bytes of a header: request, flags, and how long the payload is (32 bits each).
pub(crate) const HEADER_BYTES: usize = 12;

/// Regions that one message may tell of ([`Request::SetMemTable`]).
pub(crate) const MAX_REGIONS: usize = 8;

const REGION_BYTES: usize = 32;

/// The longest payload, which has all regions. Nothing longer is read.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 8 + MAX_REGIONS * REGION_BYTES;

/// The longest message.
pub(crate) const MAX_MESSAGE_BYTES: usize = HEADER_BYTES + MAX_PAYLOAD_BYTES;

/// Descriptors that may come with one message: one for each region.
pub(crate) const MAX_FILES: usize = MAX_REGIONS;

const VERSION: u32 = 1;
const VERSION_MASK: u32 = 3;
const REPLY: u32 = 1 << 2;
const NEED_REPLY: u32 = 1 << 3;

/// In the payload of a request about a ring's descriptor: there is none.
const NO_FILE: u64 = 1 << 8;
const RING_MASK: u64 = 0xff;

/// What both sides know beyond the first version of the protocol ("Protocol features").
pub(crate) mod protocol_features {
    /// There are several pairs of queues.
    pub(crate) const MQ: u64 = 1 << 0;
    /// A request may ask for an answer that it does not have by itself.
    pub(crate) const REPLY_ACK: u64 = 1 << 3;
    /// The front end says which MTU the driver is told.
    pub(crate) const MTU: u64 = 1 << 4;
    /// The front end may reset the device.
    pub(crate) const RESET_DEVICE: u64 = 1 << 13;
    /// Regions of memory come and go one by one.
    pub(crate) const CONFIGURE_MEM_SLOTS: u64 = 1 << 15;
}

/// The beginning of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Which request it is, or answers.
    pub(crate) number: u32,
    /// Whether it is an answer.
    pub(crate) is_reply: bool,
    /// Whether whoever asks wants an answer in any case ([`protocol_features::REPLY_ACK`]).
    pub(crate) needs_reply: bool,
    /// How long the payload is, at most [`MAX_PAYLOAD_BYTES`].
    pub(crate) payload_bytes: usize,
}

impl Header {
    /// Reads the beginning of a message.
    ///
    /// # Errors
    /// If it is of another version, or so long that it can't be followed by anything known.
    pub(crate) fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self, MessageError> {
        let [number, flags, len] = [0, 4, 8].map(|at| u32_at(bytes, at));
        if flags & VERSION_MASK != VERSION {
            return Err(MessageError::Version { version: flags & VERSION_MASK });
        }
        let payload_bytes = usize::try_from(len).unwrap_or(usize::MAX);
        if payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(MessageError::TooLong { number, bytes: len });
        }
        Ok(Self { number, is_reply: flags & REPLY != 0, needs_reply: flags & NEED_REPLY != 0, payload_bytes })
    }
}

/// A region of memory that the front end shares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RegionDescription {
    /// Where it begins in the addresses of descriptors.
    pub(crate) guest_address: u64,
    /// How many bytes it has.
    pub(crate) bytes: u64,
    /// Where it begins in the front end's own addresses, in which it tells where rings are.
    pub(crate) user_address: u64,
    /// Where it begins in the file that comes with it.
    pub(crate) file_offset: u64,
}

/// A ring, and something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingState {
    /// Which ring.
    pub(crate) index: u32,
    /// What about it: size, place, or whether it is enabled.
    pub(crate) value: u32,
}

/// Where the parts of a ring are, in the front end's own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingAddresses {
    /// Which ring.
    pub(crate) index: u32,
    /// Bit 0: what is written there is to be logged, which is not known here.
    pub(crate) flags: u32,
    /// The descriptors.
    pub(crate) descriptors: u64,
    /// The used ring; of a packed one, when the device wants to be told.
    pub(crate) used: u64,
    /// The available ring; of a packed one, when the driver wants to be told.
    pub(crate) available: u64,
    /// Where what is written to the used ring is logged.
    pub(crate) log: u64,
}

/// A ring that gets a descriptor, or has none from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RingFile {
    /// Which ring.
    pub(crate) index: u8,
    /// Whether a descriptor comes with the message. Without it, whoever would be told looks by himself.
    pub(crate) has_file: bool,
}

/// What a front end asks of a back end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// Which features of virtio there are. Answered by a number.
    GetFeatures,
    /// Those are in use.
    SetFeatures(u64),
    /// A session begins.
    SetOwner,
    /// Historic. All rings are to be disabled, or nothing is to be done.
    ResetOwner,
    /// All of the memory; a descriptor for each region, in their order.
    SetMemTable(Vec<RegionDescription>),
    /// How many descriptors a ring has.
    SetVringNum(RingState),
    /// Where a ring is.
    SetVringAddr(RingAddresses),
    /// From where on a ring is to be worked on.
    SetVringBase(RingState),
    /// A ring stops. Answered by where.
    GetVringBase {
        /// Which ring.
        index: u32,
    },
    /// By what the device is told that something is available.
    SetVringKick(RingFile),
    /// By what the driver is told that something was used.
    SetVringCall(RingFile),
    /// By what the driver is told that a ring is broken.
    SetVringErr(RingFile),
    /// Which protocol features there are. Answered by a number.
    GetProtocolFeatures,
    /// Those are in use.
    SetProtocolFeatures(u64),
    /// How many pairs of queues there may be. Answered by a number.
    GetQueueNum,
    /// A ring is enabled (1) or disabled (0).
    SetVringEnable(RingState),
    /// The MTU that the driver is told.
    NetSetMtu(u64),
    /// Everything as it was at the beginning.
    ResetDevice,
    /// How many regions of memory there may be. Answered by a number.
    GetMaxMemSlots,
    /// A further region of memory, with its descriptor.
    AddMemReg(RegionDescription),
    /// A region of memory goes. Its place in the file does not matter.
    RemMemReg(RegionDescription),
}

impl Request {
    /// The request's number.
    pub(crate) fn number(&self) -> u32 {
        self.id().0
    }

    /// The request's name, as the protocol has it.
    pub(crate) fn name(&self) -> &'static str {
        self.id().1
    }

    fn id(&self) -> (u32, &'static str) {
        match self {
            Self::GetFeatures => (1, "GET_FEATURES"),
            Self::SetFeatures(_) => (2, "SET_FEATURES"),
            Self::SetOwner => (3, "SET_OWNER"),
            Self::ResetOwner => (4, "RESET_OWNER"),
            Self::SetMemTable(_) => (5, "SET_MEM_TABLE"),
            Self::SetVringNum(_) => (8, "SET_VRING_NUM"),
            Self::SetVringAddr(_) => (9, "SET_VRING_ADDR"),
            Self::SetVringBase(_) => (10, "SET_VRING_BASE"),
            Self::GetVringBase { .. } => (11, "GET_VRING_BASE"),
            Self::SetVringKick(_) => (12, "SET_VRING_KICK"),
            Self::SetVringCall(_) => (13, "SET_VRING_CALL"),
            Self::SetVringErr(_) => (14, "SET_VRING_ERR"),
            Self::GetProtocolFeatures => (15, "GET_PROTOCOL_FEATURES"),
            Self::SetProtocolFeatures(_) => (16, "SET_PROTOCOL_FEATURES"),
            Self::GetQueueNum => (17, "GET_QUEUE_NUM"),
            Self::SetVringEnable(_) => (18, "SET_VRING_ENABLE"),
            Self::NetSetMtu(_) => (20, "NET_SET_MTU"),
            Self::ResetDevice => (34, "RESET_DEVICE"),
            Self::GetMaxMemSlots => (36, "GET_MAX_MEM_SLOTS"),
            Self::AddMemReg(_) => (37, "ADD_MEM_REG"),
            Self::RemMemReg(_) => (38, "REM_MEM_REG"),
        }
    }

    /// Whether it is answered without asking for it.
    pub(crate) fn has_reply(&self) -> bool {
        matches!(
            self,
            Self::GetFeatures
                | Self::GetVringBase { .. }
                | Self::GetProtocolFeatures
                | Self::GetQueueNum
                | Self::GetMaxMemSlots
        )
    }

    /// The bytes of the message. `needs_reply` has it answered in any case, which must have been negotiated.
    pub(crate) fn encode(&self, needs_reply: bool) -> Vec<u8> {
        let mut payload = Vec::new();
        match self {
            Self::GetFeatures
            | Self::SetOwner
            | Self::ResetOwner
            | Self::GetProtocolFeatures
            | Self::GetQueueNum
            | Self::ResetDevice
            | Self::GetMaxMemSlots => {}
            Self::SetFeatures(value) | Self::SetProtocolFeatures(value) | Self::NetSetMtu(value) => {
                put_u64(&mut payload, *value)
            }
            Self::SetMemTable(regions) => {
                put_u32(&mut payload, u32::try_from(regions.len()).unwrap_or(u32::MAX));
                put_u32(&mut payload, 0);
                regions.iter().for_each(|region| put_region(&mut payload, region));
            }
            Self::SetVringNum(state) | Self::SetVringBase(state) | Self::SetVringEnable(state) => {
                put_ring(&mut payload, *state);
            }
            Self::SetVringAddr(addresses) => {
                put_u32(&mut payload, addresses.index);
                put_u32(&mut payload, addresses.flags);
                let RingAddresses { descriptors, used, available, log, .. } = *addresses;
                [descriptors, used, available, log].iter().for_each(|address| put_u64(&mut payload, *address));
            }
            Self::GetVringBase { index } => put_ring(&mut payload, RingState { index: *index, value: 0 }),
            Self::SetVringKick(file) | Self::SetVringCall(file) | Self::SetVringErr(file) => {
                put_u64(&mut payload, u64::from(file.index) | if file.has_file { 0 } else { NO_FILE });
            }
            Self::AddMemReg(region) | Self::RemMemReg(region) => {
                put_u64(&mut payload, 0);
                put_region(&mut payload, region);
            }
        }
        message(self.number(), VERSION | if needs_reply { NEED_REPLY } else { 0 }, &payload)
    }

    /// Reads a request, of which `payload` has as many bytes as the header says, and with which `files` descriptors came.
    ///
    /// # Errors
    /// If it is none, or not known, or if payload or descriptors are not those of it.
    pub(crate) fn decode(header: Header, payload: &[u8], files: usize) -> Result<Self, MessageError> {
        let number = header.number;
        if header.is_reply {
            return Err(MessageError::NotRequest { number });
        }
        let fields = Fields { number, payload };
        let request = match number {
            1 => fields.none(Self::GetFeatures)?,
            2 => Self::SetFeatures(fields.value()?),
            3 => fields.none(Self::SetOwner)?,
            4 => fields.none(Self::ResetOwner)?,
            5 => Self::SetMemTable(fields.regions()?),
            8 => Self::SetVringNum(fields.ring()?),
            9 => Self::SetVringAddr(fields.addresses()?),
            10 => Self::SetVringBase(fields.ring()?),
            11 => Self::GetVringBase { index: fields.ring()?.index },
            12 => Self::SetVringKick(fields.ring_file()?),
            13 => Self::SetVringCall(fields.ring_file()?),
            14 => Self::SetVringErr(fields.ring_file()?),
            15 => fields.none(Self::GetProtocolFeatures)?,
            16 => Self::SetProtocolFeatures(fields.value()?),
            17 => fields.none(Self::GetQueueNum)?,
            18 => Self::SetVringEnable(fields.ring()?),
            20 => Self::NetSetMtu(fields.value()?),
            34 => fields.none(Self::ResetDevice)?,
            36 => fields.none(Self::GetMaxMemSlots)?,
            37 => Self::AddMemReg(fields.region()?),
            38 => Self::RemMemReg(fields.region()?),
            _ => return Err(MessageError::Unknown { number }),
        };
        let (fewest, most) = request.files();
        if !(fewest..=most).contains(&files) && !planted::is("vhost_user_files_ignored") {
            return Err(MessageError::Files { number, files, wanted: most });
        }
        Ok(request)
    }

    /// How many descriptors come with it, at least and at most.
    fn files(&self) -> (usize, usize) {
        match self {
            Self::SetMemTable(regions) => (regions.len(), regions.len()),
            Self::SetVringKick(file) | Self::SetVringCall(file) | Self::SetVringErr(file) => {
                (file.has_file.into(), file.has_file.into())
            }
            Self::AddMemReg(_) => (1, 1),
            // Some front ends send one, which is to be closed.
            Self::RemMemReg(_) => (0, 1),
            _ => (0, 0),
        }
    }
}

/// What a back end answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A number. To a request that has no answer by itself: 0 if it went well.
    Value(u64),
    /// To [`Request::GetVringBase`].
    Ring(RingState),
}

impl Reply {
    /// The bytes of the message that answers a request.
    pub(crate) fn encode(self, number: u32) -> Vec<u8> {
        let mut payload = Vec::new();
        match self {
            Self::Value(value) => put_u64(&mut payload, value),
            Self::Ring(state) => put_ring(&mut payload, state),
        }
        message(number, VERSION | REPLY, &payload)
    }

    /// Reads the answer to a request.
    ///
    /// # Errors
    /// If it answers another one, or is no answer, or the payload or descriptors are not those of it.
    pub(crate) fn decode(
        request: &Request,
        header: Header,
        payload: &[u8],
        files: usize,
    ) -> Result<Self, MessageError> {
        let number = header.number;
        if (!header.is_reply || number != request.number()) && !planted::is("vhost_user_any_answer") {
            return Err(MessageError::NotReply { number, wanted: request.number() });
        }
        if files > 0 && !planted::is("vhost_user_answer_files") {
            return Err(MessageError::Files { number, files, wanted: 0 });
        }
        let fields = Fields { number, payload };
        match request {
            Request::GetVringBase { .. } => fields.ring().map(Self::Ring),
            _ => fields.value().map(Self::Value),
        }
    }
}

/// Why a message can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MessageError {
    /// It is of another version of the protocol.
    #[error("a message of version {version} of the protocol, which should be {VERSION}")]
    Version {
        /// The version.
        version: u32,
    },
    /// It is longer than any that is known.
    #[error("request {number} with {bytes} bytes: none has more than {MAX_PAYLOAD_BYTES}")]
    TooLong {
        /// The request.
        number: u32,
        /// How long it says it is.
        bytes: u32,
    },
    /// Nobody here knows the request.
    #[error("request {number} is not known, and was not negotiated")]
    Unknown {
        /// The request.
        number: u32,
    },
    /// It is an answer, and nobody has asked.
    #[error("an answer to request {number}, which nobody has made")]
    NotRequest {
        /// The request.
        number: u32,
    },
    /// It is no answer, or one to another request.
    #[error("request {wanted} was answered by something else ({number})")]
    NotReply {
        /// The request that it answers, or is.
        number: u32,
        /// The request that was made.
        wanted: u32,
    },
    /// Its length is not that of such a request.
    #[error("request {number} with {bytes} bytes, which should be {wanted}")]
    Length {
        /// The request.
        number: u32,
        /// How long it is.
        bytes: usize,
        /// How long it should be.
        wanted: usize,
    },
    /// It has more or fewer descriptors than such a request.
    #[error("request {number} with {files} descriptors, which should be {wanted}")]
    Files {
        /// The request.
        number: u32,
        /// How many there are.
        files: usize,
        /// How many there should be.
        wanted: usize,
    },
    /// It tells of no memory, or of more regions than a message may.
    #[error("{regions} regions of memory in a message, which may have 1 to {MAX_REGIONS}")]
    Regions {
        /// How many.
        regions: u32,
    },
}

/// The payload of a request.
struct Fields<'a> {
    number: u32,
    payload: &'a [u8],
}

impl Fields<'_> {
    fn check(&self, wanted: usize) -> Result<(), MessageError> {
        let (number, bytes) = (self.number, self.payload.len());
        if bytes == wanted { Ok(()) } else { Err(MessageError::Length { number, bytes, wanted }) }
    }

    fn none(&self, request: Request) -> Result<Request, MessageError> {
        self.check(0).map(|()| request)
    }

    fn value(&self) -> Result<u64, MessageError> {
        self.check(8).map(|()| u64_at(self.payload, 0))
    }

    fn ring(&self) -> Result<RingState, MessageError> {
        self.check(8).map(|()| RingState { index: u32_at(self.payload, 0), value: u32_at(self.payload, 4) })
    }

    fn ring_file(&self) -> Result<RingFile, MessageError> {
        let value = self.value()?;
        let index = u8::try_from(value & RING_MASK).unwrap_or(u8::MAX);
        Ok(RingFile { index, has_file: value & NO_FILE == 0 })
    }

    fn addresses(&self) -> Result<RingAddresses, MessageError> {
        self.check(40)?;
        let [index, flags] = [0, 4].map(|at| u32_at(self.payload, at));
        let [descriptors, used, available, log] = [8, 16, 24, 32].map(|at| u64_at(self.payload, at));
        Ok(RingAddresses { index, flags, descriptors, used, available, log })
    }

    fn region(&self) -> Result<RegionDescription, MessageError> {
        self.check(8 + REGION_BYTES).map(|()| region_at(self.payload, 8))
    }

    fn regions(&self) -> Result<Vec<RegionDescription>, MessageError> {
        if self.payload.len() < 8 {
            self.check(8)?;
        }
        let regions = u32_at(self.payload, 0);
        let count = usize::try_from(regions).ok().filter(|count| (1..=MAX_REGIONS).contains(count));
        let count = count.ok_or(MessageError::Regions { regions })?;
        // Some front ends always send the room for all of them.
        if self.payload.len() != MAX_PAYLOAD_BYTES {
            self.check(8 + count * REGION_BYTES)?;
        }
        Ok((0..count).map(|index| region_at(self.payload, 8 + index * REGION_BYTES)).collect())
    }
}

fn message(number: u32, flags: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    put_u32(&mut bytes, number);
    put_u32(&mut bytes, flags);
    put_u32(&mut bytes, u32::try_from(payload.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(payload);
    bytes
}

fn put_u32(to: &mut Vec<u8>, value: u32) {
    to.extend_from_slice(&value.to_ne_bytes());
}

fn put_u64(to: &mut Vec<u8>, value: u64) {
    to.extend_from_slice(&value.to_ne_bytes());
}

fn put_ring(to: &mut Vec<u8>, RingState { index, value }: RingState) {
    put_u32(to, index);
    put_u32(to, value);
}

fn put_region(to: &mut Vec<u8>, region: &RegionDescription) {
    let RegionDescription { guest_address, bytes, user_address, file_offset } = *region;
    [guest_address, bytes, user_address, file_offset].iter().for_each(|value| put_u64(to, *value));
}

fn region_at(payload: &[u8], at: usize) -> RegionDescription {
    let [guest_address, bytes, user_address, file_offset] = [0, 8, 16, 24].map(|field| u64_at(payload, at + field));
    RegionDescription { guest_address, bytes, user_address, file_offset }
}

/// The number at a place that was checked to be there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([0, 1, 2, 3].map(|index| bytes[at + index]))
}

/// The number at a place that was checked to be there.
fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|index| bytes[at + index]))
}
