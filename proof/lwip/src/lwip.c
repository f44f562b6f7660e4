/* A host of lwIP's by its raw API: one interface at a time, whose frames the caller carries, and at most one connection. The clock is
 * the caller's. */

#include <lwip/etharp.h>
#include <lwip/ethip6.h>
#include <lwip/init.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/priv/tcp_priv.h>
#include <lwip/tcp.h>
#include <lwip/timeouts.h>
#include <netif/ethernet.h>
#include <stdint.h>
#include <string.h>

enum { QUEUE = 4096, FRAME = 1514 };
enum { PREFIX_V4 = 24 };

static uint32_t now_ms;

/* Instead of the library's: so time passes only when the caller says so. */
u32_t sys_now(void) { return now_ms; }

static struct netif interface;
static struct pbuf *leaving[QUEUE];
static size_t head, tail;
static uint8_t mac[6];

static ip_addr_t own, peer;
static struct tcp_pcb *listener, *connection;
/* What has come and was not read. */
static struct pbuf *came;
static int has_opened, has_ended, is_reset, is_over;

static err_t link_output(struct netif *netif, struct pbuf *frame) {
  (void)netif;
  if (tail - head == QUEUE) return ERR_MEM;
  struct pbuf *copy = pbuf_clone(PBUF_RAW, PBUF_RAM, frame);
  if (!copy) return ERR_MEM;
  leaving[tail++ % QUEUE] = copy;
  return ERR_OK;
}

static err_t init(struct netif *netif) {
  netif->name[0] = 'm';
  netif->output = etharp_output;
  netif->output_ip6 = ethip6_output;
  netif->linkoutput = link_output;
  netif->hwaddr_len = 6;
  memcpy(netif->hwaddr, mac, 6);
  netif->mtu = FRAME - SIZEOF_ETH_HDR;
  netif->flags |= NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHERNET | NETIF_FLAG_ETHARP | NETIF_FLAG_MLD6 | NETIF_FLAG_LINK_UP;
  return ERR_OK;
}

static err_t on_received(void *arg, struct tcp_pcb *pcb, struct pbuf *bytes, err_t error) {
  (void)arg, (void)pcb, (void)error;
  if (!bytes)
    has_ended = 1;
  else if (came)
    pbuf_cat(came, bytes);
  else
    came = bytes;
  return ERR_OK;
}

static void on_error(void *arg, err_t error) {
  (void)arg;
  /* The connection's memory is gone already. */
  connection = NULL;
  is_over = 1;
  is_reset = error == ERR_RST;
}

static void attend(struct tcp_pcb *pcb) {
  connection = pcb;
  tcp_recv(pcb, on_received);
  tcp_err(pcb, on_error);
}

static err_t on_accepted(void *arg, struct tcp_pcb *pcb, err_t error) {
  (void)arg;
  if (error != ERR_OK || !pcb) return ERR_VAL;
  has_opened = 1;
  attend(pcb);
  return ERR_OK;
}

static err_t on_connected(void *arg, struct tcp_pcb *pcb, err_t error) {
  (void)arg, (void)pcb;
  has_opened = 1;
  return error;
}

/* The memory of a connection that only waits is freed when it has waited long enough, and nobody is told. */
static void look(void) {
  if (connection && connection->state == TIME_WAIT) {
    connection = NULL;
    is_over = 1;
  }
}

static void set_address(ip_addr_t *address, int is_v6, const uint8_t *bytes) {
  if (is_v6) {
    IP_ADDR6(address, 0, 0, 0, 0);
    memcpy(ip_2_ip6(address)->addr, bytes, 16);
  } else {
    IP_ADDR4(address, bytes[0], bytes[1], bytes[2], bytes[3]);
  }
}

