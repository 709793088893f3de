import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { needs, program, root as superuser } from '../support/requirements.ts';
import { SigstoreWorld } from '../unit/trust/sigstore-world.ts';
import { Gnupg } from './trust-gnupg.ts';

const source = join(import.meta.dirname, '../../src/cli/program.ts');
const script = `import { main } from ${JSON.stringify(source)}; process.exitCode = await main(process.argv.slice(1));`;

let root: string;
beforeEach((context) => {
  needs(context, superuser, program('openssl'));
  root = mkdtempSync(join(tmpdir(), 'trust-command-'));
});
afterEach(() => {
  if (root !== undefined) rmSync(root, { recursive: true, force: true });
});

interface Answer {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function gantry(...words: string[]): Answer {
  const places = ['etc', 'usr', 'data'].map((name) => join(root, name));
  const [local = '', system = '', data = ''] = places;
  const globals = ['--local-config', local, '--system-config', system, '--dir', data];
  const node = ['--input-type=module', '-e', script, '--', ...globals, ...words];
  const { status, stdout, stderr } = spawnSync(process.execPath, node, { encoding: 'utf8' });
  return { code: status, stdout, stderr };
}

function done(...words: string[]): string {
  const answer = gantry(...words);
  expect(answer).toMatchObject({ code: 0 });
  return answer.stdout;
}

/** The public half of a new key of openssl's, in a file. */
function keyFile(name = 'key'): string {
  const secret = join(root, `${name}.key`);
  const path = join(root, `${name}.pub`);
  const algorithm = ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];
  execFileSync('openssl', ['genpkey', ...algorithm, '-out', secret], { stdio: 'pipe' });
  execFileSync('openssl', ['pkey', '-in', secret, '-pubout', '-out', path], { stdio: 'pipe' });
  return path;
}

function authorityFile(): string {
  const path = join(root, 'ca.pem');
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-noenc'];
  const files = ['-keyout', join(root, 'ca.key'), '-out', path];
  execFileSync('openssl', ['req', '-x509', ...key, ...files, '-subj', '/O=Acme/CN=Root'], {
    stdio: 'pipe',
  });
  return path;
}

const REVIEWED = '--skip-fingerprint-review';
const ISSUER = 'https://token.actions.githubusercontent.com';

describe('gantry trust', () => {
  it('takes any kind of key, says what it is, and lists it', () => {
    using gpg = new Gnupg();
    const openpgp = join(root, 'key.asc');
    writeFileSync(openpgp, gpg.publicKey(gpg.generate('Ada <ada@example.com>')));
    const prefix = ['--prefix', 'localhost:5000/team'];
    expect(done('trust', ...prefix, REVIEWED, openpgp)).toMatch(/^gpg key fingerprint is: /);
    expect(done('trust', ...prefix, REVIEWED, keyFile())).toMatch(
      /^sigstore key fingerprint is: (?:[0-9A-F]{4} ){8} .*\n\tECDSA P-256\n/,
    );
    expect(done('trust', '--root', REVIEWED, authorityFile())).toMatch(
      /^certificate authority fingerprint is: .*\n\tCN=Root, O=Acme\n\tvalid from /,
    );
    const identity = ['--identity', '^https://github\\.com/team/.*$', '--issuer', ISSUER];
    expect(done('trust', ...prefix, ...identity)).toContain(
      'keyless identity is whatever matches: ^https://github\\.com/team/.*$',
    );
    const listed = JSON.parse(done('trust', 'list', '--format=json')) as { kind: string }[];
    expect(listed.map(({ kind }) => kind).sort()).toEqual([
      'openpgp',
      'sigstore-identity',
      'sigstore-key',
      'x509',
    ]);
    const table = done('trust', 'list').split('\n');
    expect(table[0]).toMatch(/^FINGERPRINT\t+KIND\t+RULE\t+WHO\t+PATH$/);
    expect(table.find((line) => line.includes('openpgp'))).toContain('Ada <ada@example.com>');
  });

  it('asks for the review of a key whatever its kind', () => {
    const { code, stderr } = gantry('trust', '--prefix', 'example.com', keyFile());
    expect(code).toBe(254);
    expect(stderr).toContain('unable to ask user to review fingerprint due to lack of tty');
  });

  it('refuses a secret key without printing it', () => {
    keyFile();
    const { code, stderr } = gantry('trust', '--root', REVIEWED, join(root, 'key.key'));
    expect(code).toBe(254);
    expect(stderr).toContain('it holds a SECRET key, of which nothing was kept');
    expect(stderr).not.toContain('MIG');
  });

  it.each([
    [['--identity', 'ada@example.com'], /--identity and --issuer go together/],
    [['--issuer', ISSUER], /--identity and --issuer go together/],
    [['--identity', 'https://github.com/team/*', '--issuer', ISSUER], /from \^ to \$/],
    [['--identity', '^.*$', '--issuer', ISSUER], /is everybody/],
    [['--identity', 'a@b.c', '--issuer', 'http://a.example'], /not an https:\/\/ URL/],
    [['--identity', 'a@b.c', '--issuer', ISSUER, 'key.pub'], /either --identity and --issuer/],
  ])('refuses %j', (words, why) => {
    const { code, stderr } = gantry('trust', '--prefix', 'example.com', ...words);
    expect(code).toBe(254);
    expect(stderr).toMatch(why);
  });

  it('installs a trusted root, and refuses what is none', async () => {
    const world = await SigstoreWorld.create();
    const given = world.install({ system: root, local: join(root, 'given') });
    expect(done('trust', '--trusted-root', given)).toMatch(/^Added trusted root at ".*\.json"\n$/);
    expect(readdirSync(join(root, 'etc/trustedroots.d'))).toHaveLength(1);
    writeFileSync(given, '{"mediaType":"text/plain"}');
    expect(gantry('trust', '--trusted-root', given)).toMatchObject({ code: 254 });
    expect(readdirSync(join(root, 'etc/trustedroots.d'))).toHaveLength(1);
  });
});

