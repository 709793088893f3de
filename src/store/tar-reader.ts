import { GantryError } from '../error.ts';
import { type PaxRecords, parsePax, paxNatural, paxText, paxTime, paxXattrs } from './pax.ts';
import { BLOCK, decodeHeader, type TarHeader, type Timestamp, utf8 } from './tar-header.ts';

export type EntryType =
  | 'file'
  | 'hard-link'
  | 'symlink'
  | 'character-device'
  | 'block-device'
  | 'directory'
  | 'fifo';

/** One archive member, extended headers applied. Names are as the archive has them, unchecked. */
export interface TarEntry {
  readonly type: EntryType;
  readonly name: string;
  /** What a symbolic link says, or the member a hard link means. */
  readonly linkName: string;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Content in bytes; 0 for everything but files. */
  readonly size: number;
  readonly modified: Timestamp;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

/** Told of each member in turn: `entry`, `content` for each piece of a file's bytes, `entryEnd`. */
export interface TarSink {
  entry(entry: TarEntry): void;
  /** The piece is only valid during the call. */
  content(piece: Uint8Array): void;
  entryEnd(): void;
}

/** An extended header larger than this is an attack: names and attributes are bounded by Linux. */
const maxExtension = 1024 * 1024;

const types: Readonly<Record<string, EntryType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'hard-link',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  '7': 'file',
};

const unreadable: Readonly<Record<string, string>> = {
  S: 'a sparse file in the old GNU format',
  M: 'a piece of an archive of several volumes',
  D: 'a GNU incremental dump directory',
  V: 'a volume label',
};

type State = 'header' | 'extension' | 'content' | 'padding' | 'ended';

/**
 * Reads a tar archive pushed in pieces of any size, calling its sink synchronously.
 *
 * tar-stream is not used for reading because it decodes PAX values as UTF-8, which destroys binary
 * extended attributes (a file capability with CAP_SETUID has the byte 0x80), and because one stream
 * object for each member costs several times as much as parsing does.
 */
export class TarReader {
  readonly #sink: TarSink;
  #state: State = 'header';
  /** Bytes of the archive before the piece being read. */
  #offset = 0;
  /** A header or extension that lies across pieces, and how much of it is there. */
  #partial = Buffer.alloc(BLOCK);
  #filled = 0;
  /** Bytes of content, extension or padding still to come. */
  #missing = 0;
  /** Padding after the content or extension being read. */
  #padding = 0;
  #extensionType = '';
  #globals: PaxRecords = new Map();
  #locals: PaxRecords | undefined;
  #longName: string | undefined;
  #longLinkName: string | undefined;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** Takes the next bytes. Throws `invalid-archive` for what is damaged or cannot be unpacked. */
  push(piece: Buffer): void {
    let at = 0;
    while (at < piece.length) at = this.#step(piece, at);
    this.#offset += piece.length;
  }

  /** Says that the archive is over. Throws `invalid-archive` when it is not. */
  end(): void {
    if (this.#state === 'ended' && !this.#isExtended) return;
    throw invalid('it is truncated: there is no end-of-archive mark');
  }

  /**
   * Says that the archive is over, mark or no mark: Go's reader, by which layers are judged, takes the
   * end of the bytes for it wherever a header might be. Throws `invalid-archive` anywhere else.
   */
  endUnmarked(): void {
    const between = this.#state === 'header' && this.#filled === 0;
    if (between && !this.#isExtended) return;
    this.end();
  }

  /** Bytes of a member's content that come next, for who knows where they are and need not read them. */
  get contentAhead(): number {
    return this.#state === 'content' ? this.#missing : 0;
  }

  /** Says that all the content ahead was passed over; the sink is told of the member's end alone. */
  skipContent(): void {
    if (this.#state !== 'content') return;
    this.#offset += this.#missing;
    this.#missing = 0;
    this.#sink.entryEnd();
    this.#afterBody();
  }

  /** An extended header came, and the member it is for did not. */
  get #isExtended(): boolean {
    return [this.#locals, this.#longName, this.#longLinkName].some((part) => part !== undefined);
  }

  #step(piece: Buffer, at: number): number {
    switch (this.#state) {
      case 'header':
        return this.#readHeader(piece, at);
      case 'extension':
        return this.#readExtension(piece, at);
      case 'content':
        return this.#readContent(piece, at);
      case 'padding':
        return this.#skipPadding(piece, at);
      case 'ended':
        return refuseGarbage(piece, at);
    }
  }

  #readHeader(piece: Buffer, at: number): number {
    if (this.#filled === 0 && piece.length - at >= BLOCK) {
      this.#header(piece.subarray(at, at + BLOCK), this.#offset + at);
      return at + BLOCK;
    }
    const taken = piece.copy(this.#partial, this.#filled, at, at + BLOCK - this.#filled);
    this.#filled += taken;
    if (this.#filled === BLOCK) {
      this.#filled = 0;
      this.#header(this.#partial.subarray(0, BLOCK), this.#offset + at + taken - BLOCK);
    }
    return at + taken;
  }

  #header(block: Buffer, where: number): void {
    // The archive ends with two blocks of zeros, but some writers leave it at one.
    if (block[0] === 0 && block.every((byte) => byte === 0)) {
      this.#state = 'ended';
      return;
    }
    const header = decodeHeader(block, where);
    this.#padding = (BLOCK - (header.size % BLOCK)) % BLOCK;
    this.#missing = header.size;
    if ('xgLK'.includes(header.typeflag)) this.#expectExtension(header);
    else this.#member(header);
  }

  #expectExtension(header: TarHeader): void {
    if (header.size > maxExtension) {
      throw invalid(`an extended header of ${header.size} bytes is too large`);
    }
    this.#extensionType = header.typeflag;
    if (this.#partial.length < header.size) this.#partial = Buffer.alloc(header.size);
    this.#state = header.size === 0 ? 'header' : 'extension';
  }

  #readExtension(piece: Buffer, at: number): number {
    const taken = piece.copy(this.#partial, this.#filled, at, at + this.#missing);
    this.#filled += taken;
    this.#missing -= taken;
    if (this.#missing === 0) {
      this.#extension(Buffer.from(this.#partial.subarray(0, this.#filled)));
      this.#filled = 0;
      this.#afterBody();
    }
    return at + taken;
  }

  #extension(body: Buffer): void {
    switch (this.#extensionType) {
      case 'x':
        this.#locals = parsePax(body);
        return;
      case 'g':
        this.#globals = new Map([...this.#globals, ...parsePax(body)]);
        for (const key of ['path', 'linkpath', 'size']) {
          if (this.#globals.has(key)) throw invalid(`a global PAX header sets ${key}`);
        }
        return;
      case 'L':
        this.#longName = untilNul(body);
        return;
      default:
        this.#longLinkName = untilNul(body);
    }
  }

  #member(header: TarHeader): void {
    const entry = this.#compose(header);
    this.#locals = undefined;
    this.#longName = undefined;
    this.#longLinkName = undefined;
    this.#missing = entry.size;
    this.#padding = (BLOCK - (entry.size % BLOCK)) % BLOCK;
    this.#sink.entry(entry);
    if (entry.size > 0) {
      this.#state = 'content';
    } else {
      this.#sink.entryEnd();
    }
  }

