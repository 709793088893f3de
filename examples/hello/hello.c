/* The quickstart's app: says hello from inside its pod, and what it sees of it. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char usage[] = "usage: hello [--greet NAME] [--env] [--sleep SECONDS] [--exit CODE]\n";

extern char **environ;

struct options {
    const char *name;
    int show_environment;
    unsigned sleep_seconds;
    int exit_code;
};

/* The number after an option; the program ends here when there is none. */
static int number_after(const char *option, const char *text)
{
    char *end;
    long number = text == NULL ? -1 : strtol(text, &end, 10);

    if (text == NULL || end == text || *end != '\0' || number < 0 || number > INT_MAX) {
        fprintf(stderr, "hello: %s takes a number\n%s", option, usage);
        exit(2);
    }
    return (int)number;
}

static struct options parse(char **argument)
{
    struct options options = {.name = "you"};

    for (; *argument != NULL; argument++) {
        const char *value = argument[1];

        if (strcmp(*argument, "--env") == 0) {
            options.show_environment = 1;
            continue;
        }
        if (strcmp(*argument, "--greet") == 0 && value != NULL)
            options.name = value;
        else if (strcmp(*argument, "--sleep") == 0)
            options.sleep_seconds = (unsigned)number_after(*argument, value);
        else if (strcmp(*argument, "--exit") == 0)
            options.exit_code = number_after(*argument, value);
        else {
            fputs(usage, stderr);
            exit(2);
        }
        argument++;
    }
    return options;
}

int main(int argc, char **argv)
{
    struct options options = parse(argv + (argc > 0));
    char hostname[HOST_NAME_MAX + 1] = "";

    gethostname(hostname, sizeof hostname - 1);
    printf("Hello, %s!\n", options.name);
    printf("I am process %d of pod %s, user %d.\n", (int)getpid(), hostname, (int)getuid());
    if (options.show_environment)
        for (char **variable = environ; *variable != NULL; variable++)
            puts(*variable);
    fflush(stdout);
    sleep(options.sleep_seconds);
    return options.exit_code;
}
