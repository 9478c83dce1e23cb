/* least -- the least that telling N subscribers of a bid can cost: who does nothing else.
 *
 *     least UNIX-SOCKET|PORT N FRAMES [asked]
 *
 * Takes N WebSockets in, says what a Socket.IO client waits for (it understands no more than the load
 * driver's subscribers do), and then, 20 times a second, writes one bid's frame to all of them, one
 * send() each.  Prints for each frame its amount in paise and the nanoseconds (CLOCK_MONOTONIC) before
 * and after; when asked, it writes one whenever it reads a line, instead.  fanout.js puts it in the gateway's place. */
#include "codec.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MAX_FD    65536
#define FRAME_LEN 348 /* of the gateway's, for a bid */
#define SPACE_NS  50000000

static bool upgraded[MAX_FD];
static int  member[MAX_FD];
static int  n_members;

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static int64_t
now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int
listen_at(const char *where)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in tcp = {.sin_family = AF_INET,
                              .sin_port = htons((uint16_t)strtoul(where, NULL, 10)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool  is_path = strchr(where, '/') != NULL;
    int   fd = socket(is_path ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    if (fd < 0)
        die("socket");
    if (is_path) {
        snprintf(local.sun_path, sizeof(local.sun_path), "%s", where);
        unlink(where);
        if (bind(fd, (struct sockaddr *)&local, sizeof(local)) < 0)
            die(where);
    } else {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        if (bind(fd, (struct sockaddr *)&tcp, sizeof(tcp)) < 0)
            die(where);
    }
    if (listen(fd, 4096) < 0)
        die("listen");
    return fd;
}

/* A WebSocket's text frame of text; its length. */
static size_t
frame(char *out, const char *text, size_t len)
{
    size_t head = len < 126 ? 2 : 4;

    out[0] = (char)0x81;
    out[1] = (char)(len < 126 ? len : 126);
    if (head == 4) {
        out[2] = (char)(len >> 8);
        out[3] = (char)(len & 255);
    }
    memcpy(out + head, text, len);
    return head + len;
}

static void
say(int fd, const char *text)
{
    char   out[256];
    size_t len = frame(out, text, strlen(text));

    if (send(fd, out, len, MSG_NOSIGNAL) < 0)
        die("send");
}

static void
upgrade(int fd, const char *request)
{
    const char   *key = strcasestr(request, "sec-websocket-key: ");
    char          text[64], accept[32], answer[256];
    unsigned char hash[SHA_DIGEST_LENGTH];

    if (!key)
        die("no WebSocket");
    int n = snprintf(text, sizeof(text), "%.24s258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key + 19);
    SHA1((const unsigned char *)text, (size_t)n, hash);
    n = (int)codec_base64_encode(accept, hash, sizeof(hash));
    n = snprintf(answer, sizeof(answer),
                 "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                 "Sec-WebSocket-Accept: %.*s\r\n\r\n",
                 n, accept);
    if (send(fd, answer, (size_t)n, MSG_NOSIGNAL) < 0)
        die("send");
    upgraded[fd] = true;
    say(fd, "0{\"sid\":\"least\",\"upgrades\":[],\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}");
}

/* Short frames, masked with nothing, whole: as the driver's subscribers send them. */
static void
hear(int fd, const char *data, size_t len)
{
    for (size_t at = 0; at + 8 < len + 1;) {
        size_t n = (unsigned char)data[at + 1] & 127, head = 6;
        if (n == 126) {
            n = (size_t)(unsigned char)data[at + 2] << 8 | (unsigned char)data[at + 3];
            head = 8;
        }
        const char *text = data + at + head;
        if (strncmp(text, "40", 2) == 0)
            say(fd, "40{\"sid\":\"least\"}");
        else if (strncmp(text, "420", 3) == 0) {
            say(fd, "430[{\"success\":true}]");
            member[n_members++] = fd;
        }
        at += head + n;
    }
}

static void
take_in(int listener, int wanted)
{
    int                epoll = epoll_create1(EPOLL_CLOEXEC), on = 1;
    struct epoll_event e = {.events = EPOLLIN, .data.fd = listener}, some[64];
    char               data[4096];

    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &e);
    while (n_members < wanted) {
        int n = epoll_wait(epoll, some, 64, -1);
        for (int i = 0; i < n; i++) {
            int fd = some[i].data.fd;
            if (fd == listener) {
                fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (fd < 0 || fd >= MAX_FD)
                    die("accept");
                setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
                e.data.fd = fd;
                epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e);
                continue;
            }
            ssize_t len = recv(fd, data, sizeof(data) - 1, 0);
            if (len <= 0)
                die("a subscriber left");
            data[len] = '\0';
            if (upgraded[fd])
                hear(fd, data, (size_t)len);
            else
                upgrade(fd, data);
        }
    }
    close(epoll);
}

static void
tell_all(int rupees, bool asked)
{
    char text[FRAME_LEN + 1], out[FRAME_LEN + 8];
    int  n = snprintf(text, sizeof(text), "42[\"new_bid\",{\"newHighestBid\":%d,\"rest\":\"", rupees);

    memset(text + n, '-', (size_t)(FRAME_LEN - n - 3));
    memcpy(text + FRAME_LEN - 3, "\"}]", 3);
    size_t  len = frame(out, text, FRAME_LEN);
    int64_t before = now_ns();
    for (int i = 0; i < n_members; i++)
        if (send(member[i], out, len, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN)
            die("send");
    int64_t after = now_ns();
    printf("%d %lld %lld\n", rupees * 100, (long long)before, (long long)after);
    fflush(stdout);
    if (asked)
        return;
    struct timespec rest = {.tv_nsec = after - before < SPACE_NS ? SPACE_NS - (after - before) : 0};
    nanosleep(&rest, NULL);
}

int
main(int argc, char **argv)
{
    bool asked = argc == 5 && strcmp(argv[4], "asked") == 0;
    if (argc != 4 && !asked) {
        fputs("usage: least UNIX-SOCKET|PORT N FRAMES [asked]\n", stderr);
        return 2;
    }
    take_in(listen_at(argv[1]), (int)strtol(argv[2], NULL, 10));
    sleep(1);
    for (int i = 0; i < (int)strtol(argv[3], NULL, 10); i++) {
        if (asked && getchar() == EOF)
            return 0;
        tell_all(1000 + i, asked);
    }
    sleep(60); /* until it is told to go */
    return 0;
}