describe('what is trusted', () => {
  it('is shown by fingerprint, with every rule', () => {
    const key = keyFile();
    done('trust', '--prefix', 'example.com/app', REVIEWED, key);
    done('trust', '--root', REVIEWED, key);
    const [{ fingerprint } = { fingerprint: '' }] = JSON.parse(
      done('trust', 'list', '--format=json'),
    );
    const shown = done('trust', 'show', fingerprint.slice(0, 12));
    expect(shown).toMatch(/kind: sigstore-key\n/);
    expect(shown).toMatch(/trusted for: every name, by /);
    expect(shown).toMatch(/trusted for: example\.com\/app, by /);
  });

  it('is printed as one policy: for these names these keys, those for every name included', () => {
    done('trust', '--prefix', 'example.com/app', REVIEWED, keyFile());
    done('trust', '--root', REVIEWED, authorityFile());
    const policy = JSON.parse(done('trust', '--policy', '--format=json')) as {
      names: string;
      keys: { kind: string }[];
    }[];
    expect(policy.map(({ names, keys }) => [names, keys.map(({ kind }) => kind)])).toEqual([
      ['every name', ['x509']],
      ['example.com/app', ['x509', 'sigstore-key']],
    ]);
  });

  it('is taken away by rm, for all names or for those under a prefix', () => {
    done('trust', '--root', REVIEWED, keyFile());
    const [{ fingerprint } = { fingerprint: '' }] = JSON.parse(
      done('trust', 'list', '--format=json'),
    );
    expect(done('trust', 'rm', fingerprint, '--prefix', 'example.com')).toMatch(
      /^Masked key for prefix "example\.com"/,
    );
    expect(done('trust', '--policy')).toMatch(/example\.com\t+none/);
    expect(done('trust', 'rm', fingerprint.slice(0, 8))).toMatch(/^Removed root key at /);
    expect(gantry('trust', 'rm', fingerprint)).toMatchObject({ code: 254 });
    expect(done('trust', 'list', '--no-legend')).toBe('');
  });

  it('is explained for a reference', () => {
    done('trust', '--prefix', 'docker.io/library', REVIEWED, keyFile());
    const explained = done('trust', 'explain', 'docker://busybox');
    expect(explained).toContain('accepted for docker.io/library/busybox');
    expect(explained).toMatch(/sigstore-key\t+docker\.io\/library\t+cosign, bundle\t+ECDSA P-256/);
    expect(explained).toContain('no such image is in the store');
    expect(done('trust', 'explain', 'example.com/app')).toContain(
      "nobody's signature is accepted for example.com/app: to change that run gantry trust --prefix example.com/app\n",
    );
    expect(done('trust', 'explain', 'docker://example.com/app')).toContain(
      'to change that run gantry trust --prefix example.com/app KEY\n',
    );
  });

  it('is explained with what keeps a key from vouching after all', () => {
    const who = ['--identity', 'ada@example.com', '--issuer', 'https://accounts.example.com'];
    done('trust', '--prefix', 'example.com', REVIEWED, ...who);
    const explained = done('trust', 'explain', 'docker://example.com/app');
    expect(explained).toContain('no sigstore trusted root is installed');
  });
});
