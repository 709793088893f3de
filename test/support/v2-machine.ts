import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { modulesFor } from '../../src/stage1/kernel-modules.ts';
import { initramfs } from './initramfs.ts';
import { exitCodeOf } from './installation.ts';
import { buildTree, type Machine, repository } from './machine.ts';
import { buildProgram } from './program.ts';
import { machineKernel } from './requirements.ts';

/**
 * A Debian with a kernel of its own, whose control groups are v2 alone, and with AppArmor: what no test could have on a
 * host that lacks them. systemd is PID 1. QEMU translates, so all in it takes some ten times as long as outside.
 *
 * It has this checkout (read-only) and the directory it was started with at the same places. Both come over 9p, on
 * which no overlay can be written: what runs pods in it wants a data directory of its own, in /run or /var.
 */
export async function bootV2Machine(directory: string): Promise<Machine> {
  const orders = join(directory, 'machine');
  mkdirSync(orders, { recursive: true });
  const tree = buildTree();
  const shares: readonly Share[] = [
    { tag: 'tree', path: tree, readOnly: true },
    { tag: 'checkout', path: repository, readOnly: true },
    // Where bin/node leads.
    { tag: 'modules', path: realpathSync(join(repository, 'node_modules')), readOnly: true },
    { tag: 'directory', path: directory, readOnly: false },
  ];
  writeFileSync(join(orders, 'initrd'), initrd(shares, orders));
  const qemu = spawn(
    'setpriv',
    ['--pdeathsig=KILL', 'qemu-system-x86_64', ...qemuWords(orders, shares)],
    { env: { PATH: process.env['PATH'] ?? '' } },
  );
  const agent = new Agent(qemu, orders);
  const stop = async () => {
    qemu.kill('SIGKILL');
    await exitCodeOf(qemu);
  };
  const run: Machine['run'] = (...words) => agent.run(words);
  const call = async (...words: readonly [string, ...string[]]) => {
    const { code, stdout, stderr } = await run(...words);
    if (code !== 0) throw new Error(`${words.join(' ')}: exit ${code}: ${stderr}`);
    return stdout.trim();
  };
  try {
    await agent.ready();
    return { run, call, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** A directory of the host, as the machine has it at the same path. */
interface Share {
  readonly tag: string;
  readonly path: string;
  readonly readOnly: boolean;
}

/** In the order they are loaded: what the machine's files come by, the port, and what pods need. */
const MODULES = ['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay', 'loop'];

const KERNEL_OPTIONS = [
  'console=ttyS0',
  'quiet',
  'rdinit=/init',
  'panic=-1',
  'mitigations=off',
  // Beside others the processor may come too late for the kernel's check of its timer.
  'no_timer_check',
  'apparmor=1',
  'security=apparmor',
  'systemd.unified_cgroup_hierarchy=1',
  'systemd.show_status=no',
  // There is no udev that would tell of the serial port.
  'systemd.getty_auto=no',
  'systemd.wants=agent.service',
  'systemd.mask=e2scrub_reap.service',
  'systemd.firstboot=off',
];

function qemuWords(orders: string, shares: readonly Share[]): string[] {
  return [
    '-nodefaults',
    '-no-user-config',
    '-no-reboot',
    ...['-display', 'none'],
    ...['-machine', 'q35,usb=off,vmport=off,sata=off,smbus=off,hpet=off,accel=tcg'],
    ...['-cpu', 'max', '-smp', '2', '-m', '1024'],
    ...['-kernel', machineKernel.kernel, '-initrd', join(orders, 'initrd')],
    ...['-append', KERNEL_OPTIONS.join(' ')],
    ...['-serial', `file:${join(orders, 'console')}`],
    ...['-device', 'virtio-serial-pci', '-chardev', 'stdio,id=agent,signal=off'],
    ...['-device', 'virtserialport,chardev=agent,name=agent'],
    ...['-device', 'virtio-rng-pci'],
    ...shares.flatMap(({ tag, path, readOnly }) => {
      const local = `local,id=${tag},path=${path},security_model=${readOnly ? 'none,readonly=on' : 'passthrough'}`;
      return [
        ...['-fsdev', `${local},multidevs=remap`],
        ...['-device', `virtio-9p-pci,fsdev=${tag},mount_tag=${tag}`],
      ];
    }),
  ];
}

/** What the kernel starts with: the modules, and a program that goes on to the tree's systemd. */
function initrd(shares: readonly Share[], orders: string): Buffer {
  const modules = modulesFor(machineKernel.modules, MODULES);
  const setup = [
    ...modules.map((file) => `module /modules/${basename(file)}`),
    ...shares.map(({ tag, path, readOnly }) => `${readOnly ? 'lent' : 'shared'} ${tag} ${path}`),
  ];
  const files = {
    'etc/systemd/system/agent.service': AGENT_UNIT,
    'usr/local/sbin/agent': AGENT.replaceAll('ORDERS', orders),
  };
  return initramfs([
    { path: 'init', content: readFileSync(INIT) },
    { path: 'setup', content: Buffer.from(`${setup.join('\n')}\n`) },
    ...modules.map((file) => ({ path: `modules/${basename(file)}`, content: readFileSync(file) })),
    ...Object.entries(files).map(([path, text]) => ({
      path: `files/${path}`,
      content: Buffer.from(text),
    })),
  ]);
}

/** Loads modules, mounts the tree with a layer in memory upon it, and the shares; then becomes systemd. */
const INIT = buildProgram(`
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#define CACHED "trans=virtio,version=9p2000.L,msize=512000,cache=loose"
#define DIRECT "trans=virtio,version=9p2000.L,msize=512000,cache=none"
static void must(const char *what, int outcome)
{
    if (outcome >= 0)
        return;
    perror(what);
    reboot(RB_POWER_OFF);
}
static void make(char *path)
{
    for (char *at = path + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = 0;
        mkdir(path, 0755);
    }
    mkdir(path, 0755);
}
static void load(const char *file)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    must(file, (int)syscall(SYS_finit_module, fd, "", 0));
    close(fd);
}
static void put(const char *from, const char *to)
{
    char bytes[65536], path[512];
    struct dirent *entry;
    DIR *directory = opendir(from);
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        char source[512];
        struct stat is;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(source, sizeof source, "%s/%s", from, entry->d_name);
        snprintf(path, sizeof path, "%s/%s", to, entry->d_name);
        if (stat(source, &is) == 0 && S_ISDIR(is.st_mode)) {
            mkdir(path, 0755);
            put(source, path);
            continue;
        }
        int in = open(source, O_RDONLY), out = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0755);
        ssize_t n = read(in, bytes, sizeof bytes);
        must(path, (int)write(out, bytes, (size_t)n));
        close(in);
        close(out);
    }
}
int main(void)
{
    char line[1024], kind[16], name[32], path[512], at[600];
    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
    int console = open("/dev/console", O_RDWR);
    for (int fd = 0; fd <= 2; fd++)
        dup2(console, fd);
    mkdir("/tree", 0755);
    mkdir("/layer", 0755);
    mkdir("/root", 0755);
    FILE *setup = fopen("/setup", "r");
    while (fgets(line, sizeof line, setup) != NULL) {
        if (sscanf(line, "module %511s", path) == 1) {
            load(path);
        } else if (sscanf(line, "%15s %31s %511s", kind, name, path) == 3 && strcmp(name, "tree") == 0) {
            must("tree", mount(name, "/tree", "9p", MS_RDONLY, CACHED));
            must("layer", mount("layer", "/layer", "tmpfs", 0, "mode=755"));
            mkdir("/layer/upper", 0755);
            mkdir("/layer/work", 0755);
            must("overlay", mount("overlay", "/root", "overlay", 0, "lowerdir=/tree,upperdir=/layer/upper,workdir=/layer/work"));
        } else {
            int lent = strcmp(kind, "lent") == 0;
            snprintf(at, sizeof at, "/root%s", path);
            make(at);
            must(name, mount(name, at, "9p", lent ? MS_RDONLY : 0, lent ? CACHED : DIRECT));
        }
    }
    put("/files", "/root");
    must("chdir", chdir("/root"));
    must("move", mount(".", "/", NULL, MS_MOVE, NULL));
    must("chroot", chroot("."));
    must("systemd", execl("/sbin/init", "init", (char *)NULL));
    return 1;
}
`);

const AGENT_UNIT = `[Service]
ExecStart=/usr/local/sbin/agent
StandardOutput=null
StandardError=null
`;

/** Takes numbers of orders, and says how each has ended: several at a time. */
const AGENT = `#!/bin/sh
exec 3<>$(echo /dev/vport*p1)
cd ORDERS
echo ready >&3
while read -r number <&3; do
  {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin sh "$number.sh" >"$number.out" 2>"$number.err" </dev/null 3>&-
    echo "$number $?" >&3
  } &
done
`;

/** What is in the machine does what it is told over a port, and leaves output in the directory of orders. */
class Agent {
  readonly #qemu: ChildProcessWithoutNullStreams;
  readonly #orders: string;
  readonly #waiting = new Map<string, (code: number) => void>();
  readonly #ready: Promise<void>;
  #complaint = '';
  #count = 0;

  constructor(qemu: ChildProcessWithoutNullStreams, orders: string) {
    this.#qemu = qemu;
    this.#orders = orders;
    qemu.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint += text;
    });
    this.#ready = new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(this.#failure('does not boot')), 150_000);
      qemu.once('exit', () => reject(this.#failure('ended')));
      createInterface(qemu.stdout).on('line', (line) => {
        const [number = '', code = ''] = line.split(' ');
        clearTimeout(late);
        if (number === 'ready') resolve();
        else this.#waiting.get(number)?.(Number(code));
      });
    });
  }

  ready(): Promise<void> {
    return this.#ready;
  }

  async run(words: readonly string[]) {
    const number = String(++this.#count);
    const file = (kind: string) => join(this.#orders, `${number}.${kind}`);
    writeFileSync(file('sh'), `exec ${words.map(quoted).join(' ')}\n`);
    const code = await new Promise<number>((resolve, reject) => {
      const ended = () => reject(this.#failure('ended'));
      this.#qemu.once('exit', ended);
      this.#waiting.set(number, (told) => {
        this.#qemu.off('exit', ended);
        resolve(told);
      });
      this.#qemu.stdin.write(`${number}\n`);
    });
    const text = (kind: string) => readFileSync(file(kind), 'utf8');
    return { code, stdout: text('out'), stderr: text('err') };
  }

  #failure(what: string): Error {
    const console = readFileSync(join(this.#orders, 'console'), 'utf8').slice(-2000);
    return new Error(`the machine ${what}: ${this.#complaint}${console}`);
  }
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
