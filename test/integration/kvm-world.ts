import { type ChildProcess, spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { onTestFinished } from 'vitest';
import { type HostState, leaksSince, readHost } from '../support/host.ts';
import { createInstallation, exitCodeOf, type Installation } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { machineKernel } from '../support/requirements.ts';
import { temporaryDirectory } from '../support/temporary.ts';
import { buildProbe } from './pod-probe.ts';

/** What is done inside of a machine through `enter`, or on a terminal. */
const caller = buildProgram(`
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
static void say(const char *what, const char *path, long outcome)
{
    printf("%s %s: %s\\n", what, path, outcome < 0 ? strerror(errno) : "ok");
    fflush(stdout);
}
/* Makes a socket, a FIFO and a device in a directory, and talks over the first two. */
static void make_nodes(const char *directory)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char fifo[100], device[100], byte = 0;
    snprintf(address.sun_path, sizeof address.sun_path, "%s/socket", directory);
    snprintf(fifo, sizeof fifo, "%s/fifo", directory);
    snprintf(device, sizeof device, "%s/device", directory);
    int server = socket(AF_UNIX, SOCK_STREAM, 0), client = socket(AF_UNIX, SOCK_STREAM, 0);
    say("bind", directory, bind(server, (struct sockaddr *)&address, sizeof address));
    listen(server, 1);
    say("connect", directory, connect(client, (struct sockaddr *)&address, sizeof address));
    say("fifo", directory, mkfifo(fifo, 0600));
    if (fork() == 0)
        _exit(write(open(fifo, O_WRONLY), "x", 1) == 1 ? 0 : 1);
    say("read", directory, read(open(fifo, O_RDONLY), &byte, 1) == 1 && byte == 'x' ? 0 : -1);
    wait(NULL);
    say("mknod", directory, mknod(device, S_IFCHR | 0600, makedev(1, 3)));
    say("open", directory, open(device, O_RDWR));
}
/* Where only a supplementary group may write, and where files get the group of the directory. */
static void make_as_group(const char *directory)
{
    char path[100];
    struct stat made;
    umask(0);
    snprintf(path, sizeof path, "%s/file", directory);
    say("make", directory, open(path, O_CREAT | O_EXCL | O_WRONLY, 02775));
    if (stat(path, &made) == 0)
        printf("made %o %u:%u\\n", made.st_mode & 07777, made.st_uid, made.st_gid);
    snprintf(path, sizeof path, "%s/directory", directory);
    say("mkdir", directory, mkdir(path, 0770));
    snprintf(path, sizeof path, "%s/tool", directory);
    int tool = open(path, O_WRONLY | O_APPEND);
    if (tool >= 0 && write(tool, "x", 1) == 1 && stat(path, &made) == 0)
        printf("makes of a tool %o\\n", made.st_mode & 07777);
}
static void interrupted(int signal) { (void)signal; _exit(3); }
int main(int argc, char **argv)
{
    char bytes[65536];
    ssize_t n;
    const char *what = argc > 1 ? argv[1] : "terminal";
    if (strcmp(what, "copy") == 0) {
        while ((n = read(0, bytes, sizeof bytes)) > 0)
            for (ssize_t done = 0; done < n;)
                done += write(1, bytes + done, (size_t)(n - done));
        return 0;
    }
    if (strcmp(what, "both") == 0) {
        write(1, "out\\n", 4);
        write(2, "err\\n", 4);
        return 42;
    }
    if (strcmp(what, "sleep") == 0) {
        write(1, "asleep\\n", 7);
        pause();
    }
    if (strcmp(what, "panic") == 0) {
        FILE *trigger = fopen("/proc/sysrq-trigger", "w");
        fputs("c", trigger);
        fclose(trigger);
        pause();
    }
    if (strcmp(what, "nodes") == 0 || strcmp(what, "group") == 0) {
        for (int i = 2; i < argc; i++)
            (what[0] == 'n' ? make_nodes : make_as_group)(argv[i]);
        return 0;
    }
    struct winsize size;
    signal(SIGINT, interrupted);
    ioctl(0, TIOCGWINSZ, &size);
    printf("terminal %d, %d by %d, leader %d\\n", isatty(0) && isatty(1) && isatty(2), size.ws_col, size.ws_row,
           tcgetpgrp(0) == getpgrp());
    fflush(stdout);
    if (fgets(bytes, sizeof bytes, stdin) == NULL)
        return 4;
    printf("got %s", bytes);
    return 5;
}
`);

/** An installation whose pods are machines without hardware acceleration, and one image. */
export interface MachineWorld {
  readonly directory: string;
  readonly gantry: Installation;
  /** The path of the image `NAME`: the probe as /bin/probe, the program above as /bin/caller. */
  addImage(name: string, app: Readonly<Record<string, unknown>>): Promise<string>;
  /** Changes the machine that pods get. */
  configure(changes: Readonly<Record<string, unknown>>): void;
  leaks(): Promise<string[]>;
}

export async function createMachineWorld(): Promise<MachineWorld> {
  const directory = temporaryDirectory();
  const gantry = await createInstallation(directory);
  const configure = (changes: Readonly<Record<string, unknown>>) => {
    const kind = { rktKind: 'kvm', rktVersion: 'v1' };
    const settings = { ...kind, ...machineKernel, acceleration: 'tcg', ...changes };
    mkdirSync(join(directory, 'configuration/kvm.d'), { recursive: true });
    writeFileSync(join(directory, 'configuration/kvm.d/test.json'), JSON.stringify(settings));
  };
  configure({});
  const before: HostState = readHost(gantry.dataDirectory);
  return {
    directory,
    gantry,
    configure,
    addImage: (name, app) => packImage(directory, gantry, name, app),
    leaks: () => leaksSince(before, gantry.dataDirectory),
  };
}

async function packImage(
  directory: string,
  gantry: Installation,
  name: string,
  app: Readonly<Record<string, unknown>>,
): Promise<string> {
  const rootfs = join(directory, name);
  mkdirSync(join(rootfs, 'bin'), { recursive: true });
  mkdirSync(join(rootfs, 'data'), { recursive: true });
  copyFileSync(buildProbe(), join(rootfs, 'bin/probe'));
  copyFileSync(caller, join(rootfs, 'bin/caller'));
  const path = `${rootfs}.aci`;
  const manifest = {
    acKind: 'ImageManifest',
    acVersion: '0.8.11',
    name: `example.com/${name}`,
    labels: [
      { name: 'os', value: 'linux' },
      { name: 'arch', value: 'amd64' },
    ],
    app: { exec: ['/bin/probe'], user: '0', group: '0', ...app },
  };
  writeFileSync(`${rootfs}.json`, JSON.stringify(manifest));
  await gantry.call('image pack', `--manifest=${rootfs}.json`, `--rootfs=${rootfs}`, path);
  return path;
}

/** A pod in a machine, running. */
export interface RunningMachine {
  readonly uuid: string;
  /** Its directory. */
  readonly directory: string;
  readonly child: ChildProcess;
  readonly ended: Promise<{ code: number; stderr: string }>;
}

/** Starts a pod and waits until its apps run. */
export async function startMachine(
  { directory, gantry }: MachineWorld,
  ...words: readonly string[]
): Promise<RunningMachine> {
  const file = join(directory, 'uuid');
  const options = [
    '--insecure-options=image,paths',
    '--stage1-name=kvm',
    `--uuid-file-save=${file}`,
  ];
  const child = gantry.start('run', ...options, ...words);
  onTestFinished(() => void child.kill('SIGKILL'));
  let stderr = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  child.stdout?.resume();
  const ended = exitCodeOf(child).then((code) => ({ code, stderr: withoutWarning(stderr) }));
  while (!existsSync(file) || readFileSync(file, 'utf8').length < 36) await sleep(10);
  const uuid = readFileSync(file, 'utf8').trim();
  await gantry.run('status', '--wait-ready=25s', uuid);
  return { uuid, directory: join(gantry.dataDirectory, 'pods/run', uuid), child, ended };
}

/** Every command says that nothing is signed here. */
export function withoutWarning(stderr: string): string {
  return stderr.replaceAll('warning: image signature verification has been disabled\n', '');
}

/** Runs a command to its end, with `input` on its standard input. */
export async function runWith(input: string, words: readonly string[]) {
  const [file = '', ...args] = words;
  const child = spawn(file, args, { stdio: ['pipe', 'pipe', 'pipe'] });
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream].setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  child.stdin.end(input);
  return { code: await exitCodeOf(child), ...output };
}

