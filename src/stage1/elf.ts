/** Reads up to `length` bytes at `offset` of a file; fewer where it ends. */
export type ReadAt = (offset: number, length: number) => Buffer;

/** What an ELF file says of itself, as far as executing it goes. */
export interface ElfProgram {
  readonly bits: 32 | 64;
  readonly littleEndian: boolean;
  /** elf.h, `EM_…`. */
  readonly machine: number;
  /** The path of what loads it; absent where it needs nothing. */
  readonly interpreter?: string;
}

const MAGIC = Buffer.from('\x7fELF', 'latin1');
const ET_EXEC = 2;
const ET_DYN = 3;
const PT_INTERP = 3;
/** The kernel takes no more of program headers, and no longer path of an interpreter (fs/binfmt_elf.c). */
const MAX_HEADERS = 65_536;
const MAX_PATH = 4096;

/** Whether a file that begins so calls itself one of ELF. */
export function isElf(start: Buffer): boolean {
  return start.subarray(0, MAGIC.length).equals(MAGIC);
}

/**
 * Reads the headers of a program as the kernel does, within bounds whatever they say (elf(5)).
 * @returns a text that says what is wrong with it, where the kernel would not execute it
 */
export function readElf(readAt: ReadAt): ElfProgram | string {
  const header = readAt(0, 64);
  const [bits, data] = [header[4], header[5]];
  if (header.length < 52 || (bits === 2 && header.length < 64)) return 'its ELF header is cut off';
  if ((bits !== 1 && bits !== 2) || (data !== 1 && data !== 2)) return 'its ELF header is damaged';
  const fields = new Fields(header, data === 1, bits === 2);
  const type = fields.half(16);
  if (type !== ET_EXEC && type !== ET_DYN) return 'it is an object file and no program';
  const program = {
    bits: bits === 2 ? 64 : 32,
    littleEndian: data === 1,
    machine: fields.half(18),
  } as const;
  const interpreter = readInterpreter(readAt, fields);
  if (interpreter === undefined) return program;
  return interpreter.startsWith('!') ? interpreter.slice(1) : { ...program, interpreter };
}

/** The path; none, or `!` and what is wrong. */
function readInterpreter(readAt: ReadAt, header: Fields): string | undefined {
  const wide = header.wide;
  const [offset, size, count] = [
    header.word(wide ? 32 : 28),
    header.half(wide ? 54 : 42),
    header.half(wide ? 56 : 44),
  ];
  const length = size * count;
  if (size !== (wide ? 56 : 32) || count === 0 || length > MAX_HEADERS) {
    return '!its program headers are damaged';
  }
  const table = readAt(offset, length);
  if (table.length < length) return '!its program headers are cut off';
  for (let at = 0; at < length; at += size) {
    const entry = new Fields(table.subarray(at, at + size), header.littleEndian, wide);
    if (entry.quad(0) !== PT_INTERP) continue;
    const [from, bytes] = [entry.word(wide ? 8 : 4), entry.word(wide ? 32 : 16)];
    const path = bytes > MAX_PATH ? Buffer.alloc(0) : readAt(from, bytes);
    if (path.length < 2 || path.length < bytes || path.at(-1) !== 0) {
      return '!what names its loader is damaged';
    }
    return path.subarray(0, path.indexOf(0)).toString('utf8');
  }
  return undefined;
}

/** Numbers of one byte order and width. */
class Fields {
  readonly #bytes: Buffer;
  readonly littleEndian: boolean;
  readonly wide: boolean;

  constructor(bytes: Buffer, littleEndian: boolean, wide: boolean) {
    this.#bytes = bytes;
    this.littleEndian = littleEndian;
    this.wide = wide;
  }

  half(at: number): number {
    return this.littleEndian ? this.#bytes.readUInt16LE(at) : this.#bytes.readUInt16BE(at);
  }

  quad(at: number): number {
    return this.littleEndian ? this.#bytes.readUInt32LE(at) : this.#bytes.readUInt32BE(at);
  }

  /** As wide as an address. One beyond what a number holds is beyond the end of any file. */
  word(at: number): number {
    if (!this.wide) return this.quad(at);
    const big = this.littleEndian
      ? this.#bytes.readBigUInt64LE(at)
      : this.#bytes.readBigUInt64BE(at);
    return big > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : Number(big);
  }
}

/** elf.h: of each processor, as Node names it, its own programs and those of its kin that it may run too. */
const MACHINES: Readonly<Record<string, readonly (readonly [machine: number, name: string])[]>> = {
  arm: [[40, 'arm']],
  arm64: [
    [183, 'arm64'],
    [40, 'arm'],
  ],
  ia32: [[3, 'i386']],
  loong64: [[258, 'loong64']],
  ppc64: [
    [21, 'ppc64'],
    [20, 'ppc'],
  ],
  riscv64: [[243, 'riscv64']],
  s390x: [[22, 's390x']],
  x64: [
    [62, 'amd64'],
    [3, 'i386'],
  ],
};

/**
 * Whether a kernel of this machine's, or of another processor, may execute a program. Whether it runs those of the kin
 * with fewer bits its configuration says, and then exec.
 */
export function isNative(
  { machine, littleEndian }: Pick<ElfProgram, 'machine' | 'littleEndian'>,
  processor: string = process.arch,
): boolean {
  const own = MACHINES[processor] ?? [];
  return littleEndian === (processor !== 's390x') && own.some(([number]) => number === machine);
}

/** The processor a program is for, in the words of images. */
export function processorOf({ machine, bits }: ElfProgram): string {
  const known = Object.values(MACHINES).flat();
  const name = known.find(([number]) => number === machine)?.[1];
  return name ?? `another machine (ELF machine ${machine}, ${bits} bits)`;
}
