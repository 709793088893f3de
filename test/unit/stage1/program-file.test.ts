import { chmodSync, copyFileSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { isRegistered } from '../../../src/isolation/binfmt.ts';
import { LayerTree } from '../../../src/isolation/layer-tree.ts';
import { requireProgram } from '../../../src/stage1/program-file.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const [X86, I386, ARM64, PPC64] = [62, 3, 183, 21];
const NATIVE = process.arch === 'arm64' ? ARM64 : X86;
const FOREIGN = process.arch === 'arm64' ? X86 : ARM64;

interface ElfWishes {
  readonly machine?: number;
  readonly type?: number;
  readonly bigEndian?: boolean;
  /** Of the loader, with the NUL. */
  readonly loader?: string;
  /** Where the program headers are said to lie. */
  readonly headersAt?: number;
  readonly headers?: number;
  readonly headerSize?: number;
  readonly pathBytes?: number;
}

/** The 64-bit headers of a program that would do nothing. */
function elf(wishes: ElfWishes = {}): Buffer {
  const { machine = NATIVE, type = 3, bigEndian = false, loader, headersAt = 64 } = wishes;
  const { headers = 1, headerSize = 56 } = wishes;
  const bytes = Buffer.alloc(64 + 56);
  const half = (value: number, at: number) =>
    bigEndian ? bytes.writeUInt16BE(value, at) : bytes.writeUInt16LE(value, at);
  const long = (value: number, at: number) =>
    bigEndian
      ? bytes.writeBigUInt64BE(BigInt(value), at)
      : bytes.writeBigUInt64LE(BigInt(value), at);
  bytes.write('\x7fELF', 'latin1');
  bytes.set([2, bigEndian ? 2 : 1, 1], 4);
  half(type, 16);
  half(machine, 18);
  long(headersAt, 32);
  half(headerSize, 54);
  half(headers, 56);
  bytes.writeUInt32LE(loader === undefined ? 1 : 3, 64);
  const path = Buffer.from(loader ?? '');
  long(bytes.length, 64 + 8);
  long(wishes.pathBytes ?? path.length, 64 + 32);
  return Buffer.concat([bytes, path]);
}

/** A 32-bit program of the kin. */
function elf32(machine: number): Buffer {
  const bytes = Buffer.alloc(52 + 32);
  bytes.write('\x7fELF', 'latin1');
  bytes.set([1, 1, 1], 4);
  bytes.writeUInt16LE(2, 16);
  bytes.writeUInt16LE(machine, 18);
  bytes.writeUInt32LE(52, 28);
  bytes.writeUInt16LE(32, 42);
  bytes.writeUInt16LE(1, 44);
  bytes.writeUInt32LE(1, 52);
  return bytes;
}

function check(
  program: string,
  files: Readonly<Record<string, string | Buffer>>,
  { mounted = [], links = {} }: { mounted?: string[]; links?: Record<string, string> } = {},
): void {
  const root = temporaryDirectory();
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content, { mode: 0o755 });
    chmodSync(join(root, path), path.includes('plain') ? 0o644 : 0o755);
  }
  for (const [path, target] of Object.entries(links)) symlinkSync(target, join(root, path));
  const place = { tree: new LayerTree([root]), workingDirectory: '/work', mounted };
  requireProgram(program, place, 'app "web"');
}

describe('a program that exec takes', () => {
  it.each<[string, Buffer | string]>([
    ['needs no loader', elf()],
    ['of a fixed address', elf({ type: 2 })],
    ['whose loader is there', elf({ loader: '/lib/ld.so\0' })],
    ['that is a script', '#!/lib/ld.so'],
    ['that is a script with an argument', '#! \t/lib/ld.so -x\n'],
    ['that is a script of a script', '#!/script\n'],
  ])('%s', (_, content) => {
    check('/app', { app: content, 'lib/ld.so': elf(), script: '#!/lib/ld.so\n' });
  });

  it('is found by links of the image, and from the working directory', () => {
    check(
      '/bin/app',
      { 'usr/bin/real': elf() },
      { links: { bin: '/usr/bin', 'usr/bin/app': 'real' } },
    );
    check('./app', { 'work/app': elf() });
  });

  it.runIf(process.arch === 'x64')('may be one of 32 bits', () => {
    check('/app', { app: elf32(I386) });
  });

  it('has its program headers far behind', () => {
    const far = Buffer.concat([
      elf({ headersAt: 70_000, loader: '/lib/ld.so\0' }),
      Buffer.alloc(80_000),
    ]);
    elf({ loader: '/lib/ld.so\0' }).copy(far, 70_000, 64, 120);
    check('/app', { app: far, 'lib/ld.so': elf() });
  });

  it('may lie in a volume, or be executed by what does', () => {
    check('/data/app', {}, { mounted: ['/data'] });
    check('/app', { app: '#!/data/sh\n' }, { mounted: ['/data/'] });
    check('/bin/app', {}, { mounted: ['/srv/data'], links: { bin: 'srv/data/bin' } });
    check('/srv/data/app', { 'real/x': '' }, { mounted: ['/srv/data'], links: { srv: '/real' } });
  });
});

