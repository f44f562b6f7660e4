//! The least of TCP that a kernel speaks with: it accepts one connection, acknowledges everything and loses nothing.

use std::num::NonZero;

use sunstar_packet::{Checksum, Packet, Segmentation, SegmentationKind};
use sunstar_wire::checksum::{Fill, Sum, pseudo_header_v4};
use sunstar_wire::{IpProtocol, Ipv4Packet, Seq, TcpFlags, TcpHeader, TcpSegment, WindowScale};

use crate::host::{HOST, Host, IP_END, KERNEL, bytes};

/// Where the host listens.
pub(crate) const PORT: u16 = 7;
/// Bytes of a header without options.
const HEADER_BYTES: usize = 20;

/// The host's side of a connection.
pub(crate) struct Connection {
    peer_port: u16,
    snd_nxt: Seq,
    rcv_nxt: Seq,
}

impl Connection {
    /// Waits for a SYN, and answers it with a window of 4 MiB.
    pub(crate) fn accept(host: &mut Host) -> Self {
        let syn = bytes(&host.receive_ip(IpProtocol::TCP));
        let syn = TcpSegment::parse(Ipv4Packet::parse(&syn[14..]).unwrap().payload()).unwrap();
        assert!(syn.flags().contains(TcpFlags::SYN) && syn.dst_port() == PORT);
        let mut connection = Self { peer_port: syn.src_port(), snd_nxt: Seq::new(1000), rcv_nxt: syn.seq() + 1 };
        let mut header = connection.header(TcpFlags::SYN | TcpFlags::ACK);
        header.options.mss = NonZero::new(1460);
        header.options.window_scale = Some(WindowScale::new(7));
        let packet = connection.segment(host, header, &[]);
        host.send(packet);
        connection.snd_nxt += 1;
        connection
    }

    fn header(&self, flags: TcpFlags) -> TcpHeader {
        let mut header = TcpHeader::new(PORT, self.peer_port);
        (header.seq, header.ack, header.flags, header.window) = (self.snd_nxt, self.rcv_nxt, flags, 0x7fff);
        header
    }

    fn segment(&self, host: &Host, header: TcpHeader, parts: &[&[u8]]) -> Packet {
        let len = header.header_len() + parts.iter().map(|part| part.len()).sum::<usize>();
        let pseudo = pseudo_header_v4(HOST, KERNEL, IpProtocol::TCP, len.try_into().unwrap());
        let offloaded = host.queue.capabilities().tx.checksum;
        let payload = Sum::of_chain(parts);
        let tcp = header.to_bytes(if offloaded { Fill::Partial(pseudo) } else { Fill::Complete(pseudo + payload) });
        let mut all = vec![&tcp[..]];
        all.extend(parts);
        let mut packet = host.packet(IpProtocol::TCP, &all);
        if offloaded {
            packet.offload.checksum = Checksum::Partial { csum_start: IP_END.try_into().unwrap(), csum_offset: 16 };
        }
        packet
    }

    /// Receives until so many bytes have come, and shows each packet to `look`. Answers the bytes.
    pub(crate) fn receive(&mut self, host: &mut Host, count: usize, mut look: impl FnMut(&Packet)) -> Vec<u8> {
        let mut stream = Vec::new();
        while stream.len() < count {
            let packet = host.receive_ip(IpProtocol::TCP);
            look(&packet);
            let all = bytes(&packet);
            let segment = TcpSegment::parse(Ipv4Packet::parse(&all[14..]).unwrap().payload()).unwrap();
            if segment.seq() != self.rcv_nxt || segment.payload().is_empty() {
                continue;
            }
            stream.extend_from_slice(segment.payload());
            self.rcv_nxt += u32::try_from(segment.payload().len()).unwrap();
            let ack = self.segment(host, self.header(TcpFlags::ACK), &[]);
            host.send(ack);
        }
        stream
    }

    /// Sends all parts as one large packet, for the device to cut.
    pub(crate) fn send(&mut self, host: &mut Host, parts: &[&[u8]]) {
        let mut packet = self.segment(host, self.header(TcpFlags::ACK | TcpFlags::PSH), parts);
        packet.offload.segmentation = Some(Segmentation {
            kind: SegmentationKind::Tcpv4,
            has_ecn: false,
            gso_size: 1460,
            hdr_len: (IP_END + HEADER_BYTES).try_into().unwrap(),
        });
        self.snd_nxt += u32::try_from(packet.len() - IP_END - HEADER_BYTES).unwrap();
        host.send(packet);
    }
}
