/*
 * The bench's stopwatch: runs a command and writes "NANOSECONDS PEAK_KIBIBYTES STATUS" to
 * descriptor 3. Small and static, because what starts a process is part of what is measured: a fork
 * from a large process such as Node costs more than one from here.
 *
 * The peak is ru_maxrss, the kernel's VmHWM over the command and all the children it waited for.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>

extern char **environ;

static long long nanoseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

int main(int argc, char **argv)
{
    posix_spawn_file_actions_t actions;
    struct rusage usage;
    long long started, ended;
    int error, status;
    pid_t pid;

    if (argc < 2)
        return 2;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addclose(&actions, 3);
    started = nanoseconds();
    error = posix_spawnp(&pid, argv[1], &actions, NULL, argv + 1, environ);
    if (error != 0) {
        fprintf(stderr, "measure: %s: %s\n", argv[1], strerror(error));
        return 127;
    }
    while (wait4(pid, &status, 0, &usage) < 0)
        if (errno != EINTR)
            return 126;
    ended = nanoseconds();
    dprintf(3, "%lld %ld %d\n", ended - started, usage.ru_maxrss,
            WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    return 0;
}
