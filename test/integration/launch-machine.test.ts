import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';
import { type Ending, encodeSteps, LaunchPod, podSteps, type Step } from './launch/pods.ts';

/** In the place of QEMU, with the machine's end of the port at descriptor 3: sends what its arguments say. */
const machine = buildProgram(`
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
struct frame { uint8_t kind, stream; uint16_t session; uint32_t length; };
struct event { uint32_t kind, app; int32_t value; };
static char zeros[65536], sent[131072];
static size_t filled;
static void put(int kind, int stream, int session, uint32_t claimed, const void *bytes, size_t length)
{
    struct frame frame = {kind, stream, session, claimed};
    memcpy(sent + filled, &frame, sizeof frame);
    memcpy(sent + filled + sizeof frame, bytes, length);
    filled += sizeof frame + length;
}
/* At once, so that the host reads it at once. */
static void flush(void)
{
    write(3, sent, filled);
    filled = 0;
}
int main(int argc, char **argv)
{
    for (int i = 1; i + 2 < argc; i += 3) {
        long a = strtol(argv[i + 1], NULL, 0), b = strtol(argv[i + 2], NULL, 0);
        struct event event = {a, 0, b};
        if (strcmp(argv[i], "event") == 0)
            put(2, 0, 0, sizeof event, &event, sizeof event);
        else if (strcmp(argv[i], "app") == 0)
            event.app = a, event.kind = b, put(2, 0, 0, sizeof event, &event, sizeof event);
        else if (strcmp(argv[i], "short") == 0)
            put(2, 0, 0, 4, &event, 4);
        else if (strcmp(argv[i], "kind") == 0)
            put(a, 0, b, 4, zeros, 4);
        else if (strcmp(argv[i], "long") == 0)
            put(5, 1, 0, a, zeros, 0);
        else if (strcmp(argv[i], "data") == 0)
            put(5, a, 0, b, zeros, b);
        else if (strcmp(argv[i], "print") == 0)
            put(5, a, 0, 6, "hello\\n", 6);
        else if (strcmp(argv[i], "credit") == 0)
            put(7, a, 0, 4, &b, 4);
        else if (strcmp(argv[i], "say") == 0)
            write(2, "\\033[2Jold\\n", 8);
        else if (strcmp(argv[i], "hang") == 0)
            close(a), usleep(b * 1000);
        else if (strcmp(argv[i], "serve") == 0) { /* in the place of virtiofsd: one question */
            int asked = accept(3, NULL, NULL);
            char byte;
            if (read(asked, &byte, 1) != 1)
                return 0;
            write(asked, byte == '?' ? "!" : "-", 1);
        } else if (strcmp(argv[i], "ask") == 0) {
            char byte = 0;
            if (write(5, "?", 1) != 1 || read(5, &byte, 1) != 1 || byte != '!')
                return 2;
        } else if (strcmp(argv[i], "others") == 0) { /* what else is open */
            for (int fd = 3 + a; fd < 100; fd++)
                if (fcntl(fd, F_GETFD) >= 0)
                    return 3;
        } else if (strcmp(argv[i], "fail") == 0) {
            char text[64];
            memcpy(text, &(struct event){3, 0, 0}, 12);
            strcpy(text + 12, "bad\\033[2J\\nmore");
            put(2, 0, 0, 12 + strlen(text + 12), text, 12 + strlen(text + 12));
        } else if (strcmp(argv[i], "tell") == 0) {
            char text[64];
            memcpy(text, &(struct event){10, 0, 0}, 12);
            strcpy(text + 12, "odd\\033[2J\\n!");
            for (; a > 0; a--)
                put(2, 0, 0, 12 + strlen(text + 12), text, 12 + strlen(text + 12));
        } else if (strcmp(argv[i], "exit") == 0)
            return flush(), a;
        else if (strcmp(argv[i], "close") == 0)
            flush(), close(3);
    }
    flush();
    pause();
}
`);

const native =
  process.env['GANTRY_STAGE1'] ?? join(import.meta.dirname, '../../dist/stage1/native');
const kvm = join(dirname(native), 'kvm');
const TOLD = 'gantry: run: odd?[2J?!\n';
const BREACH = 'gantry: run: the machine does not keep to the protocol, and was ended\n';

/** Event kinds of the pod's init (stage1/launch/channel.h). */
const EVENT = { here: '2', setUp: '4', started: '5', ready: '6', exited: '7', ended: '9' };

