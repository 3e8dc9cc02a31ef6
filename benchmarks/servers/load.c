// A WebSocket client that is never the bottleneck: one thread, epoll, frames that are made before the clock runs.
//
//   load echo --port N [--path /p] [--connections 100] [--window 1] [--size 128] [--seconds 1] [--binary]
//             [--payload FILE] [--deflate OFFER] [--rate N] [--warm 0.3] [--watch PID]...
//   load fanout --port N ... [--publishers 1] [--stalled 0] [--greeting TEXT --skip N]
//       the first PUBLISHERS connections send, every connection receives; the rate is that of deliveries
//   load hold --port N ...      opens the connections, WINDOW at a time, and holds them until its input ends
//
// echo keeps WINDOW messages in flight on every connection. With --rate it is an open loop instead: messages leave at
// random moments (Poisson), N in a second over all connections, whether or not answers have come, and a latency counts
// from the moment a message was due, so that a server that falls behind cannot hide it.
// A fanout's latency is that of every delivery to every connection; with --rate, the first connection's messages leave
// evenly spaced, N in a second, and what was due and has not come in the end has waited until then. The last STALLED
// connections never read once they are open; what they miss is not asked for. Where a protocol above WebSocket has a
// handshake of its own, --greeting is sent as a text once a connection is open, and the next N messages are not counted.
// With --payload every message is what the file holds, instead of SIZE bytes that mean nothing.
// With --deflate the offer is sent and, if the server takes it, messages are JSON texts, compressed one by one; there
// are enough different ones that no deflate window reaches back to the same one. Answers are counted, not inflated,
// except the first of each connection: it must be what was sent. Without, every answer must have the right size.
//
// With --watch it also tells how much processor time those processes, the server's, took for a message.
//
// Prints one line of JSON. Exits with 1 and a line on stderr when the server does anything unexpected.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

enum { TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10 };
enum { JSON_MESSAGES = 64, BURST = 256 * 1024, RING_OPEN = 1 << 14, RING_FANOUT = 1 << 20, SMALL_BUFFER = 4096, SMALL_SEGMENT = 536 };

static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vfprintf(stderr, format, arguments);
  va_end(arguments);
  fputc('\n', stderr);
  exit(1);
}

static double seconds_of(clockid_t clock) {
  struct timespec t = {0};
  clock_gettime(clock, &t);
  return t.tv_sec + t.tv_nsec * 1e-9;
}
static double now(void) { return seconds_of(CLOCK_MONOTONIC); }

// --- what is asked for ----------------------------------------------------------------------------------------------

static struct {
  const char *mode, *path, *deflate, *payload, *greeting;
  int port, connections, window, binary, publishers, stalled, skip;
  size_t size;
  double seconds, rate, warm;
  clockid_t watched[64];  // the clocks of the server's processes
  int watched_count;
} ask = {.path = "/", .connections = 100, .window = 1, .size = 128, .seconds = 1, .publishers = 1, .warm = .3};

static void read_arguments(int argc, char **argv) {
  static const struct option options[] = {
      {"port", 1, 0, 'p'},    {"path", 1, 0, 'a'},   {"connections", 1, 0, 'c'}, {"window", 1, 0, 'w'}, {"size", 1, 0, 's'},
      {"seconds", 1, 0, 't'}, {"binary", 0, 0, 'b'}, {"deflate", 1, 0, 'd'},     {"rate", 1, 0, 'r'},   {"watch", 1, 0, 'o'},
      {"payload", 1, 0, 'l'}, {"publishers", 1, 0, 'n'}, {"stalled", 1, 0, 'x'}, {"warm", 1, 0, 'm'},
      {"greeting", 1, 0, 'g'}, {"skip", 1, 0, 'k'}, {0}};
  for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) switch (option) {
      case 'p': ask.port = atoi(optarg); break;
      case 'a': ask.path = optarg; break;
      case 'c': ask.connections = atoi(optarg); break;
      case 'w': ask.window = atoi(optarg); break;
      case 's': ask.size = atol(optarg); break;
      case 't': ask.seconds = atof(optarg); break;
      case 'b': ask.binary = 1; break;
      case 'd': ask.deflate = optarg; break;
      case 'l': ask.payload = optarg; break;
      case 'r': ask.rate = atof(optarg); break;
      case 'n': ask.publishers = atoi(optarg); break;
      case 'x': ask.stalled = atoi(optarg); break;
      case 'm': ask.warm = atof(optarg); break;
      case 'g': ask.greeting = optarg; break;
      case 'k': ask.skip = atoi(optarg); break;
      case 'o': if (ask.watched_count < 64 && !clock_getcpuclockid(atoi(optarg), &ask.watched[ask.watched_count])) ask.watched_count++; break;
      default: exit(2);
    }
  struct stat about;
  if (ask.payload && stat(ask.payload, &about)) fail("%s: %s", ask.payload, strerror(errno));
  if (ask.payload) ask.size = about.st_size;
  ask.mode = optind < argc ? argv[optind] : "";
  if (!ask.port || ask.connections < 1 || ask.window < 1 || ask.publishers < 1 ||
      ask.publishers + ask.stalled > ask.connections || (ask.rate && ask.publishers > 1) ||
      (strcmp(ask.mode, "echo") && strcmp(ask.mode, "fanout") && strcmp(ask.mode, "hold")))
    fail("usage: load echo|fanout|hold --port N; the other options are at the top of load.c");
}

