#include "identity.h"

#include <errno.h>
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

int perform_hostname(struct launch *launch, const struct step *step)
{
	(void)launch;
	return outcome(sethostname(step->argv[0], strlen(step->argv[0])));
}

int perform_loopback(struct launch *launch, const struct step *step)
{
	(void)launch, (void)step;
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	int status = outcome(ioctl(fd, SIOCSIFFLAGS, &request));
	close(fd);
	return status;
}
