#include "channel.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

union descriptor_message {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

void send_event(int channel, enum event_kind kind, uint32_t app, int value, const char *text, int fd)
{
	struct event event = {.kind = kind, .app = app, .value = value};
	struct timespec now;
	size_t length = text != NULL ? strnlen(text, sizeof event.text - 1) : 0;
	union descriptor_message control;

	clock_gettime(CLOCK_REALTIME, &now);
	event.seconds = now.tv_sec;
	event.nanoseconds = (int32_t)now.tv_nsec;
	if (text != NULL)
		memcpy(event.text, text, length);
	struct iovec part = {.iov_base = &event, .iov_len = offsetof(struct event, text) + length + 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	if (fd >= 0) {
		memset(&control, 0, sizeof control);
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof control.bytes;
		struct cmsghdr *header = CMSG_FIRSTHDR(&message);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof fd);
		memcpy(CMSG_DATA(header), &fd, sizeof fd);
	}
	/* A supervisor that is gone takes the pod with it; nobody is left to tell. */
	while (sendmsg(channel, &message, MSG_NOSIGNAL) < 0 && errno == EINTR)
		;
}

int receive_event(int channel, struct event *event, int *fd)
{
	union descriptor_message control;
	struct iovec part = {.iov_base = event, .iov_len = sizeof *event - 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
				 .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	memset(event, 0, sizeof *event);
	*fd = -1;
	ssize_t n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	/* Reported once when init ended with an order unread; what it told before is still there. */
	if (n < 0 && errno == ECONNRESET)
		n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < (ssize_t)offsetof(struct event, text))
		return -1;
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);
	if (header != NULL && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof *fd))
		memcpy(fd, CMSG_DATA(header), sizeof *fd);
	return 1;
}

void send_order(int channel, enum order_kind kind, int value)
{
	struct order order = {.kind = kind, .value = value};
	/* Never waits: an init that reads no orders is killed when the grace is over. */
	send(channel, &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int receive_order(int channel, struct order *order)
{
	ssize_t n = recv(channel, order, sizeof *order, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return n == (ssize_t)sizeof *order ? 1 : -1;
}