/** Runs a pod whose machine sends this, three words each. */
function runMachine(...words: string[]): Promise<Ending & { pod: LaunchPod }> {
  return runOutside([
    ['section', 'outside'],
    ['private-mounts'],
    ['exec', machine, 'qemu', ...words],
  ]);
}

async function runOutside(outside: readonly Step[]): Promise<Ending & { pod: LaunchPod }> {
  const pod = new LaunchPod({ apps: { web: { do: [] } } });
  const steps: Step[] = podSteps(pod.image, { apps: { web: { do: [] } } });
  const at = steps.findIndex(([word, kind]) => word === 'section' && kind === 'pod');
  pod.writePlan(encodeSteps([...steps.slice(0, at), ...outside, ...steps.slice(at)]));
  return { ...(await pod.run({ stage1: kvm })), pod };
}

describe('what comes out of a machine', () => {
  beforeEach((context) => needs(context, root));

  it('tells how its pod fares', async () => {
    const { code, stdout, stderr, pod } = await runMachine(
      ...['event', EVENT.setUp, '0', 'event', EVENT.started, '2', 'event', EVENT.ready, '0'],
      ...['print', '1', '0', 'print', '2', '0'],
      ...['event', EVENT.exited, '9', 'event', EVENT.ended, '9'],
    );
    expect({ code, stdout, stderr }).toEqual({ code: 9, stdout: 'hello\n', stderr: 'hello\n' });
    expect(pod.status('apps/web/state')).toMatch(/^pid=2\n.*exit=9\n$/s);
    expect(pod.status('exit')).toBe('9\n');
  });

  it.each([
    ['a frame longer than any', ['long', '65537', '0']],
    ['a frame of no known kind', ['kind', '200', '0']],
    ['what only the host says', ['kind', '3', '0']],
    ['a session nobody opened', ['kind', '9', '1']],
    ['a session there cannot be', ['kind', '9', '65535']],
    ['an event that is cut short', ['short', '0', '0']],
    ['an event of no known kind', ['event', '99', '0']],
    ["the host's own event", ['event', EVENT.here, '0']],
    ['an app the pod does not have', ['app', '1', EVENT.started]],
    ['an app that starts twice', ['event', EVENT.started, '2', 'event', EVENT.started, '3']],
    ['a pod that is ready twice', ['event', EVENT.ready, '0', 'event', EVENT.ready, '0']],
    ['an app without a process', ['event', EVENT.started, '-1']],
    ['an end of an app that never ran', ['event', EVENT.exited, '0']],
    ['an exit code there cannot be', ['event', EVENT.ended, '256']],
    ['a terminal nobody asked for', ['event', '1', '0']],
    ['more output than it has credit for', ['data', '1', '60000']],
    ['output on a stream that is none', ['data', '3', '1']],
    ['credit for what was never sent', ['credit', '0', '1']],
    ['more to tell than there can be', ['tell', '65', '0']],
    ['anything after its end', ['event', EVENT.ended, '0', 'kind', '200', '0']],
  ])('ends the pod when it is %s', async (_, words) => {
    const { code, stderr } = await runMachine(...words);
    expect({ code, stderr: stderr.replaceAll(TOLD, '') }).toEqual({ code: 254, stderr: BREACH });
  });

  it('notes the end of apps that ran when it failed', async () => {
    const { pod } = await runMachine('event', EVENT.started, '2', 'kind', '200', '0');
    expect(pod.status('apps/web/state')).toMatch(/exit=137\n$/);
  });

  it('does nothing to the terminal it is told on', async () => {
    expect((await runMachine('fail', '0', '0')).stderr).toBe('gantry: run: bad?[2J?more\n');
    expect((await runMachine('say', '0', '0', 'exit', '3', '0')).stderr).toBe(
      'gantry: run: ?[2Jold\ngantry: run: the machine ended by itself: ?[2Jold\n',
    );
  });

  it('is told to the operator where its pod goes on without something', async () => {
    const { code, stderr } = await runMachine('tell', '2', '0', 'event', EVENT.ended, '0');
    expect({ code, stderr }).toEqual({ code: 0, stderr: TOLD + TOLD });
  });

  it('is its end when it closes the port', async () => {
    expect((await runMachine('event', EVENT.setUp, '0', 'close', '0', '0')).stderr).toBe(
      'gantry: run: QEMU closed the port of the machine, which was ended\n',
    );
  });

  it('is its end, whatever it says before', async () => {
    const { code, stderr } = await runMachine('exit', '0', '0');
    expect(code).toBe(254);
    expect(stderr).toBe("gantry: run: the machine ended by itself: QEMU's exit code is 0\n");
  });
});

