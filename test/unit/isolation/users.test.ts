import { chownSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { LayerTree } from '../../../src/isolation/layer-tree.ts';
import { resolveUser } from '../../../src/isolation/users.ts';
import { writeTree } from '../../support/file-tree.ts';
import { needs, root } from '../../support/requirements.ts';
import { temporaryDirectory } from '../../support/temporary.ts';

const PASSWD = [
  'root:x:0:0:root:/root:/bin/bash',
  '# not an account',
  'web:x:33:44:Web:/srv/web:/usr/sbin/nologin',
  'web:x:99:99::/:/bin/sh',
  '1000:x:7:8::/seven:',
].join('\n');
const GROUP =
  'root:x:0:\nstaff:x:50:web,other\nadm:x:4:root,web\nbroken\nodd:x:many:web\nold:x:60\n';

function image(): string {
  const directory = temporaryDirectory();
  writeTree(directory, { 'etc/passwd': PASSWD, 'etc/group': GROUP, 'bin/tool': '' });
  return directory;
}

function resolve(
  user: string,
  group: string,
  directory = image(),
  supplementaryGids: number[] = [],
) {
  return resolveUser({ user, group, supplementaryGids }, new LayerTree([directory]), 'app "a"');
}

describe('the user of an app', () => {
  it('is found by name, with home and shell', () => {
    expect(resolve('web', '0')).toEqual({
      uid: 33,
      gid: 0,
      gids: [],
      name: 'web',
      home: '/srv/web',
      shell: '/usr/sbin/nologin',
    });
  });

  it('may be a number nobody has a name for', () => {
    expect(resolve('4711', '4712')).toMatchObject({
      uid: 4711,
      gid: 4712,
      name: '4711',
      home: '/',
    });
  });

  it('is looked up by name before it is taken for a number', () => {
    expect(resolve('1000', '0')).toMatchObject({ uid: 7, home: '/seven', shell: '/bin/sh' });
  });

  it('has the name its number has in the image', () => {
    expect(resolve('33', '0').name).toBe('web');
  });

  it('is root even in an image without accounts', () => {
    expect(resolve('root', 'root', temporaryDirectory())).toMatchObject({ uid: 0, gid: 0 });
  });

  it('can be the owner of a file of the image', (context) => {
    needs(context, root);
    const directory = image();
    chownSync(join(directory, 'bin/tool'), 12, 34);
    expect(resolve('/bin/tool', '/bin/tool', directory)).toMatchObject({ uid: 12, gid: 34 });
  });

  it.each(['nobody-here', '-1', '4294967295', '12a', '', ' 1'])('is refused as %j', (user) => {
    expect(() => resolve(user, '0')).toThrow(/app "a": the image has no user/);
  });

  it('is refused when it is the owner of a missing file', () => {
    expect(() => resolve('/bin/gone', '0')).toThrow(
      'app "a": the image has no file /bin/gone, whose user the app should run as',
    );
  });
});

describe('the groups of an app', () => {
  it('are found by name', () => {
    expect(resolve('root', 'staff').gid).toBe(50);
  });

  it("default to the user's own", () => {
    expect(resolve('web', '').gid).toBe(44);
  });

  it('are all that the image has the user in, where no group is named', () => {
    expect(resolve('web', '').gids).toEqual([50, 4]);
    expect(resolve('33', '', image(), [4, 5]).gids).toEqual([4, 5, 50]);
    expect(resolve('web', '44').gids).toEqual([]);
  });

  it('are none but 0 for a number that is not in the image', () => {
    expect(resolve('4711', '')).toMatchObject({ uid: 4711, gid: 0, gids: [] });
  });

  it('are refused by the name that is missing', () => {
    expect(() => resolve('root', 'wheel')).toThrow('the image has no group "wheel"');
    expect(() => resolve('root', 'odd')).toThrow('the image has no group "odd"');
  });

  it('can be supplemented, each once', () => {
    expect(resolve('web', '0', image(), [5, 6, 5]).gids).toEqual([5, 6]);
  });
});
