/* hand -- plays nginx's part of a handover (realtime/handover.c), rightly and wrongly: Node cannot send descriptors.
 *
 *     hand GATEWAY-SOCKET HOW
 *
 * Opens a WebSocket that it offers to hand over, and then, after the 101, does what HOW says.  Prints, word by word, what
 * it is told: on the gateway's socket (here) and on the connection that it gave away (there). */
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char REQUEST[] =
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Real-IP: 192.0.2.7\r\nX-Handover: yes\r\n\r\n";
static const char CONNECT[] = {(char)0x81, (char)0x82, 0, 0, 0, 0, '4', '0'}; /* a client's frame */

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

/* What comes next within MS, as much as is there: its length, 0 at the end, -1 when nothing comes. */
static ssize_t
hear(int fd, char *data, size_t room, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    if (poll(&p, 1, ms) <= 0)
        return -1;
    ssize_t n = recv(fd, data, room, 0);
    return n > 0 ? n : 0;
}

/* Says what the next frame there begins with. */
static void
tell(const char *where, int fd)
{
    unsigned char head[4];
    char          data[4096];
    ssize_t       n = hear(fd, (char *)head, 2, 4000);
    size_t        len = head[1];

    if (n == 2 && len == 126 && recv(fd, head + 2, 2, MSG_WAITALL) == 2)
        len = (size_t)head[2] << 8 | head[3];
    if (n != 2)
        printf("%s:%s ", where, n == 0 ? "closed" : "nothing");
    else if (len < 2 || len > sizeof(data) || recv(fd, data, len, MSG_WAITALL) != (ssize_t)len)
        printf("%s:rubbish ", where);
    else
        printf("%s:%.2s ", where, data);
}

static void
give(int to, const int *fds, size_t n)
{
    union {
        struct cmsghdr head;
        char           room[CMSG_SPACE(4 * sizeof(int))];
    } control = {0};
    char           byte = 0;
    struct iovec   iov = {.iov_base = &byte, .iov_len = 1};
    struct msghdr  message = {
         .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room, .msg_controllen = CMSG_SPACE(n * sizeof(int))};
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&message);

    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(n * sizeof(int));
    memcpy(CMSG_DATA(cmsg), fds, n * sizeof(int));
    if (sendmsg(to, &message, MSG_NOSIGNAL) != 1)
        die("sendmsg");
}

int
main(int argc, char **argv)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char               data[4096];
    int                pair[2];

    if (argc != 3) {
        fputs("usage: hand GATEWAY-SOCKET HOW\n", stderr);
        return 2;
    }
    const char *how = argv[2];
    bool        datagram = strcmp(how, "datagram") == 0;
    snprintf(at.sun_path, sizeof(at.sun_path), "%s", argv[1]);
    int here = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (here < 0 || connect(here, (struct sockaddr *)&at, sizeof(at)) < 0)
        die(argv[1]);
    if (socketpair(AF_UNIX, datagram ? SOCK_DGRAM : SOCK_STREAM, 0, pair) < 0)
        die("socketpair");
    int there = pair[0], given[2] = {pair[1], pair[1]};

    if (send(here, REQUEST, sizeof(REQUEST) - 1, MSG_NOSIGNAL) < 0)
        die("send");
    ssize_t n = hear(here, data, sizeof(data) - 1, 4000);
    data[n > 0 ? n : 0] = '\0';
    printf("%.3s %s ", n > 12 ? data + 9 : "-", strcasestr(data, "\r\nx-handover: yes\r\n") ? "accepted" : "not-accepted");
    if (strcmp(how, "silence") == 0) {
        printf("%s ", hear(here, data, 0, 300) < 0 ? "silent" : "speaks");
        tell("here", here);
    } else if (strcmp(how, "data") == 0) {
        send(here, CONNECT, sizeof(CONNECT), MSG_NOSIGNAL);
        tell("here", here);
        tell("here", here);
    } else if (strcmp(how, "right") == 0 || strcmp(how, "two") == 0 || datagram) {
        give(here, given, strcmp(how, "two") == 0 ? 2 : 1);
        close(given[0]);
        close(here);
        tell("there", there);
        send(there, CONNECT, sizeof(CONNECT), MSG_NOSIGNAL);
        tell("there", there);
    } else if (strcmp(how, "early") == 0) { /* the client has said something before it was given away */
        send(there, CONNECT, sizeof(CONNECT), MSG_NOSIGNAL);
        give(here, given, 1);
        close(given[0]);
        tell("there", there);
        tell("there", there);
    } else if (strcmp(how, "file") == 0) {
        int file = open("/dev/null", O_RDONLY);
        give(here, &file, 1);
        tell("here", here);
    } else if (strcmp(how, "late") == 0) {
        tell("here", here);
        give(here, given, 1);
        close(given[0]);
        while (hear(here, data, sizeof(data), 4000) > 0)
            ;
        tell("there", there);
    } /* "gone": it leaves */
    putchar('\n');
    return 0;
}