describe('a program that exec would refuse', () => {
  it.each<[string, Buffer | string, string]>([
    ['of another machine', elf({ machine: FOREIGN }), '"/app" is for '],
    ['of another byte order', elf({ bigEndian: true }), '"/app" is for '],
    ['of a machine nobody knows', elf({ machine: 0x1234 }), 'another machine (ELF machine 4660'],
    ['of big-endian kin', elf({ machine: PPC64, bigEndian: true }), '"/app" is for ppc64'],
    ['that is an object file', elf({ type: 1 }), 'it is an object file and no program'],
    ['cut off in its header', elf().subarray(0, 30), 'its ELF header is cut off'],
    [
      'whose headers lie beyond its end',
      elf({ headersAt: 2 ** 40 }),
      'program headers are cut off',
    ],
    ['whose headers lie beyond all', elf({ headersAt: 2 ** 60 }), 'program headers are cut off'],
    ['with too many headers', elf({ headers: 65_535 }), 'program headers are damaged'],
    ['with headers of another size', elf({ headerSize: 1 }), 'program headers are damaged'],
    [
      'with a loader without an end',
      elf({ loader: '/lib/ld.so' }),
      'what names its loader is damaged',
    ],
    [
      'with a loader too long',
      elf({ loader: 'x\0', pathBytes: 2 ** 40 }),
      'names its loader is damaged',
    ],
    ['that is no program', 'hello\n', 'it has no ELF header and does not begin with #!'],
    ['that is empty', '', 'it has no ELF header and does not begin with #!'],
    ['that is a script of nothing', '#!\n/bin/sh', 'that names no interpreter after #!'],
    ['that is a script of a long name', `#!/${'x'.repeat(300)}`, 'that names no interpreter'],
    [
      'whose interpreter is missing',
      '#!/bin/sh\r\n',
      'app "web": "/app" needs "/bin/sh\\r": Error: Unable to open "/bin/sh?": No such file or directory',
    ],
    [
      'whose loader is missing',
      elf({ loader: '/lib/ld.so\0' }),
      'app "web": "/app" needs "/lib/ld.so": Error: Unable to open "/lib/ld.so": No such file or directory',
    ],
    ['that interprets itself', '#!/app\n', 'whose interpreters are scripts, too many of them'],
    [
      'whose interpreter is for no one',
      '#!/plain\n',
      '"/app" needs "/plain": "/plain" is not executable',
    ],
  ])('%s', (_, content, message) => {
    const run = () => check('/app', { app: content, plain: elf() });
    expect(run).toThrow(expect.objectContaining({ code: 'launch' }));
    expect(run).toThrow(message);
    expect(run).toThrow(/^app "web": .*: name another program with --exec$/);
  });

  it.each([
    ['/none', 'app "web": Error: Unable to open "/none": No such file or directory: name'],
    ['/file/none', 'Error: Unable to open "/file/none": No such file or directory'],
    ['/directory', '"/directory" is a directory and no program'],
    ['/plain', '"/plain" is not executable: it has mode 0644'],
    ['/loop', 'Error: Unable to open "/loop": No such file or directory'],
  ])('%s', (program, message) => {
    const files = { file: elf(), 'directory/x': '', plain: elf() };
    expect(() => check(program, files, { links: { loop: 'loop' } })).toThrow(message);
  });
});

describe('what executes other files on the host', () => {
  const entry = (flags: string, more = '') =>
    `enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: ${flags}\noffset 0\nmagic 7f454c4602010100\nmask ffffffffffff00ff\n${more}`;
  const registered = (content: string, start = elf()) => {
    const place = temporaryDirectory();
    writeFileSync(join(place, 'one'), content);
    writeFileSync(join(place, 'status'), 'enabled\n');
    return isRegistered(start, place);
  };

  it('is registered with its program opened, and for what begins so', () => {
    expect(registered(entry('OCF'))).toBe(true);
    expect(registered(entry('OC'))).toBe(false);
    expect(registered(entry('F').replace('enabled', 'disabled'))).toBe(false);
    expect(registered(entry('F'), Buffer.from('#!/bin/sh'))).toBe(false);
    expect(registered('enabled\ninterpreter /usr/bin/wine\nflags: F\nextension .exe\n')).toBe(
      false,
    );
    expect(isRegistered(elf(), '/none')).toBe(false);
  });
});

it('reads the programs of this machine', () => {
  const root = temporaryDirectory();
  copyFileSync(process.execPath, join(root, 'node'));
  const tree = new LayerTree([root]);
  const place = { tree, workingDirectory: '/', mounted: ['/lib', '/lib64'] };
  requireProgram('/node', place, 'app "web"');
});
