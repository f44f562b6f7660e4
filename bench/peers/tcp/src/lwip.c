/* lwIP's raw API, with both ends in one stack: two interfaces with a link between them that is a queue of frames.
 *
 * There is one stack per process, so a connection's ends are told apart by the interface that they are bound to. An interface writes
 * the Ethernet header itself: addresses are not asked for by ARP, which is less than the others do. */

#include <lwip/etharp.h>
#include <lwip/init.h>
#include <lwip/ip4.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { CLIENT = 0, SERVER = 1, QUEUE = 4096, PORT = 80, BACKLOG = 4096 };
enum { CONNECTED = 0, READABLE = 1, WRITABLE = 2 };

struct end {
  struct tcp_pcb *pcb;
  /* What has come and was not read: `at` bytes of the first are read. */
  struct pbuf *came;
  size_t at;
  uint32_t slot;
  uint8_t side, is_over;
  struct end *next_free;
};

struct event {
  uint32_t slot;
  uint8_t kind, side;
};

struct queue {
  struct pbuf *frames[QUEUE];
  size_t head, tail;
};

static struct netif interfaces[2];
static struct queue queues[2];
static struct end **ends[2];
static size_t ends_len[2];
static struct end *free_servers;
static struct event *events;
static size_t events_len, events_room;
static size_t servers;

static void tell(uint8_t kind, struct end *end) {
  if (events_len == events_room) {
    events_room = events_room ? 2 * events_room : 1024;
    events = realloc(events, events_room * sizeof *events);
  }
  events[events_len++] = (struct event){.slot = end->slot, .kind = kind, .side = end->side};
}

/* As a frame leaves, it is in the other interface's queue. A sent pbuf is still the stack's: the queue needs a copy. */
static err_t link_output(struct netif *netif, struct pbuf *frame) {
  struct queue *to = &queues[netif != &interfaces[SERVER]];
  if (to->tail - to->head == QUEUE) return ERR_MEM;
  struct pbuf *copy = pbuf_clone(PBUF_RAW, PBUF_RAM, frame);
  if (!copy) return ERR_MEM;
  to->frames[to->tail++ % QUEUE] = copy;
  return ERR_OK;
}

static err_t output(struct netif *netif, struct pbuf *packet, const ip4_addr_t *to) {
  (void)to;
  struct netif *other = &interfaces[netif == &interfaces[CLIENT]];
  return ethernet_output(netif, packet, (struct eth_addr *)netif->hwaddr, (struct eth_addr *)other->hwaddr, ETHTYPE_IP);
}

static err_t init(struct netif *netif) {
  netif->name[0] = 'm';
  netif->output = output;
  netif->linkoutput = link_output;
  netif->hwaddr_len = 6;
  memcpy(netif->hwaddr, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)(netif - interfaces)}, 6);
  netif->flags |= NETIF_FLAG_ETHERNET | NETIF_FLAG_ETHARP | NETIF_FLAG_LINK_UP;
  return ERR_OK;
}

static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *bytes, err_t error) {
  (void)pcb, (void)error;
  struct end *end = arg;
  if (!bytes)
    end->is_over = 1;
  else if (end->came)
    pbuf_cat(end->came, bytes);
  else
    end->came = bytes;
  tell(READABLE, end);
  return ERR_OK;
}

static err_t on_sent(void *arg, struct tcp_pcb *pcb, u16_t len) {
  (void)pcb, (void)len;
  tell(WRITABLE, arg);
  return ERR_OK;
}

static void on_error(void *arg, err_t error) {
  (void)error;
  /* The connection's memory is gone already. Whoever waits for it gives up and says so. */
  if (arg) ((struct end *)arg)->pcb = NULL;
}

static void attend(struct end *end, struct tcp_pcb *pcb) {
  end->pcb = pcb;
  end->came = NULL;
  end->at = 0;
  end->is_over = 0;
  tcp_arg(pcb, end);
  tcp_recv(pcb, on_received);
  tcp_sent(pcb, on_sent);
  tcp_err(pcb, on_error);
  tcp_nagle_disable(pcb);
}

static struct end *make(uint8_t side, size_t slot) {
  if (slot >= ends_len[side]) {
    ends[side] = realloc(ends[side], (slot + 1) * sizeof(struct end *));
    while (ends_len[side] <= slot) ends[side][ends_len[side]++] = calloc(1, sizeof(struct end));
  }
  struct end *end = ends[side][slot];
  end->side = side;
  end->slot = (uint32_t)slot;
  return end;
}

