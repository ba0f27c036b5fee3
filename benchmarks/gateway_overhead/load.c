// A load generator for one HTTP/1.1 endpoint: one thread, epoll, exact percentiles, one JSON line out. Linux.
//   cc -O2 -o load load.c -lm
//   ./load mode=closed target=HOST:PORT path=/v1/x bodies=FILE amount=16 seconds=3 [option=value]... ['header=Name: value']...
// mode    closed  `amount` connections, each sends again when it is answered
//         spread  the same, the connections' first requests spread evenly over one second
//         open    Poisson arrivals, `amount` a second (fixed seed); latency counts from the time the request was due,
//                 so that a stalled server is charged for what it kept waiting (no coordinated omission)
// bodies  one JSON body a line, taken in turn. "#0000000000000000" in a body is replaced by # and a counter from `first`
//         on (default 1), so that no two requests are the same; repeat=1 sends bodies as they are.
// expect  chunks that a whole stream has; a stream with fewer is an error
// drain   seconds to wait for the answers that are on their way at the end (default 5): none is cut, so that what was
//         sent can be compared with what a gateway counted. They count as `late`, not into rates and latencies
//         (mode=open: into latencies).
// Of a stream only chunks with the mock's '@' stamp count, so that no gateway looks fast by an opening of its own:
// ttft (request to first chunk), gap (chunk to chunk, 0 within one read), transit (stamp to arrival here; both ends read
// the same monotonic clock). All in microseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HEAD, LEN, SIZE, DATA, CRLF, TRAILER, TOEOF };
enum { DIGITS = 16 };
typedef struct conn {
  int fd, busy, state, status, close_after, sse, hlen, digits, chunks, want_out;
  size_t left, sent, line;
  uint64_t due, last, stamp;
  char head[4096], counter[DIGITS + 1];
  struct conn *next;
} conn;
typedef struct { char *text; size_t before, len; } line;  // a whole request; the counter stands at `before`
typedef struct { float *v; size_t n, cap; } series;

static series lat, ttft, gap, transit;
static int ep, nconns, max_conns = 4000, inflight, open_loop, repeat, expect = 1;
static conn *idle;
static struct sockaddr_in addr;
static line *lines;
static size_t n_lines, turn;
static unsigned long long counter = 1;
static uint64_t t0, stop_at, n_sent, n_ok, n_late, n_err, n_chunks, all_chunks, n_streams, bytes;
static char first_error[240];
static int first_error_len, first_error_status;

static uint64_t now_us(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}
static void *grown(void *p, size_t n) {
  p = realloc(p, n);
  if (!p) abort();
  return p;
}
static void add(series *s, double x) {
  if (s->n == s->cap) s->v = grown(s->v, sizeof(float) * (s->cap = s->cap ? s->cap * 2 : 4096));
  s->v[s->n++] = x;
}
static int cmp(const void *a, const void *b) { float x = *(float *)a, y = *(float *)b; return (x > y) - (x < y); }
static void show(const char *name, series *s) {
  if (!s->n) return;
  double sum = 0;
  for (size_t i = 0; i < s->n; i++) sum += s->v[i];
  qsort(s->v, s->n, sizeof(float), cmp);
  #define Q(q) s->v[(size_t)((s->n - 1) * q)]
  printf(",\"%s\":{\"n\":%zu,\"mean\":%.0f,\"p50\":%.0f,\"p90\":%.0f,\"p99\":%.0f,\"p999\":%.0f,\"max\":%.0f}",
      name, s->n, sum / s->n, Q(.5), Q(.9), Q(.99), Q(.999), s->v[s->n - 1]);
}

static void failed(const char *why) {
  n_err++;
  if (!first_error_status && !first_error_len) first_error_len = snprintf(first_error, sizeof first_error, "%s", why);
}

