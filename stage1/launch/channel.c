#include "channel.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

union descriptor_message {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static void read_attached(struct msghdr *message, struct attached *attached)
{
	struct ucred sender;
	*attached = (struct attached){.fd = -1};
	for (struct cmsghdr *h = CMSG_FIRSTHDR(message); h != NULL; h = CMSG_NXTHDR(message, h)) {
		if (h->cmsg_level != SOL_SOCKET)
			continue;
		if (h->cmsg_type == SCM_RIGHTS && h->cmsg_len == CMSG_LEN(sizeof attached->fd)) {
			memcpy(&attached->fd, CMSG_DATA(h), sizeof attached->fd);
		} else if (h->cmsg_type == SCM_CREDENTIALS && h->cmsg_len == CMSG_LEN(sizeof sender)) {
			memcpy(&sender, CMSG_DATA(h), sizeof sender);
			attached->sender = sender.pid;
		}
	}
}

ssize_t send_one(int socket, const void *data, size_t length, int fd)
{
	union descriptor_message control;
	struct iovec part = {.iov_base = (void *)data, .iov_len = length};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	ssize_t n;
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
	while ((n = sendmsg(socket, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	return n;
}

ssize_t receive_one(int socket, void *data, size_t room, int *fd)
{
	union descriptor_message control;
	struct iovec part = {.iov_base = data, .iov_len = room};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
				 .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	struct attached attached = {.fd = -1};
	ssize_t n = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n >= 0)
		read_attached(&message, &attached);
	*fd = attached.fd;
	return n;
}

void send_event(int channel, enum event_kind kind, uint32_t app, int value, const char *text, int fd)
{
	struct event event = {.kind = kind, .app = app, .value = value};
	struct timespec now;
	size_t length = text != NULL ? strnlen(text, sizeof event.text - 1) : 0;

	clock_gettime(CLOCK_REALTIME, &now);
	event.seconds = now.tv_sec;
	event.nanoseconds = (int32_t)now.tv_nsec;
	if (text != NULL)
		memcpy(event.text, text, length);
	/* A supervisor that is gone takes the pod with it; nobody is left to tell. */
	send_one(channel, &event, offsetof(struct event, text) + length + 1, fd);
}

int open_channel(int ends[2])
{
	const int on = 1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -1;
	return setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof on);
}

int receive_event(int channel, struct event *event, struct attached *attached)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int)) + CMSG_SPACE(sizeof(struct ucred))];
		struct cmsghdr align;
	} control;
	struct iovec part = {.iov_base = event, .iov_len = sizeof *event - 1};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
				 .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	memset(event, 0, sizeof *event);
	ssize_t n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	/* Reported once when init ended with an order unread; what it told before is still there. */
	if (n < 0 && errno == ECONNRESET) {
		message.msg_controllen = sizeof control.bytes;
		n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	}
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n < (ssize_t)offsetof(struct event, text))
		return -1;
	read_attached(&message, attached);
	return 1;
}

void send_order(int channel, enum order_kind kind, int value)
{
	const struct order order = {.kind = kind, .value = value};
	/* Never waits: an init that reads no orders is killed when the grace is over. */
	send(channel, &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int send_app_stop(int channel, size_t app)
{
	const struct order order = {.kind = ORDER_STOP_APP, .app = (uint32_t)app};
	return send(channel, &order, sizeof order, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)sizeof order ? 0 : -1;
}

union descriptors_message {
	char bytes[CMSG_SPACE(MAX_ATTACHED * sizeof(int))];
	struct cmsghdr align;
};

int send_with(int channel, const struct order *order, const int *fds, size_t count)
{
	union descriptors_message control;
	struct iovec part = {.iov_base = (void *)order, .iov_len = sizeof *order};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
	memset(&control, 0, sizeof control);
	if (count > 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(count * sizeof *fds);
	}
	struct cmsghdr *header = &control.align;
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(count * sizeof *fds);
	memcpy(CMSG_DATA(header), fds, count * sizeof *fds);
	ssize_t n;
	while ((n = sendmsg(channel, &message, MSG_NOSIGNAL)) < 0 && errno == EINTR)
		;
	return n == (ssize_t)sizeof *order ? 0 : -1;
}

int receive_order(int channel, struct order *order, int fds[MAX_ATTACHED], size_t *count)
{
	union descriptors_message control;
	struct iovec part = {.iov_base = order, .iov_len = sizeof *order};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1,
				 .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	*count = 0;
	ssize_t n = recvmsg(channel, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	if (n != (ssize_t)sizeof *order)
		return -1;
	for (struct cmsghdr *h = CMSG_FIRSTHDR(&message); h != NULL; h = CMSG_NXTHDR(&message, h))
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
			*count = (h->cmsg_len - CMSG_LEN(0)) / sizeof *fds;
			memcpy(fds, CMSG_DATA(h), *count * sizeof *fds);
		}
	return 1;
}
