import { spawn } from 'node:child_process';
import { beforeEach, describe, expect, it } from 'vitest';
import { leaksSince, readHost } from '../support/host.ts';
import { createInstallation, exitCodeOf } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, program, root } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';

/** Says what its terminal is like, then waits for a line; 3 when interrupted by Ctrl-C. */
const app = buildProgram(`
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
static void interrupted(int signal)
{
    (void)signal;
    _exit(3);
}
int main(void)
{
    struct winsize size;
    char line[64];
    signal(SIGINT, interrupted);
    ioctl(0, TIOCGWINSZ, &size);
    printf("terminal %d, %d by %d, leader %d, %s\\n", isatty(0) && isatty(1) && isatty(2), size.ws_col,
           size.ws_row, tcgetpgrp(0) == getpgrp(), ttyname(0));
    fflush(stdout);
    if (fgets(line, sizeof line, stdin) == NULL)
        return 4;
    printf("got %s", line);
    return 0;
}
`);

/** Runs a command on a pseudo-terminal of 132 by 43; `typed` is typed once the app has spoken. */
async function onTerminal(words: readonly string[], typed: string) {
  const line = `stty cols 132 rows 43; exec ${words.map((word) => `'${word}'`).join(' ')}`;
  const child = spawn('script', ['-qefc', line, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    if (!output.includes('terminal') && (output + text).includes('terminal'))
      child.stdin.write(typed);
    output += text;
  });
  const code = await exitCodeOf(child);
  return { code, output };
}

describe('an interactive pod', () => {
  beforeEach((context) => needs(context, root, program('script'), program('stty')));

  async function setUp(...flags: readonly string[]) {
    const directory = temporaryDirectory();
    const gantry = await createInstallation(directory);
    const reference = await gantry.storeProgram('app', app);
    const before = readHost(gantry.dataDirectory);
    return {
      words: gantry.command('run', '--interactive', ...flags, reference).words,
      leaks: () => leaksSince(before, gantry.dataDirectory),
    };
  }

  it('has a terminal of its own, as large as the one outside, and reads what is typed', async () => {
    const { words, leaks } = await setUp();
    const { code, output } = await onTerminal(words, 'hello\r');
    expect(output).toMatch(/^terminal 1, 132 by 43, leader 1, \/dev\/(pts\/0|console)\r$/m);
    expect(output).toMatch(/^got hello\r$/m);
    expect(code).toBe(0);
    expect(await leaks()).toEqual([]);
  });

  it('gets Ctrl-C as a signal, and its exit code is passed on', async () => {
    const { words, leaks } = await setUp();
    const { code } = await onTerminal(words, '\u0003');
    expect(code).toBe(3);
    expect(await leaks()).toEqual([]);
  });

  it('has a terminal of the host under the chroot flavour', async () => {
    const { words, leaks } = await setUp('--stage1-name=chroot');
    const { code, output } = await onTerminal(words, 'hello\r');
    expect(output).toMatch(/^terminal 1, 132 by 43, leader 1, \/dev\/pts\/\d+\r$/m);
    expect(output).toContain('got hello');
    expect(code).toBe(0);
    expect(await leaks()).toEqual([]);
  });
});