/* Begins as a host with nothing of the one before. */
int host_begin(int is_v6, const uint8_t *own_mac, const uint8_t *own_bytes, const uint8_t *peer_bytes) {
  static int is_begun;
  if (!is_begun) lwip_init();
  is_begun = 1;
  memcpy(mac, own_mac, 6);
  set_address(&own, is_v6, own_bytes);
  set_address(&peer, is_v6, peer_bytes);
  ip4_addr_t address, mask, gateway;
  IP4_ADDR(&address, 0, 0, 0, 0);
  gateway = address;
  mask.addr = PP_HTONL(0xffffffffu << (32 - PREFIX_V4));
  if (!is_v6) address = *ip_2_ip4(&own);
  if (!netif_add(&interface, &address, &mask, &gateway, NULL, init, ethernet_input)) return -1;
  netif_set_default(&interface);
  netif_create_ip6_linklocal_address(&interface, 1);
  netif_set_up(&interface);
  if (is_v6) {
    netif_ip6_addr_set(&interface, 1, ip_2_ip6(&own));
    netif_ip6_addr_set_state(&interface, 1, IP6_ADDR_PREFERRED);
  }
  has_opened = has_ended = is_reset = is_over = 0;
  return 0;
}

/* Lets go of everything. */
void host_end(void) {
  if (listener) tcp_close(listener);
  listener = NULL;
  if (connection) {
    tcp_err(connection, NULL);
    tcp_abort(connection);
  }
  connection = NULL;
  while (tcp_tw_pcbs) tcp_abort(tcp_tw_pcbs);
  while (tcp_active_pcbs) tcp_abort(tcp_active_pcbs);
  netif_remove(&interface);
  if (came) pbuf_free(came);
  came = NULL;
  while (head != tail) pbuf_free(leaving[head++ % QUEUE]);
}

/* Time has come. Answers for how many milliseconds there is nothing to do if nothing comes. */
uint32_t host_turn(uint32_t now) {
  now_ms = now;
  sys_check_timeouts();
  look();
  return sys_timeouts_sleeptime();
}

void host_take(uint32_t now, const uint8_t *bytes, size_t len) {
  now_ms = now;
  /* In Debian's build what comes from the pool is shorter than lwIP takes it for. */
  struct pbuf *frame = pbuf_alloc(PBUF_RAW, (u16_t)len, PBUF_RAM);
  if (!frame) return;
  pbuf_take(frame, bytes, (u16_t)len);
  if (interface.input(frame, &interface) != ERR_OK) pbuf_free(frame);
  look();
}

/* The next frame that leaves; answers its length. `bytes` has room for the longest. */
size_t host_leaving(uint8_t *bytes) {
  if (head == tail) return 0;
  struct pbuf *frame = leaving[head++ % QUEUE];
  size_t len = pbuf_copy_partial(frame, bytes, FRAME, 0);
  pbuf_free(frame);
  return len;
}

int host_listen(uint16_t port) {
  struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(&own));
  if (!pcb || tcp_bind(pcb, &own, port) != ERR_OK) return -1;
  listener = tcp_listen(pcb);
  if (!listener) return -1;
  tcp_accept(listener, on_accepted);
  return 0;
}

int host_connect(uint16_t from, uint16_t to) {
  struct tcp_pcb *pcb = tcp_new_ip_type(IP_GET_TYPE(&own));
  if (!pcb || tcp_bind(pcb, &own, from) != ERR_OK) return -1;
  attend(pcb);
  return tcp_connect(pcb, &peer, to, on_connected);
}

size_t host_send(const uint8_t *bytes, size_t len) {
  size_t sent = 0;
  while (connection && sent < len) {
    size_t part = len - sent;
    if (part > tcp_sndbuf(connection)) part = tcp_sndbuf(connection);
    if (part > UINT16_MAX) part = UINT16_MAX;
    /* Fails also when too many pieces wait. */
    if (!part || tcp_write(connection, bytes + sent, (u16_t)part, TCP_WRITE_FLAG_COPY) != ERR_OK) break;
    sent += part;
  }
  if (connection) tcp_output(connection);
  return sent;
}

/* The first bytes of what has come, at most `room`; answers how many. */
size_t host_receive(uint8_t *bytes, uint16_t room) {
  if (!came) return 0;
  u16_t len = pbuf_copy_partial(came, bytes, room, 0);
  came = pbuf_free_header(came, len);
  if (connection) tcp_recved(connection, len);
  return len;
}

int host_end_stream(void) { return connection ? tcp_shutdown(connection, 0, 1) : 0; }

void host_abort(void) {
  if (!connection) return;
  tcp_err(connection, NULL);
  tcp_abort(connection);
  connection = NULL;
  is_over = 1;
}

int host_has_opened(void) { return has_opened; }
int host_has_ended(void) { return has_ended && !came; }
int host_is_reset(void) { return is_reset; }
int host_is_over(void) { return is_over; }