static err_t on_accepted(void *arg, struct tcp_pcb *pcb, err_t error) {
  (void)arg;
  if (error != ERR_OK || !pcb) return ERR_VAL;
  struct end *end = free_servers;
  if (end)
    free_servers = end->next_free;
  else
    end = make(SERVER, servers++);
  attend(end, pcb);
  return ERR_OK;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t error) {
  (void)pcb;
  if (error == ERR_OK) tell(CONNECTED, arg);
  return error;
}

int peer_init(uint16_t mtu) {
  lwip_init();
  for (uint8_t side = CLIENT; side <= SERVER; side++) {
    ip4_addr_t address, mask, gateway;
    IP4_ADDR(&address, 10, 0, side, 1);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    IP4_ADDR(&gateway, 10, 0, side, 254);
    if (!netif_add(&interfaces[side], &address, &mask, &gateway, NULL, init, ethernet_input)) return -1;
    interfaces[side].mtu = mtu;
    netif_set_up(&interfaces[side]);
    netif_set_link_up(&interfaces[side]);
  }
  struct tcp_pcb *listener = tcp_new();
  tcp_bind_netif(listener, &interfaces[SERVER]);
  if (tcp_bind(listener, &interfaces[SERVER].ip_addr, PORT) != ERR_OK) return -1;
  listener = tcp_listen_with_backlog(listener, 255);
  if (!listener) return -1;
  tcp_accept(listener, on_accepted);
  return 0;
}

int peer_connect(size_t slot) {
  struct tcp_pcb *pcb = tcp_new();
  if (!pcb) return -1;
  tcp_bind_netif(pcb, &interfaces[CLIENT]);
  if (tcp_bind(pcb, &interfaces[CLIENT].ip_addr, 0) != ERR_OK) return -2;
  attend(make(CLIENT, slot), pcb);
  return tcp_connect(pcb, &interfaces[SERVER].ip_addr, PORT, on_connected);
}

size_t peer_turn(const struct event **out) {
  for (uint8_t side = CLIENT; side <= SERVER; side++) {
    struct queue *queue = &queues[side];
    while (queue->head != queue->tail) {
      struct pbuf *frame = queue->frames[queue->head++ % QUEUE];
      if (interfaces[side].input(frame, &interfaces[side]) != ERR_OK) pbuf_free(frame);
    }
  }
  sys_check_timeouts();
  size_t len = events_len;
  *out = events;
  events_len = 0;
  return len;
}

size_t peer_send(uint8_t side, size_t slot, const uint8_t *bytes, size_t len) {
  struct tcp_pcb *pcb = ends[side][slot]->pcb;
  size_t sent = 0;
  while (pcb && sent < len) {
    size_t part = len - sent;
    if (part > tcp_sndbuf(pcb)) part = tcp_sndbuf(pcb);
    if (part > UINT16_MAX) part = UINT16_MAX;
    if (!part || tcp_write(pcb, bytes + sent, (u16_t)part, TCP_WRITE_FLAG_COPY) != ERR_OK) break;
    sent += part;
  }
  if (pcb) tcp_output(pcb);
  return sent;
}

/* The next piece of what has come, in place; -1 at the end. `peer_read` says that it was read. */
ptrdiff_t peer_peek(uint8_t side, size_t slot, const uint8_t **bytes) {
  struct end *end = ends[side][slot];
  if (!end->came) return end->is_over ? -1 : 0;
  *bytes = (const uint8_t *)end->came->payload + end->at;
  return (ptrdiff_t)(end->came->len - end->at);
}

void peer_read(uint8_t side, size_t slot, size_t len) {
  struct end *end = ends[side][slot];
  end->at += len;
  if (end->at == end->came->len) {
    struct pbuf *rest = end->came->next;
    if (rest) pbuf_ref(rest);
    pbuf_free(end->came);
    end->came = rest;
    end->at = 0;
  }
  if (end->pcb) tcp_recved(end->pcb, (u16_t)len);
}

int peer_close(uint8_t side, size_t slot) {
  struct end *end = ends[side][slot];
  if (end->came) pbuf_free(end->came);
  end->came = NULL;
  struct tcp_pcb *pcb = end->pcb;
  end->pcb = NULL;
  if (side == SERVER) {
    end->next_free = free_servers;
    free_servers = end;
  }
  if (!pcb) return 0;
  tcp_arg(pcb, NULL);
  tcp_recv(pcb, NULL);
  tcp_sent(pcb, NULL);
  tcp_err(pcb, NULL);
  return tcp_close(pcb);
}
