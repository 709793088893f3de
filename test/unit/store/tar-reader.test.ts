import { pack } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { type TarEntry, TarReader } from '../../../src/store/tar-reader.ts';
import { type Member, memberBytes, tarOf } from './image-archive.ts';

interface Read {
  readonly entry: TarEntry;
  readonly content: string;
}

function read(archive: Buffer, pieceSize = archive.length): Read[] {
  const members: Read[] = [];
  let pieces: Buffer[] = [];
  let current: TarEntry | undefined;
  const reader = new TarReader({
    entry: (entry) => {
      current = entry;
      pieces = [];
    },
    content: (piece) => pieces.push(Buffer.from(piece)),
    entryEnd: () => {
      if (current !== undefined) {
        members.push({ entry: current, content: Buffer.concat(pieces).toString() });
      }
    },
  });
  for (let at = 0; at < archive.length; at += pieceSize) {
    reader.push(archive.subarray(at, at + pieceSize));
  }
  reader.end();
  return members;
}

const names = (archive: Buffer): string[] => read(archive).map(({ entry }) => entry.name);
const one = (member: Member): TarEntry => {
  const [first] = read(tarOf([member]));
  if (first === undefined) throw new Error('the archive is empty');
  return first.entry;
};

describe('TarReader', () => {
  const sample = tarOf([
    { name: 'a', content: 'x'.repeat(1300), pax: { mtime: '12.5' } },
    { name: 'd/', typeflag: '5' },
    { name: 'd/empty' },
    { name: 'd/b', content: 'y'.repeat(512) },
  ]);

  it.each([1, 7, 511, 512, 513, 4096])('reads the same from pieces of %i bytes', (pieceSize) => {
    expect(read(sample, pieceSize)).toEqual(read(sample));
  });

  it('reads what tar-stream writes', async () => {
    const stream = pack();
    stream.entry({ name: 'dir/', type: 'directory', mode: 0o1777 });
    stream.entry({ name: `${'long/'.repeat(60)}ü`, uid: 1000, gid: 7 }, 'content');
    stream.entry({ name: 'link', type: 'symlink', linkname: 'dir' });
    stream.finalize();
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream) chunks.push(chunk as Uint8Array);
    const [directory, file, link] = read(Buffer.concat(chunks));
    expect(directory?.entry).toMatchObject({ name: 'dir/', type: 'directory', mode: 0o1777 });
    expect(file?.entry).toMatchObject({ name: `${'long/'.repeat(60)}ü`, uid: 1000, gid: 7 });
    expect(file?.content).toBe('content');
    expect(link?.entry).toMatchObject({ type: 'symlink', linkName: 'dir' });
  });

  it('joins the name prefix of a POSIX header', () => {
    const entry = one({ name: 'file', alter: (block) => block.write('some/folder', 345) });
    expect(entry.name).toBe('some/folder/file');
  });

  it('takes no name prefix from a GNU header, which keeps times there', () => {
    const entry = one({
      name: 'file',
      alter: (block) => {
        block.write('ustar  \0', 257);
        block.write('13371337133', 345);
      },
    });
    expect(entry.name).toBe('file');
  });

  it('reads GNU long names and link names', () => {
    const name = `n${'/component'.repeat(30)}`;
    const target = `t${'/component'.repeat(30)}`;
    const archive = tarOf([
      { name: '././@LongLink', typeflag: 'K', content: `${target}\0` },
      { name: '././@LongLink', typeflag: 'L', content: `${name}\0` },
      { name: 'short', typeflag: '2', linkName: 'short' },
      { name: 'next', content: 'x' },
    ]);
    const [link, next] = read(archive);
    expect(link?.entry).toMatchObject({ name, linkName: target });
    expect(next?.entry.name).toBe('next');
  });

  it('prefers PAX records over the header, for this member only', () => {
    const [first, second] = read(
      tarOf([
        {
          name: 'short',
          content: 'abc',
          pax: { path: 'p/ü', uid: '3000000', gid: '4000000', mtime: '-1.25' },
        },
        { name: 'plain', uid: 5 },
      ]),
    );
    expect(first?.entry).toMatchObject({ name: 'p/ü', uid: 3_000_000, gid: 4_000_000 });
    expect(first?.entry.modified).toEqual({ seconds: -2, nanoseconds: 750_000_000 });
    expect(second?.entry).toMatchObject({ name: 'plain', uid: 5 });
  });

  it('keeps times to the nanosecond, cutting what is finer', () => {
    const entry = one({ name: 'a', pax: { mtime: '1700000000.1234567899' } });
    expect(entry.modified).toEqual({ seconds: 1_700_000_000, nanoseconds: 123_456_789 });
  });

  it('keeps the bytes of extended attributes', () => {
    const capability = Buffer.from([1, 0, 0, 2, 0x80, 0x20, 0xff, 0x0a, 0, 0x3d]);
    const entry = one({ name: 'a', pax: { 'SCHILY.xattr.security.capability': capability } });
    expect(entry.xattrs.get('security.capability')).toEqual(capability);
  });

  it('applies a global PAX header to what follows', () => {
    const archive = tarOf([
      { name: 'g', typeflag: 'g', content: '20 comment=a commit\n12 uid=1234\n' },
      { name: 'a' },
      { name: 'b', pax: { uid: '5' } },
    ]);
    expect(read(archive).map(({ entry }) => entry.uid)).toEqual([1234, 5]);
  });

  it('reads numbers in base 256', () => {
    const entry = one({
      name: 'a',
      alter: (block) => {
        block.writeUInt32BE(0x80000000, 108);
        block.writeUInt32BE(3_000_000_000, 112);
        block.fill(0xff, 136, 148);
      },
    });
    expect(entry.uid).toBe(3_000_000_000);
    expect(entry.modified).toEqual({ seconds: -1, nanoseconds: 0 });
  });

  it('takes a file whose name ends in a slash for a directory, as before POSIX', () => {
    expect(one({ name: 'd/', typeflag: '\0' }).type).toBe('directory');
  });

  it('reads on after one block of zeros only to its end', () => {
    const archive = Buffer.concat([memberBytes({ name: 'a' }), Buffer.alloc(512)]);
    expect(names(archive)).toEqual(['a']);
  });

  it('accepts records of zeros after the end', () => {
    expect(names(Buffer.concat([sample, Buffer.alloc(10240)]))).toHaveLength(4);
  });

  it.each<[string, Buffer, string]>([
    ['an archive cut in a file', sample.subarray(0, 1700), 'truncated'],
    ['an archive cut in a header', sample.subarray(0, 100), 'truncated'],
    ['an archive cut between members', memberBytes({ name: 'a' }), 'truncated'],
    ['nothing at all', Buffer.alloc(0), 'truncated'],
    ['garbage after the end', Buffer.concat([sample, Buffer.from('x')]), 'data after its end'],
    ['a second archive after the end', Buffer.concat([sample, sample]), 'data after its end'],
    ['something else entirely', Buffer.from('not an archive'.repeat(80)), 'checksum is wrong'],
  ])('refuses %s', (_, archive, why) => {
    expect(() => read(archive)).toThrow(expect.objectContaining({ code: 'invalid-archive' }));
    expect(() => read(archive)).toThrow(why);
  });

  it.each<[string, Member, string]>([
    ['a negative size', { name: 'a', alter: (b) => b.fill(0xff, 124, 136) }, 'size is negative'],
    ['a size beyond counting', { name: 'a', alter: (b) => b.fill(0x9f, 124, 136) }, 'size is no'],
    ['a size that is no number', { name: 'a', alter: (b) => b.write('12x4', 124) }, 'size is no'],
    ['a negative PAX size', { name: 'a', pax: { size: '-5' } }, 'no usable number'],
    ['a huge PAX size', { name: 'a', pax: { size: '9'.repeat(20) } }, 'no usable number'],
    ['a PAX time that is none', { name: 'a', pax: { mtime: 'noon' } }, 'no time'],
    ['a directory with content', { name: 'd', typeflag: '5', content: 'x' }, 'bytes of content'],
    ['a link with content', { name: 'l', typeflag: '1', content: 'x' }, 'bytes of content'],
    ['an old sparse file', { name: 's', typeflag: 'S' }, 'sparse'],
    ['a PAX sparse file', { name: 's', pax: { 'GNU.sparse.major': '1' } }, 'sparse'],
    ['a multi-volume piece', { name: 'm', typeflag: 'M' }, 'several volumes'],
    ['an unknown type', { name: 'q', typeflag: 'Q' }, 'unknown type "Q"'],
    [
      'a name that is not UTF-8',
      { name: 'a', alter: (b) => b.fill(0xff, 0, 3) },
      'not valid UTF-8',
    ],
    ['a huge extension', { name: 'x', typeflag: 'x', size: 2 ** 21 }, 'too large'],
    ['a global path', { name: 'g', typeflag: 'g', content: '9 path=x\n' }, 'global PAX header'],
    ['a PAX record cut short', { name: 'x', typeflag: 'x', content: '30 path=x\n' }, 'cut short'],
    ['a PAX record of length 0', { name: 'x', typeflag: 'x', content: '0 path=x\n' }, 'cut short'],
  ])('refuses %s', (_, member, why) => {
    const archive = tarOf([member, { name: 'after' }]);
    expect(() => read(archive)).toThrow(expect.objectContaining({ code: 'invalid-archive' }));
    expect(() => read(archive)).toThrow(why);
  });
});

describe('an archive without an end-of-archive mark', () => {
  const read = (bytes: Buffer): TarReader => {
    const reader = new TarReader({ entry() {}, content() {}, entryEnd() {} });
    reader.push(bytes);
    return reader;
  };
  const archive = tarOf([{ name: 'a', content: 'x' }]);

  it('ends well between members, where that is allowed', () => {
    expect(() => read(archive.subarray(0, 1024)).endUnmarked()).not.toThrow();
    expect(() => read(archive.subarray(0, 1024)).end()).toThrow('it is truncated');
    expect(() => read(Buffer.alloc(0)).endUnmarked()).not.toThrow();
  });

  it.each([100, 512, 513, 600])('is truncated after %i bytes all the same', (length) => {
    expect(() => read(archive.subarray(0, length)).endUnmarked()).toThrow('it is truncated');
  });

  it('is truncated after an extended header', () => {
    const extended = tarOf([{ name: 'a', pax: { path: 'b' } }]);
    expect(() => read(extended.subarray(0, 1024)).endUnmarked()).toThrow('it is truncated');
  });
});