// --- what is sent: a cycle of frames, written out often enough that one send can take a burst of it ------------------

static uint8_t *cycle;
static size_t cycle_length, written_length;   // bytes of one cycle, and of all its repetitions in `cycle`
static size_t frame_count, *frame_end;        // frame i of the cycle ends at frame_end[i]
static uint8_t *first_text;                   // what the first message says before compression
static size_t first_length;

static size_t put_frame(uint8_t *out, int first_byte, const uint8_t *payload, size_t size) {
  static const uint8_t mask[4] = {0x12, 0x34, 0x56, 0x78};
  size_t n = 0;
  int form = size < 126 ? 0 : size < 65536 ? 2 : 8;
  out[n++] = first_byte;
  out[n++] = 0x80 | (form == 0 ? size : form == 2 ? 126 : 127);
  for (int i = form - 1; i >= 0; i--) out[n++] = (uint64_t)size >> (8 * i);
  memcpy(out + n, mask, 4);
  n += 4;
  for (size_t i = 0; i < size; i++) out[n++] = payload[i] ^ mask[i % 4];
  return n;
}

// A message of a chat or a feed: keys repeat, values do not.
static size_t put_json(char *out, size_t size, int number) {
  static const char *words[] = {"alpha", "river", "stone", "market", "signal", "window", "paper", "engine"};
  size_t n = sprintf(out, "{\"type\":\"update\",\"seq\":%d,\"room\":\"room-%d\",\"rows\":[", number, rand() % 1000);
  while (n < size - 90)
    n += sprintf(out + n, "%s{\"id\":%d,\"name\":\"%s-%s\",\"price\":%d.%02d,\"active\":%s}", out[n - 1] == '[' ? "" : ",",
                 rand() % 1000000, words[rand() % 8], words[rand() % 8], rand() % 1000, rand() % 100, rand() % 2 ? "true" : "false");
  n += sprintf(out + n, "],\"note\":\"");
  while (n < size - 2) out[n++] = "abcdefghij klmnopqrstuvwxyz"[rand() % 27];
  return n + sprintf(out + n, "\"}");
}

static size_t deflate_message(uint8_t *out, size_t room, const uint8_t *text, size_t size) {
  z_stream z = {.next_in = (uint8_t *)text, .avail_in = size, .next_out = out, .avail_out = room};
  deflateInit2(&z, 6, Z_DEFLATED, -12, 8, Z_DEFAULT_STRATEGY);
  deflate(&z, Z_SYNC_FLUSH);
  size_t n = room - z.avail_out - 4;  // RFC 7692 7.2.1: without the last 00 00 ff ff
  deflateEnd(&z);
  return n;
}

static void read_payload(uint8_t *out) {
  FILE *file = fopen(ask.payload, "rb");
  if (!file || fread(out, 1, ask.size, file) != ask.size) fail("reading %s: %s", ask.payload, strerror(errno));
  fclose(file);
}

static void make_cycle(int compressed) {
  frame_count = ask.deflate ? JSON_MESSAGES : 1;
  frame_end = calloc(frame_count, sizeof *frame_end);
  uint8_t *text = malloc(ask.size + 256), *small = malloc(2 * ask.size + 256);
  size_t room = frame_count * (2 * ask.size + 512), at = 0;
  uint8_t *one = malloc(room);
  for (size_t i = 0; i < frame_count; i++) {
    size_t size = ask.size;
    if (ask.payload) read_payload(text);
    else if (ask.deflate) size = put_json((char *)text, size, i);
    else for (size_t k = 0; k < size; k++) text[k] = ask.binary ? k * 7 : 'a' + k % 26;
    if (i == 0) first_text = memcpy(malloc(size + 1), text, first_length = size);
    if (compressed) at += put_frame(one + at, 0xC0 | TEXT, small, deflate_message(small, 2 * ask.size + 256, text, size));
    else at += put_frame(one + at, 0x80 | (ask.binary ? BINARY : TEXT), text, size);
    frame_end[i] = at;
  }
  cycle_length = at;
  size_t times = BURST / at + 2;
  written_length = times * at;
  cycle = malloc(written_length);
  for (size_t i = 0; i < times; i++) memcpy(cycle + i * at, one, at);
  free(one), free(text), free(small);
}

