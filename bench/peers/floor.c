//go:build ignore

/*
 * The C floor: the least that a UDP responder can do on this machine. It puts one fixed A record into every query, and sends that
 * back: no look-up, no check. "floor PORT" listens on loopback.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { BATCH = 32, ROOM = 2048, HEADER = 12, TAIL = 4 };

static const unsigned char record[16] = "\xC0\x0C\0\1\0\1\0\0\1\x2C\0\4\xC0\0\2\1";

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in names[BATCH];
static unsigned char buffers[BATCH][ROOM];

/* Turns a query of n octets into an answer, and gives its length; 0 is none. */
static size_t answer(unsigned char *b, size_t n)
{
	size_t end = HEADER;

	while (end < n && b[end] != 0)
		end += b[end] + 1;
	end += 1 + TAIL;
	if (end > n || n + sizeof record > ROOM)
		return 0;
	memmove(b + end + sizeof record, b + end, n - end);
	memcpy(b + end, record, sizeof record);
	b[2] |= 0x84;
	b[7] = 1;
	return n + sizeof record;
}

int main(int argc, char **argv)
{
	struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd, n, done, sent;

	if (argc != 2)
		errx(2, "usage: floor PORT");
	here.sin_port = htons((unsigned short)atoi(argv[1]));
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) != 0)
		err(1, "port %s", argv[1]);
	for (int i = 0; i < BATCH; i++) {
		vectors[i].iov_base = buffers[i];
		messages[i].msg_hdr = (struct msghdr){
			.msg_name = &names[i], .msg_namelen = sizeof names[i], .msg_iov = &vectors[i], .msg_iovlen = 1,
		};
	}
	for (;;) {
		for (int i = 0; i < BATCH; i++)
			vectors[i].iov_len = ROOM;
		n = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
		if (n < 0 && errno != EINTR)
			err(1, "receiving");
		for (int i = 0; i < n; i++)
			vectors[i].iov_len = answer(buffers[i], messages[i].msg_len);
		for (done = 0; done < n; done += sent)
			if ((sent = sendmmsg(fd, messages + done, (unsigned)(n - done), 0)) < 0)
				err(1, "sending");
	}
}