static conn *dial(void) {
  int one = 1;
  struct timeval two = {2, 0};
  conn *c = calloc(1, sizeof *c);
  if (!c) abort();
  c->fd = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &two, sizeof two);  // bounds connect
  if (connect(c->fd, (void *)&addr, sizeof addr)) { failed("no connection"); close(c->fd); free(c); return 0; }
  fcntl(c->fd, F_SETFL, O_NONBLOCK);
  setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = c};
  epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
  nconns++;
  return c;
}
static void hangup(conn *c) { close(c->fd); free(c); nconns--; }

static void push(conn *c) {  // write what the socket takes of the request
  line *l = &lines[c->line];
  while (c->sent < l->len) {
    struct iovec all[3] = {{l->text, l->before}, {c->counter, DIGITS}, {l->text + l->before + DIGITS, l->len - l->before - DIGITS}};
    struct iovec *v = all;
    int n = 3;
    if (repeat || l->before == l->len) { all[0].iov_len = l->len; n = 1; }
    size_t skip = c->sent;
    while (skip >= v->iov_len) { skip -= v->iov_len; v++; n--; }
    v->iov_base = (char *)v->iov_base + skip;
    v->iov_len -= skip;
    struct msghdr m = {.msg_iov = v, .msg_iovlen = n};
    ssize_t k = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    if (k < 0) break;  // full; or reset, which the read side sees
    c->sent += k;
  }
  int out = c->sent < l->len;
  if (out == c->want_out) return;
  c->want_out = out;
  struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}

static void fire(conn *c, uint64_t due) {
  c->busy = 1; c->state = HEAD; c->hlen = c->chunks = c->digits = 0; c->due = due; c->last = 0;
  c->line = turn++ % n_lines;
  c->sent = 0;
  snprintf(c->counter, sizeof c->counter, "%016llu", counter++ % 10000000000000000ull);
  inflight++;
  n_sent++;
  push(c);
}

static void scan(conn *c, const char *p, size_t n, uint64_t now) {
  int fresh = 1;
  int counted = now < stop_at;
  bytes += n;
  if (c->status != 200 && !n_err) {
    first_error_status = c->status;
    for (size_t i = 0; i < n && first_error_len < (int)sizeof first_error - 1; i++)
      first_error[first_error_len++] = p[i];
  }
  if (!c->sse) return;
  for (size_t i = 0; i < n; i++) {
    char ch = p[i];
    if (ch == '@') { c->digits = 1; c->stamp = 0; continue; }
    if (!c->digits) continue;
    if (ch < '0' || ch > '9') { c->digits = 0; continue; }
    c->stamp = c->stamp * 10 + ch - '0';
    if (++c->digits <= DIGITS) continue;
    c->digits = 0;
    all_chunks++;
    if (!c->chunks++) { if (counted || open_loop) add(&ttft, now - c->due); }
    else if (counted) add(&gap, fresh ? now - c->last : 0);
    if (counted) { add(&transit, now - c->stamp); n_chunks++; }
    fresh = 0;
    c->last = now;
  }
}

static int head_done(conn *c) {
  c->head[c->hlen] = 0;
  c->status = atoi(c->head + 9);
  c->sse = strcasestr(c->head, "text/event-stream") != 0;
  c->close_after = strcasestr(c->head, "\r\nconnection: close") != 0;
  char *l = strcasestr(c->head, "\r\ncontent-length:");
  if (strcasestr(c->head, "\r\ntransfer-encoding: chunked")) { c->state = SIZE; c->left = 0; c->hlen = 0; }
  else if (l) { c->state = LEN; c->left = strtoul(l + 17, 0, 10); }
  else { c->state = TOEOF; c->close_after = 1; }
  return c->state == LEN && !c->left;
}
// returns 1 when the answer is whole, -1 for what is no HTTP
static int feed(conn *c, const char *p, size_t n, uint64_t now) {
  const char *end = p + n;
  while (p < end) {
    size_t k = end - p;
    switch (c->state) {
    case HEAD:
      if (c->hlen >= (int)sizeof c->head - 1) return -1;
      c->head[c->hlen++] = *p++;
      if (c->hlen >= 4 && !memcmp(c->head + c->hlen - 4, "\r\n\r\n", 4) && head_done(c)) return 1;
      break;
    case LEN: case DATA:
      if (k > c->left) k = c->left;
      scan(c, p, k, now);
      p += k;
      if (!(c->left -= k)) { if (c->state == LEN) return 1; c->state = CRLF; }
      break;
    case CRLF:
      if (*p++ == '\n') { c->state = SIZE; c->hlen = 0; }
      break;
    case SIZE:
      if (c->hlen >= (int)sizeof c->head - 1) return -1;
      c->head[c->hlen++] = *p;
      if (*p++ == '\n') {
        c->head[c->hlen] = 0;
        c->left = strtoul(c->head, 0, 16);
        c->state = c->left ? DATA : TRAILER;
        c->hlen = 0;
      }
      break;
    case TRAILER:
      if (*p++ == '\n') { if (c->hlen <= 1) return 1; c->hlen = 0; } else c->hlen++;
      break;
    case TOEOF: scan(c, p, k, now); p = end; break;
    }
  }
  return 0;
}

