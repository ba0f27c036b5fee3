// An OpenAI-compatible model server for load tests: one thread, epoll, keep-alive. Linux.
//   cc -O2 -o mock mock.c && ./mock PORT
// How it answers is asked for by the first word of the prompt, so that it passes through any gateway:
//   mock-l<ms>               about 1 KB of JSON after <ms>
//   mock-t<ms>-g<ms>-n<N>    stream: first chunk after t, N chunks, g between them
// Each chunk carries '@' and the 16-digit CLOCK_MONOTONIC microsecond at which it was sent.
// GET /mock answers {"requests": N}: completions asked for since the start; any other GET lists the one model.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { EDGE = 4096 };  // bytes at each end of a body in which fields other than the prompt are looked for

typedef struct conn {
  int fd, stream, usage, left, total, gap_us, close_after, closing, slot, want_out;
  unsigned prompt_tokens;
  uint64_t due;
  char *in, *out;
  size_t in_len, in_cap, out_len, out_cap;
} conn;

static int ep;
static conn **heap;  // connections with a timer, the soonest first
static int heap_n, heap_cap;
static unsigned long long requests;
static char lorem[1024];

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

static void put(int i, conn *c) { heap[i] = c; c->slot = i; }
static void sift(int i) {
  conn *c = heap[i];
  while (i > 0 && heap[(i - 1) / 2]->due > c->due) { put(i, heap[(i - 1) / 2]); i = (i - 1) / 2; }
  for (;;) {
    int k = 2 * i + 1;
    if (k >= heap_n) break;
    if (k + 1 < heap_n && heap[k + 1]->due < heap[k]->due) k++;
    if (heap[k]->due >= c->due) break;
    put(i, heap[k]); i = k;
  }
  put(i, c);
}
static void arm(conn *c, uint64_t due) {
  c->due = due;
  if (c->slot < 0) {
    if (heap_n == heap_cap) heap = grown(heap, sizeof *heap * (heap_cap = heap_cap ? heap_cap * 2 : 64));
    put(heap_n++, c);
  }
  sift(c->slot);
}
static void disarm(conn *c) {
  if (c->slot < 0) return;
  int i = c->slot;
  conn *last = heap[--heap_n];
  c->slot = -1;
  if (last != c) { put(i, last); sift(i); }
}

static void drop(conn *c) {
  disarm(c);
  close(c->fd);
  free(c->in); free(c->out); free(c);
}