  #compose(header: TarHeader): TarEntry {
    const pax = this.#pax();
    const name = paxText(pax, 'path') ?? this.#longName ?? header.name;
    const size = paxNatural(pax, 'size') ?? header.size;
    const type = typeOf(header.typeflag, name);
    refuseSparse(pax, name);
    if (type !== 'file' && size !== 0) {
      // Readers disagree whether the content is there, so what would follow is anyone's guess.
      throw invalid(`entry ${JSON.stringify(name)}: a ${type} with ${size} bytes of content`);
    }
    return {
      type,
      name,
      linkName: paxText(pax, 'linkpath') ?? this.#longLinkName ?? header.linkName,
      mode: header.mode,
      uid: paxNatural(pax, 'uid') ?? header.uid,
      gid: paxNatural(pax, 'gid') ?? header.gid,
      size,
      modified: paxTime(pax, 'mtime') ?? { seconds: header.seconds, nanoseconds: 0 },
      deviceMajor: header.deviceMajor,
      deviceMinor: header.deviceMinor,
      xattrs: paxXattrs(pax),
    };
  }

  #pax(): PaxRecords {
    if (this.#locals === undefined) return this.#globals;
    return this.#globals.size === 0 ? this.#locals : new Map([...this.#globals, ...this.#locals]);
  }

  #readContent(piece: Buffer, at: number): number {
    const taken = Math.min(this.#missing, piece.length - at);
    this.#sink.content(piece.subarray(at, at + taken));
    this.#missing -= taken;
    if (this.#missing === 0) {
      this.#sink.entryEnd();
      this.#afterBody();
    }
    return at + taken;
  }

  #afterBody(): void {
    this.#state = this.#padding > 0 ? 'padding' : 'header';
  }

  #skipPadding(piece: Buffer, at: number): number {
    const taken = Math.min(this.#padding, piece.length - at);
    this.#padding -= taken;
    if (this.#padding === 0) this.#state = 'header';
    return at + taken;
  }
}

function typeOf(typeflag: string, name: string): EntryType {
  const type = types[typeflag];
  if (type === undefined) {
    const what = unreadable[typeflag] ?? `of unknown type ${JSON.stringify(typeflag)}`;
    throw invalid(`entry ${JSON.stringify(name)} is ${what}, which is not supported`);
  }
  // Before POSIX a directory was a file whose name ends in a slash.
  return type === 'file' && name.endsWith('/') ? 'directory' : type;
}

function refuseSparse(pax: PaxRecords, name: string): void {
  for (const key of pax.keys()) {
    if (key.startsWith('GNU.sparse.')) {
      throw invalid(
        `entry ${JSON.stringify(name)} is a sparse file, which is not supported; pack the image without --sparse`,
      );
    }
  }
}

function untilNul(body: Buffer): string {
  const end = body.indexOf(0);
  return utf8(end === -1 ? body : body.subarray(0, end), 'a GNU long name');
}

/** Blocks of zeros may follow the end (tapes are written in records); anything else may not. */
function refuseGarbage(piece: Buffer, at: number): number {
  for (let i = at; i < piece.length; i++) {
    if (piece[i] !== 0) throw invalid('there is data after its end');
  }
  return piece.length;
}

function invalid(why: string): GantryError {
  return new GantryError('invalid-archive', `image archive: ${why}`);
}
