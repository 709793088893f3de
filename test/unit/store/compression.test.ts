import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { deflateSync, gzipSync, zstdCompressSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { compressionOf, decompress } from '../../../src/store/compression.ts';
import { needs, program } from '../../support/requirements.ts';

/** A few megabytes that are neither random nor constant, so that blocks and windows matter. */
const text = Buffer.from(
  Array.from({ length: 40_000 }, (_, i) =>
    createHash('md5')
      .update(String(i % 30_000))
      .digest('hex'),
  ).join('\n'),
);

const compressors: Readonly<Record<string, (data: Uint8Array) => Buffer>> = {
  gzip: (data) => gzipSync(data),
  zstd: (data) => zstdCompressSync(data),
  bzip2: (data) => tool('bzip2', [], data),
  xz: (data) => tool('xz', [], data),
};
const kinds = Object.keys(compressors);

function tool(name: string, args: readonly string[], data: Uint8Array): Buffer {
  return execFileSync(name, ['-c', ...args], { input: data, maxBuffer: 2 ** 30 });
}

function compress(kind: string, data: Uint8Array): Buffer {
  return compressors[kind]?.(data) ?? Buffer.alloc(0);
}

async function* inPieces(data: Buffer, size: number): AsyncIterable<Uint8Array> {
  const piece = Buffer.alloc(size);
  for (let at = 0; at < data.length; at += size) {
    // The same memory each time, as the unpacking thread has it.
    yield piece.subarray(0, data.copy(piece, 0, at, at + size));
  }
}

async function decompressed(data: Buffer, pieceSize = 65_536): Promise<Buffer> {
  const pieces: Buffer[] = [];
  await decompress(inPieces(data, pieceSize), (piece) => pieces.push(Buffer.from(piece)));
  return Buffer.concat(pieces);
}

describe('decompress', () => {
  it.each(kinds)('tells %s by its content', async (kind) => {
    const data = compress(kind, text);
    expect(compressionOf(data)).toBe(kind);
    expect((await decompressed(data)).equals(text)).toBe(true);
  });

  it.each(kinds)('reads %s in pieces of a few bytes', async (kind) => {
    expect((await decompressed(compress(kind, text.subarray(0, 5000)), 3)).toString()).toBe(
      text.toString('utf8', 0, 5000),
    );
  });

  it.each(kinds)('reads several %s streams one after the other', async (kind) => {
    const data = Buffer.concat([compress(kind, text), compress(kind, Buffer.from('end'))]);
    expect((await decompressed(data)).equals(Buffer.concat([text, Buffer.from('end')]))).toBe(true);
  });

  it('passes on what is not compressed', async () => {
    expect((await decompressed(text)).equals(text)).toBe(true);
    expect(await decompressed(Buffer.from('ab'), 1)).toEqual(Buffer.from('ab'));
    expect(compressionOf(deflateSync('x'))).toBe('none');
  });

  it.each(kinds)('refuses truncated %s data', async (kind) => {
    const data = compress(kind, text);
    for (const length of [data.length - 1, data.length >> 1, 20]) {
      await expect(decompressed(data.subarray(0, length))).rejects.toMatchObject({
        code: 'invalid-archive',
        message: expect.stringContaining(`damaged ${kind} data`) as string,
      });
    }
  });

  it.each(kinds)('refuses %s data with a byte changed', async (kind) => {
    const data = compress(kind, text);
    data[data.length >> 1] = (data[data.length >> 1] ?? 0) ^ 0x40;
    const wrong = decompressed(data).then((out) => out.equals(text));
    await expect(
      // zstd has no checksum unless asked for; the content digest is what counts there.
      kind === 'zstd' ? wrong.catch(() => false) : wrong.catch((error: Error) => error.message),
    ).resolves.toEqual(kind === 'zstd' ? false : expect.stringContaining(`damaged ${kind} data`));
  });

  it.each(kinds)('refuses %s data with something after its end', async (kind) => {
    for (const extra of ['garbage that is long enough', '\0'.repeat(64)]) {
      // Zeros may follow an xz stream: its format has them as stream padding.
      if (kind === 'xz' && extra.startsWith('\0')) continue;
      const data = Buffer.concat([compress(kind, text), Buffer.from(extra)]);
      await expect(decompressed(data)).rejects.toMatchObject({ code: 'invalid-archive' });
    }
  });

  it.each([...kinds, 'none'])('stops a %s stream when the sink throws', async (kind) => {
    const data = kind === 'none' ? text : compress(kind, text);
    const failure = new Error('enough');
    let calls = 0;
    const work = decompress(inPieces(data, 1000), () => {
      calls += 1;
      throw failure;
    });
    await expect(work).rejects.toBe(failure);
    expect(calls).toBe(1);
  });

  it.each(kinds)('hands on what the source of a %s stream throws', async (kind) => {
    const data = compress(kind, text);
    const failure = Object.assign(new Error('gone'), { code: 'EIO' });
    async function* failing(): AsyncIterable<Uint8Array> {
      yield data.subarray(0, 2000);
      throw failure;
    }
    await expect(decompress(failing(), () => {})).rejects.toBe(failure);
  });

  it('holds no whole block of bzip2 that decodes to much more', async (context) => {
    needs(context, program('bzip2'));
    const zeros = tool('bzip2', [], Buffer.alloc(50_000_000));
    expect(zeros.length).toBeLessThan(200);
    let size = 0;
    let largest = 0;
    await decompress(inPieces(zeros, 4096), (piece) => {
      size += piece.length;
      largest = Math.max(largest, piece.length);
    });
    expect(size).toBe(50_000_000);
    expect(largest).toBeLessThanOrEqual(256 * 1024);
  });

  it('refuses xz data that wants a dictionary beyond measure', async (context) => {
    needs(context, program('xz'));
    const data = tool('xz', ['--lzma2=dict=512MiB'], Buffer.from('small'));
    await expect(decompressed(data)).rejects.toThrow('dictionary of more than 64 MB');
  });

  it('says what of xz it does not support', async (context) => {
    needs(context, program('xz'));
    const data = tool('xz', ['--x86', '--lzma2'], text);
    await expect(decompressed(data)).rejects.toThrow('filter or check that is not supported');
  });
});
