import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { createGzip, createZstdCompress, constants as zlib } from 'node:zlib';
import { type Headers, type Pack, pack } from 'tar-stream';
import { GantryError } from '../error.ts';
import { type ImageId, imageIdOf } from '../image/digest.ts';
import { parseImageManifest } from '../image/image-manifest.ts';
import { writeOutputFile } from './export.ts';
import { messageOf } from './failure.ts';
import { type SourceEntry, walkSource } from './packing-source.ts';
import { encodePaxRecord, xattrKey } from './pax.ts';

/** What to make an App Container Image of. */
export interface PackOptions {
  /** Path of the manifest (JSON). */
  readonly manifest: string;
  /** Path of the directory that becomes the root file system. */
  readonly rootfs: string;
  /** Path of the image to write. */
  readonly output: string;
  readonly compression: 'gzip' | 'zstd' | 'none';
  readonly overwrite?: boolean;
}

const chunkSize = 256 * 1024;
/** What the six octal digits tar-stream writes for an owner can hold. */
const maxOctalOwner = 0o777777;
const maxOctalTime = 0o77777777777;

/**
 * Makes an App Container Image (appc spec/aci.md, Image Archives) and answers its ID. The same
 * manifest and tree give the same bytes: entries are sorted, and nothing of this machine or moment
 * goes in; owners, modes, times, extended attributes, hard links and devices are the tree's.
 * Throws `invalid-manifest`, `usage` for what an image cannot hold, `store` when it cannot be written.
 */
export async function packImage(options: PackOptions): Promise<ImageId> {
  const manifest = readManifest(options.manifest);
  const hash = createHash('sha512');
  await writeOutputFile(
    options.output,
    { overwrite: options.overwrite === true },
    async (write) => {
      const archive = pack();
      const digested = async function* (): AsyncIterable<Uint8Array> {
        for await (const piece of archive as AsyncIterable<Uint8Array>) {
          hash.update(piece);
          yield piece;
        }
      };
      const written = compressed(digested(), options.compression, write);
      await Promise.all([written, addAll(archive, manifest, options.rootfs)]);
    },
  );
  return imageIdOf(hash.digest('hex'));
}

function readManifest(path: string): Buffer {
  let bytes: Buffer;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw new GantryError('usage', `cannot read the manifest ${path}: ${messageOf(cause)}`, {
      cause,
    });
  }
  parseImageManifest(bytes);
  return bytes;
}

async function compressed(
  source: AsyncIterable<Uint8Array>,
  compression: PackOptions['compression'],
  write: (piece: Uint8Array) => void,
): Promise<void> {
  const consume = async (pieces: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const piece of pieces) write(piece);
  };
  if (compression === 'none') {
    await consume(source);
  } else if (compression === 'gzip') {
    await pipeline(source, createGzip({ chunkSize, level: 9 }), consume);
  } else {
    const params = { [zlib.ZSTD_c_compressionLevel]: 12, [zlib.ZSTD_c_checksumFlag]: 1 };
    await pipeline(source, createZstdCompress({ chunkSize, params }), consume);
  }
}

async function addAll(archive: Pack, manifest: Buffer, rootfs: string): Promise<void> {
  try {
    await addMember(
      archive,
      { name: 'manifest', mode: 0o644, mtime: new Date(0), uid: 0, gid: 0 },
      [manifest],
    );
    for (const entry of walkSource(rootfs)) await addEntry(archive, entry);
    archive.finalize();
  } catch (error) {
    archive.destroy(error instanceof Error ? error : new Error(messageOf(error)));
    throw error;
  }
}

async function addEntry(archive: Pack, entry: SourceEntry): Promise<void> {
  const records = paxRecords(entry);
  const extended = (key: string): boolean => records.some(([name]) => name === key);
  if (records.length > 0) {
    const body = Buffer.concat(records.map(([key, value]) => encodePaxRecord(key, value)));
    await addMember(archive, { name: 'PaxHeaders/entry', type: 'pax-header', mtime: new Date(0) }, [
      body,
    ]);
  }
  const header: Headers = {
    name: extended('path') ? 'rootfs/long-name' : entry.name,
    type: entry.type,
    mode: entry.mode,
    uid: Math.min(entry.uid, maxOctalOwner),
    gid: Math.min(entry.gid, maxOctalOwner),
    size: entry.size,
    mtime: new Date(extended('mtime') ? 0 : entry.seconds * 1000),
    devmajor: entry.deviceMajor,
    devminor: entry.deviceMinor,
  };
  if (entry.linkName !== '') {
    header.linkname = extended('linkpath') ? 'rootfs/long-name' : entry.linkName;
  }
  await addMember(archive, header, entry.type === 'file' ? contentOf(entry) : []);
}

/** What does not fit a ustar header goes into records before it, as bytes. */
function paxRecords(entry: SourceEntry): [key: string, value: string | Uint8Array][] {
  const records: [string, string | Uint8Array][] = [];
  if (!fitsHeader(entry.name)) records.push(['path', entry.name]);
  if (!fitsHeader(entry.linkName)) records.push(['linkpath', entry.linkName]);
  if (entry.uid > maxOctalOwner) records.push(['uid', String(entry.uid)]);
  if (entry.gid > maxOctalOwner) records.push(['gid', String(entry.gid)]);
  if (entry.nanoseconds !== 0 || entry.seconds < 0 || entry.seconds > maxOctalTime) {
    records.push(['mtime', decimalTime(entry.seconds, entry.nanoseconds)]);
  }
  for (const [name, value] of entry.xattrs) records.push([xattrKey(name), value]);
  return records;
}

function fitsHeader(name: string): boolean {
  return Buffer.byteLength(name) === name.length && name.length <= 100;
}

function decimalTime(seconds: number, nanoseconds: number): string {
  const negative = seconds < 0;
  const whole = negative && nanoseconds > 0 ? -seconds - 1 : Math.abs(seconds);
  const fraction = negative && nanoseconds > 0 ? 1_000_000_000 - nanoseconds : nanoseconds;
  const decimals = fraction === 0 ? '' : `.${String(fraction).padStart(9, '0')}`;
  return `${negative ? '-' : ''}${whole}${decimals}`;
}

function* contentOf(entry: SourceEntry): Iterable<Buffer> {
  const fd = openSync(entry.path, 'r');
  try {
    for (let rest = entry.size; rest > 0; ) {
      const buffer = Buffer.allocUnsafeSlow(Math.min(rest, chunkSize));
      const length = readSync(fd, buffer);
      if (length === 0) {
        throw new GantryError('usage', `${entry.path} became shorter while it was packed`);
      }
      rest -= length;
      yield buffer.subarray(0, length);
    }
  } finally {
    closeSync(fd);
  }
}

/** One member, its content handed over no faster than the archive is read. */
async function addMember(archive: Pack, header: Headers, content: Iterable<Buffer>): Promise<void> {
  if (header.type === 'pax-header' || header.name === 'manifest') {
    // tar-stream takes a body for these only whole.
    const body = Buffer.concat([...content]);
    await new Promise<void>((resolve, reject) => {
      archive.entry(header, body, (error) => (error ? reject(error) : resolve()));
    });
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const entry = archive.entry(header, (error) => (error ? reject(error) : resolve()));
    if (header.type !== 'file') return;
    const feed = async (): Promise<void> => {
      for (const piece of content) {
        if (entry.write(piece)) continue;
        await new Promise((drained) => entry.once('drain', drained));
      }
      entry.end();
    };
    feed().catch(reject);
  });
}
