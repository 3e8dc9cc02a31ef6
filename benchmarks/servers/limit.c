// The limit: an echo server that does nothing but system calls, unmasking and headers. No Python server can be faster.
//   limit PORT
// Checks nothing, and answers only the key that load.c sends. Text and binary messages of one frame; no compression.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static const char ACCEPT[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

typedef struct {
  int fd, open;
  uint8_t *in, *out;  // kept only while something is in them
  size_t in_size, in_room, out_sent, out_size, out_room;
} Conn;

static void reserve(uint8_t **buffer, size_t *room, size_t wanted) {
  if (wanted <= *room) return;
  *room = wanted > 2 * *room ? wanted : 2 * *room;
  *buffer = realloc(*buffer, *room);
}

static void give_up(Conn *c) {
  close(c->fd);
  free(c->in), free(c->out), free(c);
}

// Turns the frame at `p` into its answer behind `out`: the bytes it took, or 0 if it is not whole.
static size_t answer(Conn *c, const uint8_t *p, size_t n) {
  size_t head = n < 2 ? 14 : (p[1] & 127) == 126 ? 8 : (p[1] & 127) == 127 ? 14 : 6, form = head - 6, size = 0;
  if (n < head) return 0;
  for (size_t i = 2; i < 2 + form; i++) size = size << 8 | p[i];
  if (!form) size = p[1] & 127;
  if (n < head + size) return 0;
  reserve(&c->out, &c->out_room, c->out_size + 2 + form + size);
  uint8_t *out = c->out + c->out_size;
  memcpy(out, p, 2 + form);
  out[1] &= 127;
  out += 2 + form;
  uint64_t mask;
  memcpy(&mask, p + head - 4, 4), memcpy((uint8_t *)&mask + 4, &mask, 4);
  size_t i = 0;
  for (; i + 8 <= size; i += 8) {
    uint64_t word;
    memcpy(&word, p + head + i, 8);
    word ^= mask;
    memcpy(out + i, &word, 8);
  }
  for (; i < size; i++) out[i] = p[head + i] ^ p[head - 4 + i % 4];
  c->out_size += 2 + form + size;
  return head + size;
}

static int flush_out(Conn *c) {
  while (c->out_sent < c->out_size) {
    ssize_t n = send(c->fd, c->out + c->out_sent, c->out_size - c->out_sent, MSG_NOSIGNAL);
    if (n < 0) return errno == EAGAIN;
    c->out_sent += n;
  }
  c->out_sent = c->out_size = 0;
  return 1;
}

static int on_bytes(Conn *c, const uint8_t *p, size_t n) {
  if (!c->open) {
    c->open = 1;
    return send(c->fd, ACCEPT, sizeof ACCEPT - 1, MSG_NOSIGNAL) > 0;
  }
  if (c->in_size) {
    reserve(&c->in, &c->in_room, c->in_size + n);
    memcpy(c->in + c->in_size, p, n);
    p = c->in, n += c->in_size;
  }
  size_t took, at = 0;
  while ((took = answer(c, p + at, n - at))) at += took;
  if (p != c->in) reserve(&c->in, &c->in_room, n - at);
  memmove(c->in, p + at, c->in_size = n - at);
  return flush_out(c);
}

int main(int argc, char **argv) {
  static uint8_t buffer[1 << 18];
  int epoll = epoll_create1(0), listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (bind(listener, (void *)&address, sizeof address) || listen(listener, 2048)) return 1;
  struct epoll_event event = {.events = EPOLLIN}, events[512];
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int count = epoll_wait(epoll, events, 512, -1);
    for (int i = 0; i < count; i++) {
      Conn *c = events[i].data.ptr;
      if (!c) {
        c = calloc(1, sizeof *c);
        c->fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
        setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        event = (struct epoll_event){.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};
        epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
        continue;
      }
      ssize_t n = sizeof buffer;
      int alive = flush_out(c);
      while (alive && n == sizeof buffer) {
        n = recv(c->fd, buffer, sizeof buffer, 0);
        alive = n > 0 ? on_bytes(c, buffer, n) : n < 0 && errno == EAGAIN;
      }
      if (!alive) give_up(c);
    }
  }
}