// --- connections ------------------------------------------------------------------------------------------------------

typedef struct {
  int fd, open;
  char *head;  // of the response, until it is whole
  size_t head_size;
  uint8_t frame[14];  // a header, until it is whole
  int frame_size, first_byte, fragment;
  uint64_t left, message_size;
  uint8_t *first;  // the first message, until it has been compared
  size_t first_size;
  int first_rsv1;
  uint64_t asked, queued_bytes, sent_bytes;  // frames, and bytes of the endless stream of cycles
  double *stamps;  // a ring of the times at which messages were due
  unsigned ring, stamped, answered;
  int skip;  // messages of a handshake that are still to come
} Conn;

static Conn *conns;
static int epoll, opening_next, open_count, ready_count, sends_all;
static char agreed[256];
static uint64_t messages, wire_bytes;
static int measuring;
static double read_at, measured_from;

enum { TENTHS = 10 * 1000 * 1000 };  // of a microsecond: latencies up to a second
static uint32_t *histogram;


static void flush_out(Conn *c) {
  while (c->sent_bytes < c->queued_bytes) {
    size_t phase = c->sent_bytes % cycle_length, n = c->queued_bytes - c->sent_bytes;
    if (n > written_length - phase) n = written_length - phase;
    ssize_t w = send(c->fd, cycle + phase, n, MSG_NOSIGNAL);
    if (w < 0 && errno == EAGAIN) return;
    if (w < 0) fail("send: %s", strerror(errno));
    c->sent_bytes += w;
  }
}

static void queue(Conn *c, int count, double due) {
  for (int i = 0; i < count; i++) {
    if (sends_all && c->stamped - c->answered == c->ring) fail("the server does not keep up with %.0f messages a second", ask.rate);
    c->stamps[c->stamped++ % c->ring] = due;
  }
  c->asked += count;
  size_t rest = c->asked % frame_count;
  c->queued_bytes = c->asked / frame_count * cycle_length + (rest ? frame_end[rest - 1] : 0);
}

static void check_first(Conn *c) {
  uint8_t *text = c->first;
  size_t size = c->first_size;
  if (c->first_rsv1) {
    text = malloc(first_length + 1);
    memcpy(c->first + size, "\0\0\xff\xff", 4);
    z_stream z = {.next_in = c->first, .avail_in = size + 4, .next_out = text, .avail_out = first_length + 1};
    inflateInit2(&z, -15);
    inflate(&z, Z_SYNC_FLUSH);
    size = first_length + 1 - z.avail_out;
    inflateEnd(&z);
  }
  if (size != first_length || memcmp(text, first_text, size)) fail("an answer is not what was sent");
  if (c->first_rsv1) free(text);
  free(c->first);
  c->first = NULL;
}

static void count_latency(double seconds) {
  double waited = seconds * 1e7;
  histogram[waited < 0 ? 0 : waited < TENTHS ? (int)waited : TENTHS - 1]++;
}

// Whose stamps tell when a message to this connection was due. Those of several publishers take turns on average.
static Conn *sender_of(Conn *c) { return sends_all ? c : &conns[c->answered % ask.publishers]; }

static int on_message(Conn *c) {
  if (c->skip) {
    c->message_size = 0;
    ready_count += !--c->skip;
    return 0;
  }
  if (c->first) check_first(c);
  if (!agreed[0] && c->message_size != first_length)
    fail("expected a message of %zu bytes, but got %llu", first_length, (unsigned long long)c->message_size);
  c->message_size = 0;
  if (measuring) messages++;
  Conn *sender = sender_of(c);
  unsigned number = sends_all ? c->answered : c->answered / ask.publishers;
  double due = sender->stamps[number % sender->ring];
  c->answered++;
  if (measuring && (sends_all || due >= measured_from)) count_latency(read_at - due);
  // In a fanout one of a publisher's own is done, on average, with every round of all of them.
  return sends_all || (c < conns + ask.publishers && c->answered % ask.publishers == 0);
}

