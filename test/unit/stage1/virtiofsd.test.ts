import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { findVirtiofsd } from '../../../src/stage1/virtiofsd.ts';
import { needs, root } from '../../support/requirements.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const QEMU =
  'virtiofsd version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright the QEMU Project developers';
const RUST = 'virtiofsd 1.13.2';

/** A host with programs that say what they are, and what describes them. */
function host(
  programs: Readonly<Record<string, string>>,
  descriptions: Readonly<Record<string, unknown>> = {},
) {
  const folder = temporaryDirectory();
  for (const [name, version] of Object.entries(programs)) {
    const script = `#!/bin/sh\ncat <<E\n${version}\nE\n`;
    writeFileSync(join(folder, name), script, { mode: 0o755 });
  }
  const described = join(folder, 'vhost-user');
  mkdirSync(described);
  for (const [name, content] of Object.entries(descriptions)) {
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    writeFileSync(join(described, name), text.replaceAll('FOLDER', folder));
  }
  const find = (names: readonly string[] = Object.keys(programs), folders = [folder]) =>
    findVirtiofsd(
      folders,
      [described, join(folder, 'none')],
      names.map((name) => join(folder, name)),
    );
  return { folder, find };
}

describe('the virtiofsd of a host', () => {
  it('is known by what it says of its version', () => {
    const { folder, find } = host({ old: QEMU, new: RUST, other: 'fuse-fsd 2.0' });
    expect(find(['old'])).toEqual({ path: join(folder, 'old'), kind: 'qemu' });
    expect(find(['other', 'missing', 'new'])).toEqual({ path: join(folder, 'new'), kind: 'rust' });
    expect(find(['other', 'missing'])).toBeUndefined();
  });

  it('is the first one described as such, before those in the usual places', () => {
    const { folder, find } = host(
      { a: QEMU, b: RUST },
      {
        '20-b.json': { type: 'fs', binary: 'FOLDER/b' },
        '10-gpu.json': { type: 'gpu', binary: 'FOLDER/a' },
        '05-damaged.json': '{',
        '06-odd.json': [null],
        '07-relative.json': { type: 'fs', binary: 'a' },
      },
    );
    expect(find(['a'])).toEqual({ path: join(folder, 'b'), kind: 'rust' });
  });

  it('is refused where others than root could put another in its place', (context) => {
    needs(context, root);
    const { folder, find } = host({ a: RUST });
    chmodSync(join(folder, 'a'), 0o777);
    expect(() => find()).toThrow(/stage1 kvm: cannot use .*\/a: /);
  });

  it('lies where the programs of a machine lie, itself, not a link to it', () => {
    const { folder, find } = host({ a: RUST });
    symlinkSync('a', join(folder, 'link'));
    expect(find(['link'])).toEqual({ path: join(folder, 'a'), kind: 'rust' });
    expect(find(['a'], ['/usr'])).toBeUndefined();
  });
});