describe('making a machine', () => {
  beforeEach((context) => needs(context, root));

  it.each([
    ['a plan of another flavour', [], 'the plan has no section outside: it is another flavour'],
    ['a file it cannot begin with', ['initrd', 'root/i', 'init', '/none'], '/none: No such file'],
    ['a directory in its place', ['initrd', 'root/i', 'init', '/usr'], '/usr: Invalid argument'],
    ['names without files', ['initrd', 'root/i', 'init', '/bin/sh', 'x'], 'Invalid argument'],
    ['nothing to start', ['mask', '/proc'], 'plan: misplaced step mask'],
  ])('fails for %s', async (_, step, message) => {
    const exec = ['exec', machine, 'qemu', 'exit', '0', '0'];
    const outside = step.length > 0 ? [['section', 'outside'], ['private-mounts'], step, exec] : [];
    const { code, stderr } = await runOutside(outside);
    expect(stderr).toMatch(/^gantry: run: [^\n]*\n$/);
    expect(stderr).toContain(message);
    expect(code).toBe(254);
  });

  it('begins with files by name, in directories', async () => {
    const { code, stderr, pod } = await runOutside([
      ['section', 'outside'],
      ['private-mounts'],
      ['initrd', 'initrd', 'init', 'plan', 'a/b/plan', 'plan'],
      ['exec', machine, 'qemu', 'event', EVENT.ended, '0'],
    ]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    const initrd = readFileSync(join(pod.directory, 'initrd'), 'latin1');
    const names = [...initrd.matchAll(/070701[\da-f]{104}([^\0]*)\0/g)].map(([, name]) => name);
    expect(names).toEqual(['init', 'a', 'a/b', 'a/b/plan', 'TRAILER!!!']);
    expect(initrd.length % 4).toBe(0);
    expect(initrd.split('gantry-plan')).toHaveLength(3);
  });
});

describe('what serves a machine its files', () => {
  beforeEach((context) => needs(context, root));

  /** A pod whose virtiofsd and QEMU do this, three words each. */
  function runServed(server: readonly string[], qemu: readonly string[], program = machine) {
    return runOutside([
      ['section', 'outside'],
      ['private-mounts'],
      ['spawn', program, 'virtiofsd', ...server],
      ['exec', machine, 'qemu', ...qemu],
    ]);
  }

  it('is reached by QEMU over a socket, and neither has more than that', async () => {
    const { code, stderr } = await runServed(
      ['others', '1', '0', 'serve', '0', '0'],
      ['others', '3', '0', 'ask', '0', '0', 'event', EVENT.ended, '4'],
    );
    expect({ code, stderr }).toEqual({ code: 4, stderr: '' });
  });

  it('takes the machine along when it ends, with what it said', async () => {
    const { code, stderr } = await runServed(['exit', '3', '0'], []);
    expect(stderr).toBe(
      "gantry: run: what serves the machine its files ended by itself: virtiofsd's exit code is 3" +
        ': "share": "9p" in kvm.d does without it\n',
    );
    expect(code).toBe(254);
    expect((await runServed(['say', '0', '0', 'exit', '3', '0'], [])).stderr).toBe(
      'gantry: run: what serves the machine its files ended by itself: ?[2Jold: "share": "9p" in kvm.d does without it\n',
    );
  });

  it('is not blamed for the end of QEMU, which hangs up before it ends', async () => {
    const server = ['serve', '0', '0', 'exit', '0', '0'];
    const message = "gantry: run: the machine ended by itself: QEMU's exit code is 5\n";
    expect((await runServed(server, ['exit', '5', '0'])).stderr).toBe(message);
    expect((await runServed(server, ['hang', '5', '300', 'exit', '5', '0'])).stderr).toBe(message);
  });

  it('is there once', async () => {
    const server = ['spawn', machine, 'virtiofsd'];
    const { code, stderr } = await runOutside([
      ['section', 'outside'],
      ['private-mounts'],
      ...[server, server],
      ['exec', machine, 'qemu'],
    ]);
    expect(stderr).toMatch(/machine: spawn [^\n]*: File exists\n$/);
    expect(code).toBe(254);
  });

  it('is missed by name', async () => {
    const { stderr } = await runServed([], [], '/none');
    expect(stderr).toContain(': /none: No such file or directory: ');
  });
});
