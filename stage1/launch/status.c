#include "status.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "text.h"

/* A reader sees the old file or the new one. Told, not fatal: a full disk must not end a pod. */
static void replace(const char *path, const struct text *content)
{
	char temporary[256];
	struct text t = TEXT_IN(temporary);
	text_add(&t, path);
	text_add(&t, ".new");
	int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd >= 0) {
		ssize_t n = write(fd, content->data, content->length);
		int number = errno;
		close(fd);
		errno = n < 0 ? number : ENOSPC;
		if (n == (ssize_t)content->length && rename(temporary, path) == 0)
			return;
	}
	int number = errno;
	unlink(temporary);
	complain("status file ", path, ": ", error_text(number));
}

static void add_moment(struct text *t, struct moment moment)
{
	text_number(t, moment.seconds, 0, ' ');
	text_add(t, ".");
	text_number(t, moment.nanoseconds, 9, '0');
	text_add(t, "\n");
}

static void add_number(struct text *t, const char *before, long long number)
{
	text_add(t, before);
	text_number(t, number, 0, ' ');
	text_add(t, "\n");
}

void write_pids(pid_t supervisor, pid_t init)
{
	char content[64];
	struct text t = TEXT_IN(content);
	text_number(&t, supervisor, 0, ' ');
	add_number(&t, " ", init);
	replace("pid", &t);
}

void write_moment(const char *file, struct moment moment)
{
	char content[64];
	struct text t = TEXT_IN(content);
	add_moment(&t, moment);
	replace(file, &t);
}

void write_app_status(const char *app, const struct app_status *status)
{
	char path[192], content[192];
	struct text p = TEXT_IN(path), t = TEXT_IN(content);
	text_add(&p, "apps/");
	text_add(&p, app);
	text_add(&p, "/state");
	add_number(&t, "pid=", status->pid);
	text_add(&t, "started=");
	add_moment(&t, status->started);
	if (status->finished.seconds != 0) {
		text_add(&t, "finished=");
		add_moment(&t, status->finished);
		add_number(&t, "exit=", status->code);
	}
	replace(path, &t);
}

void write_exit(int code)
{
	char content[32];
	struct text t = TEXT_IN(content);
	add_number(&t, "", code);
	replace("exit", &t);
}
