import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { imageOf, layerOf, writeLayout } from '../support/oci-image.ts';
import { endingOf, type OrdinaryUser, rootless } from '../support/ordinary-user.ts';
import { needs, root } from '../support/requirements.ts';
import { makeImage, Signer } from './fetch-images.ts';
import { body, ranged, World } from './fetch-world.ts';
import { buildProbe } from './pod-probe.ts';
import { IMAGE, UserWorld } from './user-world.ts';

beforeEach((context) => needs(context, root, rootless));

let users: UserWorld;
let user: OrdinaryUser;

beforeAll(async () => {
  if (!root.met || !rootless.met) return;
  users = await UserWorld.open(52100);
  user = users.user;
});
afterAll(() => users?.close());

describe('images of an ordinary user', () => {
  let world: World;
  let signer: Signer;
  beforeAll(async () => {
    world = await World.open();
    signer = await Signer.create('Maker');
  });
  afterAll(() => world.close());

  /** What the user's environment has, to reach the world by https. */
  function reaching(owner: OrdinaryUser) {
    const proxy = `http://127.0.0.1:${world.proxy.port}`;
    const authority = owner.give(join(world.directory, 'ca.pem'), 'ca.pem');
    return { SSL_CERT_FILE: authority, HTTPS_PROXY: proxy };
  }

  it('come over https, signed by who is trusted', async () => {
    const owner = users.newUser();
    const bytes = await makeImage('example.com/app');
    const place = 'files.example.com/app.aci';
    world.serve({ [place]: ranged(bytes), [`${place}.asc`]: body(await signer.sign(bytes)) });
    const words = ['fetch', `https://${place}`];
    expect(await owner.run(words, reaching(owner))).toMatchObject({ code: 254 });
    expect(await owner.call('image', 'list', '--no-legend')).toBe('');
    const key = join(users.directory, 'signer.asc');
    writeFileSync(key, signer.key);
    await owner.call(
      'trust',
      '--prefix=example.com',
      '--skip-fingerprint-review',
      owner.give(key, 'signer.asc'),
    );
    expect(await owner.run(words, reaching(owner))).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^sha512-/),
    });
  });

  it('are believed by the keys of the machine too, and no longer where the user masks one', async () => {
    const owner = users.newUser();
    const [key = ''] =
      (await user.call('trust', 'list', '--format=json')).match(/[0-9a-f]{40}/) ?? [];
    owner.writeEtc(
      `gantry/trustedkeys/prefix.d/example.com/${key}`,
      readFileSync(
        join(user.home, `.config/gantry/trustedkeys/prefix.d/example.com/${key}`),
        'utf8',
      ),
    );
    owner.give(join(user.home, 'probe.aci.asc'), 'probe.aci.asc');
    const file = owner.give(join(user.home, 'probe.aci'), 'probe.aci');
    expect((await owner.run(['fetch', file])).code).toBe(0);
    expect((await owner.run(['run', IMAGE, '--', 'exit', '3'])).code).toBe(3);
    await owner.call('trust', 'rm', '--prefix=example.com', key);
    expect(await owner.run(['run', IMAGE])).toMatchObject({ code: 254 });
  });

  it('pass over the credentials of the machine', async () => {
    const owner = users.newUser();
    owner.writeEtc('gantry/auth.d/secret.json', '{}');
    await endingOf(
      spawn('chmod', [
        '-R',
        'go-rwx',
        join(users.directory, `user-${owner.uid}`, 'etc/gantry/auth.d'),
      ]),
    );
    world.serve({});
    const { stderr } = await owner.run(
      ['fetch', 'https://files.example.com/none.aci'],
      reaching(owner),
    );
    expect(stderr).not.toMatch(/EACCES|secret/);
  });

  it('have several owners and layers, and lose what upper layers hide, and devices', async () => {
    const owner = users.newUser();
    const layout = join(users.directory, 'layout');
    mkdirSync(layout);
    const probe = readFileSync(buildProbe());
    const layers = [
      layerOf([
        { name: 'bin/probe', content: probe, mode: 0o755 },
        { name: 'd/', typeflag: '5', uid: 7, gid: 8 },
        { name: 'd/hidden', content: 'x' },
        { name: 'gone', content: 'x' },
        { name: 'node', content: 'x' },
      ]),
      layerOf([
        { name: 'd/', typeflag: '5', uid: 7, gid: 8 },
        { name: 'd/.wh..wh..opq', content: '' },
        { name: 'd/own', content: 'x', uid: 65534, gid: 65534 },
        { name: '.wh.gone', content: '' },
        { name: 'node', typeflag: '3', major: 1, minor: 3 },
      ]),
    ];
    writeLayout(layout, {
      'example.com/layers:1': imageOf(layers, { run: { Entrypoint: ['/bin/probe'] } }),
    });
    const reference = `oci:${layout}:example.com/layers:1`;
    for (const overlay of [[], ['--no-overlay']]) {
      const { stdout, stderr } = await owner.run([
        '--insecure-options=image',
        'run',
        ...overlay,
        reference,
        '--',
        'stat',
        '/d',
        'ls',
        '/d',
        'stat',
        '/d/own',
        'stat',
        '/gone',
        'stat',
        '/node',
      ]);
      expect(stderr).not.toMatch(/gantry: run/);
      expect(stdout.split('\n')).toEqual([
        expect.stringMatching(/^stat \/d: 4\d{4} 7:8$/),
        'ls /d: own',
        expect.stringMatching(/^stat \/d\/own: 100\d{3} 65534:65534$/),
        'stat /gone: No such file or directory',
        'stat /node: No such file or directory',
        '',
      ]);
    }
    await owner.call('image', 'verify', 'example.com/layers:1');
    await owner.call('gc', '--grace-period=0s');
    await owner.call('image', 'rm', 'example.com/layers:1');
  });

  it('are refused with owners the user has no ids for', async () => {
    const owner = users.newUser();
    const layout = join(users.directory, 'far');
    mkdirSync(layout);
    writeLayout(layout, {
      'example.com/far:1': imageOf([layerOf([{ name: 'a', content: 'a', uid: 70000 }])]),
    });
    const ending = await owner.run([
      '--insecure-options=image',
      'fetch',
      `oci:${layout}:example.com/far:1`,
    ]);
    expect(ending.stderr).toMatch(/its owner 70000:0 is beyond your 65537 ids/);
    expect(ending.code).toBe(254);
  });
});
