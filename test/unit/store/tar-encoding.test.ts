import { extract, type Header } from 'tar-stream';
import { describe, expect, it } from 'vitest';
import { encodeMember, endOfArchive, type TarMember } from '../../../src/store/tar-encoding.ts';
import { type TarEntry, TarReader } from '../../../src/store/tar-reader.ts';

const plain: TarMember = {
  typeflag: '0',
  name: 'rootfs/file',
  linkName: '',
  mode: 0o4755,
  uid: 1,
  gid: 2,
  size: 0,
  seconds: 1_700_000_000,
  nanoseconds: 0,
  deviceMajor: 0,
  deviceMinor: 0,
  xattrs: new Map(),
};

function readBack(member: TarMember): TarEntry {
  let found: TarEntry | undefined;
  const reader = new TarReader({
    entry: (entry) => {
      found = entry;
    },
    content: () => {},
    entryEnd: () => {},
  });
  reader.push(Buffer.concat([encodeMember(member), endOfArchive]));
  reader.end();
  if (found === undefined) throw new Error('nothing was read back');
  return found;
}

describe('encodeMember', () => {
  it('needs one block for what fits a ustar header, and tar-stream reads it', async () => {
    const bytes = encodeMember(plain);
    expect(bytes).toHaveLength(512);
    const header = await new Promise<Header>((resolve, reject) => {
      const reader = extract();
      reader.on('entry', resolve);
      reader.on('error', reject);
      reader.end(Buffer.concat([bytes, endOfArchive]));
    });
    expect(header).toMatchObject({ name: 'rootfs/file', mode: 0o4755, uid: 1, gid: 2 });
    expect(header.mtime.getTime()).toBe(1_700_000_000_000);
  });

  it.each<[string, Partial<TarMember>]>([
    ['a long name', { name: `rootfs/${'x'.repeat(200)}` }],
    ['a name that is not ASCII', { name: 'rootfs/ü' }],
    ['a long link', { typeflag: '2', linkName: 'y'.repeat(300) }],
    ['large owners', { uid: 3_000_000_000, gid: 2_097_152 }],
    ['a device', { typeflag: '3', deviceMajor: 254, deviceMinor: 1_048_575 }],
  ])('carries %s', (_, change) => {
    const { typeflag, seconds, nanoseconds, ...rest } = { ...plain, ...change };
    expect(readBack({ ...plain, ...change })).toMatchObject(rest);
  });

  it.each([
    [0, 1],
    [-1, 0],
    [-1, 999_999_999],
    [-315_619_200, 250_000_000],
    [2 ** 40, 123_456_789],
  ])('carries the time %i s and %i ns', (seconds, nanoseconds) => {
    expect(readBack({ ...plain, seconds, nanoseconds }).modified).toEqual({ seconds, nanoseconds });
  });

  it('carries any bytes in an attribute', () => {
    const value = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
    expect(
      readBack({ ...plain, xattrs: new Map([['user.x', value]]) }).xattrs.get('user.x'),
    ).toEqual(value);
  });

  it.each([88, 89, 90, 91, 92, 986, 987, 988, 989])(
    'counts the digits of a record of about %i bytes',
    (length) => {
      const name = `rootfs/${'n'.repeat(length)}`;
      expect(readBack({ ...plain, name }).name).toBe(name);
    },
  );
});