static int header_done(Conn *c) {
  const uint8_t *h = c->frame;
  int l7 = h[1] & 127, need = 2 + (l7 == 126 ? 2 : l7 == 127 ? 8 : 0);
  if (c->frame_size < need) return 0;
  uint64_t length = need == 2 ? l7 : 0;
  for (int i = 2; i < need; i++) length = length << 8 | h[i];
  if ((h[0] & 15) == CLOSE) fail("the server closed a connection");
  c->first_byte = h[0], c->left = length, c->frame_size = 0;
  if (c->first && c->first_size == 0) c->first_rsv1 = h[0] & 0x40;
  if (c->first && c->first_size + length > first_length + 64) fail("an answer is longer than what was sent");
  if (measuring) wire_bytes += need + length;
  return 1;
}

static int parse(Conn *c, const uint8_t *p, size_t n) {
  int done = 0, in_payload = c->fragment;
  while (n || (in_payload && !c->left)) {
    if (!in_payload) {
      c->frame[c->frame_size++] = *p++, n--;
      in_payload = c->frame_size >= 2 && header_done(c);
      continue;
    }
    size_t k = n < c->left ? n : c->left;
    if ((c->first_byte & 15) < CLOSE) {
      if (c->first) memcpy(c->first + c->first_size, p, k), c->first_size += k;
      c->message_size += k;
    }
    p += k, n -= k, c->left -= k;
    if (c->left) break;
    in_payload = 0;
    if (c->first_byte & 0x80 && (c->first_byte & 15) < CLOSE) done += on_message(c);
  }
  c->fragment = in_payload;
  return done;
}

// --- the opening handshake ----------------------------------------------------------------------------------------------

static void open_next(void) {
  Conn *c = &conns[opening_next];
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(ask.port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  char request[1024];
  int size = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
                      ask.path, ask.port, ask.deflate ? "Sec-WebSocket-Extensions: " : "", ask.deflate ? ask.deflate : "", ask.deflate ? "\r\n" : "");
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  int one = 1, buffer = SMALL_BUFFER, segment = SMALL_SEGMENT;
  if (c >= conns + ask.connections - ask.stalled) {
    // As a client far away: the kernel would hold megabytes for one that is near, before the server noticed.
    setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
    setsockopt(c->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
  }
  if (c->fd < 0 || connect(c->fd, (void *)&address, sizeof address)) fail("connect: %s", strerror(errno));
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (send(c->fd, request, size, MSG_NOSIGNAL) != size) fail("sending the handshake: %s", strerror(errno));
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  c->head = calloc(1, 2048);
  // Edge-triggered: a read that does not fill the buffer has emptied the socket.
  struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.u32 = opening_next++};
  epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &event);
}

static void remember_extensions(const char *head) {
  const char *found = strcasestr(head, "\r\nsec-websocket-extensions:");
  if (!found) return;
  found += strlen("\r\nsec-websocket-extensions:");
  found += strspn(found, " ");
  snprintf(agreed, sizeof agreed, "%.*s", (int)strcspn(found, "\r"), found);
}

static void greet(Conn *c) {
  c->skip = ask.skip;
  ready_count += !c->skip;
  if (!ask.greeting) return;
  uint8_t frame[256];
  size_t size = put_frame(frame, 0x80 | TEXT, (const uint8_t *)ask.greeting, strlen(ask.greeting));
  if (send(c->fd, frame, size, MSG_NOSIGNAL) != (ssize_t)size) fail("sending the greeting: %s", strerror(errno));
}

// Takes what belongs to the response's head; what is left of the read belongs to frames.
static size_t read_head(Conn *c, const uint8_t *p, size_t n) {
  for (size_t i = 0; i < n; i++) {
    if (c->head_size == 2047) fail("a response with a head of more than 2 KiB");
    c->head[c->head_size++] = p[i];
    if (c->head_size < 4 || memcmp(c->head + c->head_size - 4, "\r\n\r\n", 4)) continue;
    if (strncmp(c->head, "HTTP/1.1 101", 12)) fail("the handshake was refused: %s", c->head);
    if (!open_count++) remember_extensions(c->head);
    free(c->head);
    c->head = NULL;
    c->open = 1;
    greet(c);
    if (opening_next < ask.connections) open_next();
    return i + 1;
  }
  return n;
}

// --- running --------------------------------------------------------------------------------------------------------------