static void want(conn *c, int out) {
  if (c->want_out == out) return;
  c->want_out = out;
  struct epoll_event e = {.events = EPOLLIN | (out ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
}
static void emit(conn *c, const char *p, size_t n) {
  if (!c->out_len) {
    ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL);
    if (k < 0) k = 0;  // full, or gone: then the read side sees it
    p += k; n -= k;
  }
  if (!n) return;
  if (c->out_len + n > c->out_cap) c->out = grown(c->out, c->out_cap = (c->out_len + n) * 2);
  memcpy(c->out + c->out_len, p, n);
  c->out_len += n;
  want(c, 1);
}
static void flush(conn *c) {
  ssize_t k = send(c->fd, c->out, c->out_len, MSG_NOSIGNAL);
  if (k > 0) { memmove(c->out, c->out + k, c->out_len - k); c->out_len -= k; }
  if (!c->out_len) want(c, 0);
}

#define CHUNK_HEAD "data: {\"id\":\"chatcmpl-mock0000000000000000\",\"object\":\"chat.completion.chunk\"," \
  "\"created\":1700000000,\"model\":\"mock\",\"choices\":["

static void emit_chunk(conn *c) {
  char ev[1000], msg[1100];
  int first = c->left == c->total, n;
  n = sprintf(ev, CHUNK_HEAD "{\"index\":0,\"delta\":{%s\"content\":\"@%016llu token \"},\"finish_reason\":null}]}\n\n",
      first ? "\"role\":\"assistant\"," : "", (unsigned long long)now_us());
  emit(c, msg, sprintf(msg, "%x\r\n%s\r\n", n, ev));
  if (--c->left) return;
  n = sprintf(ev, CHUNK_HEAD "{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
  if (c->usage)
    n += sprintf(ev + n, CHUNK_HEAD "],\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%d,\"total_tokens\":%u}}\n\n",
        c->prompt_tokens, c->total, c->prompt_tokens + c->total);
  n += sprintf(ev + n, "data: [DONE]\n\n");
  emit(c, msg, sprintf(msg, "%x\r\n%s\r\n0\r\n\r\n", n, ev));
}

static void emit_json(conn *c, const char *body, int n) {
  char all[2400];
  int h = sprintf(all, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", n);
  memcpy(all + h, body, n);
  emit(c, all, h + n);
}

static void emit_answer(conn *c) {
  char body[2000];
  int n = sprintf(body, "{\"id\":\"chatcmpl-mock0000000000000000\",\"object\":\"chat.completion\",\"created\":1700000000,"
      "\"model\":\"mock\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"%s\"},"
      "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":160,\"total_tokens\":%u}}",
      lorem, c->prompt_tokens, c->prompt_tokens + 160);
  emit_json(c, body, n);
}

static int serve(conn *c);
static void next(conn *c) {  // an answer is whole
  disarm(c);
  if (!c->close_after) { serve(c); return; }
  c->closing = 1;
  if (!c->out_len) shutdown(c->fd, SHUT_WR);  // the peer's end of file then drops it
}
static void fire(conn *c) {  // a timer is due
  if (c->stream) {
    do emit_chunk(c); while (c->left && !c->gap_us);
    if (c->left) { arm(c, c->due + c->gap_us); return; }
  } else emit_answer(c);
  next(c);
}

static int has(const char *body, const char *end, const char *key) {  // a field, near either end of the body
  size_t n = end - body, k = strlen(key);
  if (n <= 2 * EDGE) return memmem(body, n, key, k) != 0;
  return memmem(end - EDGE, EDGE, key, k) || memmem(body, EDGE, key, k);
}
static int knob(const char *m, const char *end, char key) {  // "-k12" -> 12
  for (; m + 2 < end && *m != '"' && *m != ' '; m++)
    if (m[0] == '-' && m[1] == key) return atoi(m + 2);
  return 0;
}

static int serve(conn *c) {  // take one whole request off the buffer, if it is there
  if (c->slot >= 0 || c->closing || !c->in_len) return 0;
  c->in[c->in_len] = 0;
  char *e = memmem(c->in, c->in_len, "\r\n\r\n", 4);
  if (!e) return 0;
  *e = 0;
  char *cl = strcasestr(c->in, "\r\ncontent-length:");
  int chunked = strcasestr(c->in, "\r\ntransfer-encoding: chunked") != 0;
  c->close_after = strcasestr(c->in, "\r\nconnection: close") != 0;
  *e = '\r';
  char *body = e + 4, *end = body;
  if (chunked) {
    char *z = memmem(body, c->in + c->in_len - body, "0\r\n\r\n", 5);
    if (!z) return 0;
    end = z + 5;
  } else if (cl) {
    end = body + strtoul(cl + 17, 0, 10);
    if (end > c->in + c->in_len) return 0;
  }
  int get = !memcmp(c->in, "GET ", 4), count = !memcmp(c->in, "GET /mock ", 10);
  if (!get) {
    requests++;
    char *m = memmem(body, end - body, "\"mock-", 6);
    m = m ? m + 5 : end;
    c->stream = has(body, end, "\"stream\":true") || has(body, end, "\"stream\": true");
    c->usage = has(body, end, "\"include_usage\":true") || has(body, end, "\"include_usage\": true");
    c->gap_us = knob(m, end, 'g') * 1000;
    c->left = c->total = knob(m, end, 'n') ? knob(m, end, 'n') : 16;
    c->due = now_us() + knob(m, end, c->stream ? 't' : 'l') * 1000;
    c->prompt_tokens = (end - body) / 4;
  }
  memmove(c->in, end, c->in_len -= end - c->in);
  if (get) {
    char about[120];
    emit_json(c, about, count ? sprintf(about, "{\"requests\":%llu}", requests)
        : sprintf(about, "{\"object\":\"list\",\"data\":[{\"id\":\"mock\",\"object\":\"model\"}]}"));
    next(c);
    return 1;
  }
  if (c->stream) {
    static const char h[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        "Transfer-Encoding: chunked\r\n\r\n";
    emit(c, h, sizeof h - 1);
  }
  if (c->due > now_us()) arm(c, c->due);
  else fire(c);
  return 1;
}

int main(int argc, char **argv) {
  int port = argc > 1 ? atoi(argv[1]) : 9101, one = 1;
  signal(SIGPIPE, SIG_IGN);
  for (int n = 0; n < 860;) n += sprintf(lorem + n, "lorem ipsum dolor sit amet ");
  int s = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  if (bind(s, (void *)&a, sizeof a) || listen(s, 4096)) { perror("bind"); return 1; }
  ep = epoll_create1(0);
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = 0}, ev[256];
  epoll_ctl(ep, EPOLL_CTL_ADD, s, &e);
  for (;;) {
    struct timespec t, *tp = 0;
    if (heap_n) {
      uint64_t now = now_us(), d = heap[0]->due > now ? heap[0]->due - now : 0;
      t = (struct timespec){d / 1000000, d % 1000000 * 1000};
      tp = &t;
    }
    int k = epoll_pwait2(ep, ev, 256, tp, 0);
    for (int i = 0; i < k; i++) {
      conn *c = ev[i].data.ptr;
      if (!c) {
        int fd;
        while ((fd = accept4(s, 0, 0, SOCK_NONBLOCK)) >= 0) {
          setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
          c = calloc(1, sizeof *c);
          if (!c) abort();
          c->fd = fd; c->slot = -1;
          c->in = grown(0, (c->in_cap = 8192) + 1);
          e = (struct epoll_event){.events = EPOLLIN, .data.ptr = c};
          epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
        }
        continue;
      }
      if (ev[i].events & EPOLLOUT) {
        flush(c);
        if (c->closing && !c->out_len) shutdown(c->fd, SHUT_WR);
      }
      if (!(ev[i].events & ~EPOLLOUT)) continue;
      if (c->in_cap - c->in_len < 4096) c->in = grown(c->in, (c->in_cap *= 2) + 1);
      ssize_t r = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, 0);
      if (r == 0 || (r < 0 && errno != EAGAIN)) { drop(c); continue; }
      if (r > 0) { c->in_len += r; serve(c); }
    }
    while (heap_n && heap[0]->due <= now_us()) fire(heap[0]);
  }
}