static const char *option(int argc, char **argv, const char *name, const char *otherwise) {
  size_t n = strlen(name);
  for (int i = 1; i < argc; i++)
    if (!strncmp(argv[i], name, n) && argv[i][n] == '=') return argv[i] + n + 1;
  if (!otherwise) { fprintf(stderr, "load: %s= is missing; see the head of load.c\n", name); exit(2); }
  return otherwise;
}

static void read_bodies(int argc, char **argv, const char *file, const char *path, const char *host, const char *port) {
  static const char mark[] = "#0000000000000000";
  FILE *f = fopen(file, "rb");
  if (!f) { perror(file); exit(2); }
  char *body = 0;
  size_t cap = 0;
  ssize_t n;
  while ((n = getline(&body, &cap, f)) >= 0) {
    if (n && body[n - 1] == '\n') n--;
    if (!n) continue;
    lines = grown(lines, sizeof *lines * (n_lines + 1));
    line *l = &lines[n_lines++];
    size_t room = n + 2048;
    for (int i = 1; i < argc; i++) room += strlen(argv[i]);
    l->text = grown(0, room);
    l->len = sprintf(l->text, "POST %s HTTP/1.1\r\nHost: %s:%s\r\nContent-Type: application/json\r\nContent-Length: %zd\r\n",
        path, host, port, n);
    for (int i = 1; i < argc; i++)
      if (!strncmp(argv[i], "header=", 7)) l->len += sprintf(l->text + l->len, "%s\r\n", argv[i] + 7);
    l->len += sprintf(l->text + l->len, "\r\n");
    char *m = memmem(body, n, mark, sizeof mark - 1);
    l->before = m ? l->len + (m - body) + 1 : l->len + n;
    memcpy(l->text + l->len, body, n);
    l->len += n;
  }
  free(body);
  fclose(f);
  if (!n_lines) { fprintf(stderr, "load: %s holds no body\n", file); exit(2); }
}