static void on_readable(Conn *c) {
  static uint8_t buffer[1 << 18];
  for (ssize_t n = sizeof buffer; n == sizeof buffer;) {
    n = recv(c->fd, buffer, sizeof buffer, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) fail("recv: %s", strerror(errno));
    if (n == 0) fail("the server closed a connection");
    read_at = now();
    size_t head = c->open ? 0 : read_head(c, buffer, n);
    int done = parse(c, buffer + head, n - head);
    if (done && !ask.rate) queue(c, done, read_at);
    flush_out(c);
  }
}

static void turn(int timeout_ms) {
  static struct epoll_event events[512];
  int n = epoll_wait(epoll, events, 512, timeout_ms);
  for (int i = 0; i < n; i++) {
    Conn *c = &conns[events[i].data.u32];
    if (events[i].events & ~EPOLLOUT) on_readable(c);
    else if (c->open) flush_out(c);
  }
}

static double open_all(void) {
  double began = now();
  for (int i = 0; i < ask.window && opening_next < ask.connections; i++) open_next();
  while (ready_count < ask.connections) {
    turn(1000);
    if (now() - began > 60) fail("only %d of %d handshakes within a minute", ready_count, ask.connections);
  }
  return ask.connections / (now() - began);
}

static void begin_sending(void) {
  make_cycle(agreed[0] != 0);
  int senders = sends_all ? ask.connections : ask.publishers;
  for (int i = 0; i < ask.connections; i++) {
    Conn *c = &conns[i];
    c->first = malloc(first_length + 128);
    if (i >= senders) continue;
    c->ring = !sends_all ? RING_FANOUT : ask.rate ? RING_OPEN : (unsigned)ask.window;
    c->stamps = calloc(c->ring, sizeof *c->stamps);
    if (!ask.rate) queue(c, ask.window, now()), flush_out(c);
  }
}

static void stall(void) {
  for (int i = ask.connections - ask.stalled; i < ask.connections; i++) epoll_ctl(epoll, EPOLL_CTL_DEL, conns[i].fd, NULL);
}

static void count_what_is_missing(double end) {
  for (Conn *c = conns; c < conns + ask.connections - ask.stalled; c++)
    for (unsigned i = c->answered; i < conns->stamped; i++)
      if (conns->stamps[i % conns->ring] >= measured_from) count_latency(end - conns->stamps[i % conns->ring]);
}

static void send_due(double *next) {
  for (double t = now(); *next <= t; *next += (sends_all ? -log1p(-drand48()) : 1) / ask.rate) {
    Conn *c = &conns[sends_all ? lrand48() % ask.connections : 0];
    queue(c, 1, *next);
    flush_out(c);
  }
}

static double percentile(double part) {
  uint64_t all = 0, seen = 0;
  for (int i = 0; i < TENTHS; i++) all += histogram[i];
  for (int i = 0; i < TENTHS; i++) if ((seen += histogram[i]) >= part * all && seen) return i / 10.0;
  return 0;
}

static double server_seconds(void) {
  double sum = 0;
  for (int i = 0; i < ask.watched_count; i++) sum += seconds_of(ask.watched[i]);
  return sum;
}

static void run(void) {
  double start = now() + ask.warm, end = start + ask.seconds, due = now(), used = 0, t;
  while ((t = now()) < end) {
    if (!measuring && t >= start) measuring = 1, measured_from = start = t, used = server_seconds();
    if (ask.rate) send_due(&due);
    turn(ask.rate ? 0 : 100);
  }
  double took = t - start;
  used = server_seconds() - used;
  if (!sends_all && ask.rate) count_what_is_missing(t);
  else if (!messages) fail("no answer within %.1f s", took);
  printf("{\"per_second\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"wire_bytes\": %.1f, \"cpu_us\": %.3f, \"extensions\": \"%s\"}\n",
         messages / took, percentile(.5), percentile(.99), messages ? (double)wire_bytes / messages : 0,
         messages ? used / messages * 1e6 : 0, agreed);
}

int main(int argc, char **argv) {
  read_arguments(argc, argv);
  struct rlimit limit;
  getrlimit(RLIMIT_NOFILE, &limit);
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
  conns = calloc(ask.connections, sizeof *conns);
  histogram = calloc(TENTHS, sizeof *histogram);
  epoll = epoll_create1(0);
  sends_all = !strcmp(ask.mode, "echo");
  double rate = open_all();
  if (!strcmp(ask.mode, "hold")) {
    char byte;
    printf("{\"handshakes_per_second\": %.1f}\n", rate);
    fflush(stdout);
    return read(0, &byte, 1) < 0;
  }
  if (!sends_all) usleep(300000);  // so that every member has joined
  stall();
  begin_sending();
  run();
}