/** The whole first line of the program: an echo may come between a line and its end. */
const SPOKEN = /leader \d+\r\n/;

/** Runs a command on a pseudo-terminal of 132 by 43; `typed` is typed once its program has spoken. */
export async function onTerminal(words: readonly string[], typed: string) {
  const line = `stty cols 132 rows 43; exec ${words.map((word) => `'${word}'`).join(' ')}`;
  const child = spawn('script', ['-qefc', line, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const had = SPOKEN.test(output);
    output += text;
    if (!had && SPOKEN.test(output)) child.stdin.write(typed);
  });
  const code = await exitCodeOf(child);
  return { code, output };
}

/** The process ids of QEMU for a pod. */
export function qemusOf(uuid: string): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => commandLine(pid).includes(`gantry-${uuid}`))
    .map(Number);
}

/** The processes of virtiofsd beside a QEMU. */
export function serversOf(qemu: number): number[] {
  const parents = new Map(
    readdirSync('/proc')
      .filter((name) => /^\d+$/.test(name))
      .map((pid) => [Number(pid), parentOf(pid)]),
  );
  const below = (pid: number): number[] =>
    [...parents].flatMap(([child, parent]) => (parent === pid ? [child, ...below(child)] : []));
  return below(parents.get(qemu) ?? -1).filter((pid) => pid !== qemu);
}

function parentOf(pid: string): number {
  try {
    return Number(/^PPid:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1]);
  } catch {
    return -2;
  }
}

function commandLine(pid: string): string {
  try {
    const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
    return line.startsWith('/usr/bin/qemu-system-') ? line : '';
  } catch {
    return '';
  }
}