int main(int argc, char **argv) {
  signal(SIGPIPE, SIG_IGN);
  const char *mode = option(argc, argv, "mode", 0);
  open_loop = !strcmp(mode, "open");
  char target[64], *colon;
  snprintf(target, sizeof target, "%s", option(argc, argv, "target", 0));
  if (!(colon = strchr(target, ':'))) return fprintf(stderr, "load: target is HOST:PORT\n"), 2;
  *colon = 0;
  addr.sin_family = AF_INET; addr.sin_port = htons(atoi(colon + 1));
  inet_pton(AF_INET, target, &addr.sin_addr);
  double amount = atof(option(argc, argv, "amount", 0)), secs = atof(option(argc, argv, "seconds", 0));
  counter = strtoull(option(argc, argv, "first", "1"), 0, 10);
  repeat = atoi(option(argc, argv, "repeat", "0"));
  expect = atoi(option(argc, argv, "expect", "1"));
  uint64_t drain_us = atof(option(argc, argv, "drain", "5")) * 1e6;
  read_bodies(argc, argv, option(argc, argv, "bodies", 0), option(argc, argv, "path", 0), target, colon + 1);
  ep = epoll_create1(0);
  srand48(42);
  t0 = now_us(); stop_at = t0 + secs * 1e6;
  double next = t0;
  size_t started = 0;
  int conns = open_loop ? 0 : amount;
  static char buf[1 << 18];
  struct epoll_event ev[256];
  uint64_t spread = !strcmp(mode, "spread") && conns ? 1000000 / conns : 0;
  for (;;) {
    uint64_t now = now_us(), wake = stop_at;
    if (now < stop_at) {
      if (open_loop) {
        while (next <= now && next < stop_at) {
          conn *c = idle;
          if (c) idle = c->next; else if (nconns < max_conns) c = dial(); else failed("too many connections");
          if (c) fire(c, next);
          next += -log(1 - drand48()) * 1e6 / amount;
        }
        if (next < stop_at) wake = next;
      } else {
        while (started < (size_t)conns && now >= t0 + started * spread) {
          conn *c = dial();
          started++;
          if (c) fire(c, now_us());
        }
        if (started < (size_t)conns) wake = t0 + started * spread;
      }
    } else {
      if (!inflight || now > stop_at + drain_us) break;
      wake = stop_at + drain_us;
    }
    uint64_t d = wake > now ? wake - now : 0;
    struct timespec t = {d / 1000000, d % 1000000 * 1000};
    int k = epoll_pwait2(ep, ev, 256, &t, 0);
    for (int i = 0; i < k; i++) {
      conn *c = ev[i].data.ptr;
      if (ev[i].events & EPOLLOUT) push(c);
      if (!(ev[i].events & ~EPOLLOUT)) continue;
      ssize_t r = recv(c->fd, buf, sizeof buf, 0);
      if (r < 0 && errno == EAGAIN) continue;
      now = now_us();
      int done = r > 0 ? feed(c, buf, r, now) : c->busy && c->state == TOEOF && r == 0 ? 1 : -1;
      if (!done) continue;
      if (!c->busy) {  // an idle connection was closed by the server
        for (conn **q = &idle; *q; q = &(*q)->next) if (*q == c) { *q = c->next; break; }
        hangup(c);
        continue;
      }
      c->busy = 0; inflight--;
      if (done < 0) failed(r <= 0 ? "the connection was cut" : "no HTTP");
      else if (c->status != 200) failed("");
      else if (c->sse && c->chunks < expect) { failed("a stream lacks chunks"); done = -1; }
      else {
        if (now < stop_at) n_ok++; else n_late++;
        if (c->sse) n_streams++;
        if (now < stop_at || open_loop) add(&lat, now - c->due);
      }
      if (done < 0 || c->close_after || c->sent < lines[c->line].len) { hangup(c); c = 0; }
      if (open_loop || now >= stop_at) { if (c) { c->next = idle; idle = c; } }
      else { if (!c) c = dial(); if (c) fire(c, now_us()); }
    }
  }
  uint64_t n_done = open_loop ? n_ok + n_late : n_ok;
  printf("{\"sent\":%llu,\"ok\":%llu,\"late\":%llu,\"err\":%llu,\"unfinished\":%d,\"secs\":%.3f,\"rps\":%.1f,"
      "\"chunks\":%llu,\"chunks_s\":%.1f,\"streams\":%llu,\"mb_s\":%.2f,\"error\":\"",
      (unsigned long long)n_sent, (unsigned long long)n_ok, (unsigned long long)n_late, (unsigned long long)n_err, inflight,
      secs, n_done / secs, (unsigned long long)all_chunks, n_chunks / secs, (unsigned long long)n_streams, bytes / secs / 1e6);
  if (first_error_status) printf("status %d: ", first_error_status);
  for (int i = 0; i < first_error_len && i < (int)sizeof first_error; i++) {
    unsigned char ch = first_error[i];
    if (ch == '"' || ch == '\\') putchar('\\');
    putchar(ch < ' ' || ch > '~' ? ' ' : ch);
  }
  putchar('"');
  show("lat", &lat); show("ttft", &ttft); show("gap", &gap); show("transit", &transit);
  printf("}\n");
  return 0;
}
