import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { createAuthority } from '../../examples/quickstart/certificates.ts';
import {
  type LocalServer,
  startHttpServer,
  startHttpsServer,
} from '../../examples/quickstart/https-server.ts';
import { createInstallation, type Installation, runCommand } from '../support/installation.ts';
import { buildProgram } from '../support/program.ts';
import { needs, root } from '../support/requirements.ts';

/** What each check keeps closed, and one word of `--insecure-options` may open. */
interface Opened {
  /** An unsigned image is fetched. */
  unsigned: boolean;
  /** An image that was stored unsigned is run. */
  stored: boolean;
  /** A signed image comes from a server nobody vouches for. */
  certificate: boolean;
  /** A signed image comes by plain http. */
  plain: boolean;
  /** A public key comes from a server nobody vouches for. */
  keyCertificate: boolean;
  /** A public key comes by plain http. */
  keyPlain: boolean;
  /** An app has every capability. */
  capabilities: boolean;
  /** An app sees the kernel's symbols. */
  masked: boolean;
  /** An app may set what holds for the whole host. */
  writable: boolean;
  /** An app runs without a system call filter. */
  filter: boolean;
}

const CLOSED: Opened = {
  unsigned: false,
  stored: false,
  certificate: false,
  plain: false,
  keyCertificate: false,
  keyPlain: false,
  capabilities: false,
  masked: false,
  writable: false,
  filter: false,
};
const IMAGE = { unsigned: true, stored: true };
const TLS = { certificate: true, keyCertificate: true };
const HTTP = { plain: true };
const PUBKEY = { keyPlain: true };
const CAPABILITIES = { capabilities: true };
const PATHS = { masked: true, writable: true };
const SECCOMP = { filter: true };

/** rkt's rkt/flag/secflags.go. */
const WORDS: readonly (readonly [words: string, opened: Partial<Opened>])[] = [
  ['none', {}],
  ['ondisk', {}],
  ['image', IMAGE],
  ['tls', TLS],
  ['http', HTTP],
  ['pubkey', PUBKEY],
  ['capabilities', CAPABILITIES],
  ['paths', PATHS],
  ['seccomp', SECCOMP],
  ['all-fetch', { ...IMAGE, ...TLS, ...HTTP, ...PUBKEY }],
  ['all-run', { ...CAPABILITIES, ...PATHS, ...SECCOMP }],
  ['all', { ...IMAGE, ...TLS, ...HTTP, ...PUBKEY, ...CAPABILITIES, ...PATHS, ...SECCOMP }],
  ['none,Paths,ondisk', PATHS],
];

/** Says what it may. The file it opens for writing stays as it is. */
const app = buildProgram(`
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(void)
{
    char line[256];
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        if (strncmp(line, "CapBnd:", 7) == 0 || strncmp(line, "Seccomp:", 8) == 0)
            printf("%s", line);
    int symbols = open("/proc/kallsyms", O_RDONLY);
    printf("masked=%d\\n", symbols < 0 || read(symbols, line, 1) < 1);
    printf("writable=%d\\n", open("/proc/sys/kernel/core_pattern", O_WRONLY) >= 0);
    return 0;
}
`);

let directory: string;
let gantry: Installation;
let servers: Record<'good' | 'stranger' | 'plain', LocalServer>;
let environment: Record<string, string>;

beforeAll(async () => {
  if (!root.met) return;
  directory = mkdtempSync(join(tmpdir(), 'gantry-test-'));
  gantry = await createInstallation(directory);
  const rootfs = join(directory, 'rootfs');
  mkdirSync(rootfs);
  copyFileSync(app, join(rootfs, 'app'));
  const files = join(directory, 'files');
  mkdirSync(files);
  for (const name of ['signed', 'unsigned']) {
    const { path } = await gantry.makeImage(name, rootfs, { exec: ['/app'] });
    copyFileSync(path, join(files, `${name}.aci`));
    if (name === 'signed') copyFileSync(`${path}.asc`, join(files, 'signed.aci.asc'));
  }
  copyFileSync(join(directory, 'key.asc'), join(files, 'key.asc'));
  const handler: Parameters<typeof startHttpServer>[0] = (request, response) => {
    const file = join(files, (request.url ?? '').replace(/[^a-z.]/g, ''));
    if (existsSync(file)) response.end(readFileSync(file));
    else response.writeHead(404).end();
  };
  const authority = createAuthority('Gantry test CA');
  writeFileSync(join(directory, 'ca.pem'), authority.certificate);
  environment = { SSL_CERT_FILE: join(directory, 'ca.pem') };
  servers = {
    good: await startHttpsServer(authority.issue(['localhost']), handler),
    stranger: await startHttpsServer(createAuthority('Stranger').issue(['localhost']), handler),
    plain: await startHttpServer(handler),
  };
  await gantry.call('fetch', join(files, 'signed.aci'));
  await gantry.call('fetch', '--insecure-options=image', join(files, 'unsigned.aci'));
});

afterAll(async () => {
  for (const server of Object.values(servers ?? {})) await server.close();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});

beforeEach((context) => needs(context, root));

const place = (server: keyof typeof servers, file: string) =>
  `${server === 'plain' ? 'http' : 'https'}://localhost:${servers[server].port}/${file}`;

/** Whether a command succeeds; where it does not, it is refused for the reason it should be. */
async function isDone(why: RegExp, verb: string, ...words: readonly string[]): Promise<boolean> {
  const { code, stderr } = await runCommand({ ...gantry.command(verb, ...words), environment });
  if (code === 0) return true;
  expect(stderr).toMatch(why);
  expect(code).toBe(254);
  return false;
}

/** Tries everything that is closed, by words that are the same but for the `given` ones. */
async function tryAll(...given: readonly string[]): Promise<Opened> {
  // Nothing may be there already, and no key may be left.
  const scratch = mkdtempSync(join(directory, 'try-'));
  const fetch = async (why: RegExp, image: string) => {
    const done = await isDone(why, 'fetch', ...given, `--dir=${scratch}/data`, image);
    const layers = join(scratch, 'data/layers');
    if (!done) expect(existsSync(layers) ? readdirSync(layers) : []).toEqual([]);
    rmSync(join(scratch, 'data'), { recursive: true, force: true });
    return done;
  };
  const trust = async (why: RegExp, key: string) => {
    const words = [`--local-config=${scratch}/keys`, '--skip-fingerprint-review'];
    mkdirSync(join(scratch, 'keys'), { recursive: true });
    const done = await isDone(why, 'trust', ...given, ...words, '--prefix=example.org', key);
    expect(readdirSync(join(scratch, 'keys'))).toHaveLength(done ? 1 : 0);
    rmSync(join(scratch, 'keys'), { recursive: true });
    return done;
  };
  const run = await runCommand({
    ...gantry.command('run', ...given, '--net=none', 'example.com/signed:1.0.0'),
    environment,
  });
  expect(run.code, run.stderr).toBe(0);
  const bounding = BigInt(`0x${/CapBnd:\s*([0-9a-f]{16})/.exec(run.stdout)?.[1]}`);
  const all = BigInt(`0x${/CapBnd:\s*(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]}`);
  const opened = {
    unsigned: await fetch(/unsigned\.aci\.asc: .*404|signature/, place('good', 'unsigned.aci')),
    stored: await isDone(
      /nobody|signature|unsigned|not signed|verified/i,
      ...(['prepare', ...given, 'example.com/unsigned:1.0.0'] as [string, ...string[]]),
    ),
    certificate: await fetch(/certificate is not trusted/, place('stranger', 'signed.aci')),
    plain: await fetch(/plain http/, place('plain', 'signed.aci')),
    keyCertificate: await trust(/certificate is not trusted/, place('stranger', 'key.asc')),
    keyPlain: await trust(/plain http is refused/, place('plain', 'key.asc')),
    capabilities: bounding === all,
    masked: run.stdout.includes('masked=0'),
    writable: run.stdout.includes('writable=1'),
    filter: /Seccomp:\s*0/.test(run.stdout),
  };
  rmSync(scratch, { recursive: true });
  await gantry.call('gc', '--grace-period=0s', '--expire-prepared=0s');
  return opened;
}

describe('--insecure-options', () => {
  it('what it opens is closed without it', async () => {
    expect(await tryAll()).toEqual(CLOSED);
  });

  it.each(WORDS)('%s opens its own and nothing else', async (words, opened) => {
    expect(await tryAll(`--insecure-options=${words}`)).toEqual({ ...CLOSED, ...opened });
  });

  it('what the last one says holds, and what an earlier one opened is closed', async () => {
    const opened = await tryAll('--insecure-options=all', '--insecure-options=none');
    expect(opened).toEqual(CLOSED);
  });

  it.each([
    ['everything', /unknown option "everything" \(one of: none, /],
    ['image,', /unknown option ""/],
    [',', /unknown option ""/],
    ['image,tls,Image', /duplicated option "image"/],
    ['image tls', /unknown option "image tls"/],
  ])('"%s" is refused, by every command', async (words, why) => {
    for (const verb of ['run', 'fetch', 'list', 'trust']) {
      const image = place('good', 'signed.aci');
      const operands = verb === 'list' ? [] : [image];
      const { code, stderr } = await gantry.run(verb, `--insecure-options=${words}`, ...operands);
      expect(stderr).toMatch(why);
      expect(stderr).toMatch(/^gantry: .*--insecure-options: /);
      expect(code).toBe(254);
    }
  });
});

describe('nothing else', () => {
  it('in the environment opens anything', async () => {
    const before = environment;
    environment = {
      ...environment,
      NODE_TLS_REJECT_UNAUTHORIZED: '0',
      GANTRY_INSECURE_OPTIONS: 'all',
      RKT_INSECURE_OPTIONS: 'all',
      INSECURE_OPTIONS: 'all',
    };
    try {
      expect(await tryAll()).toEqual(CLOSED);
    } finally {
      environment = before;
    }
  });

  it('in a configuration file opens anything', async () => {
    const user = join(directory, 'user');
    const words = { 'insecure-options': 'all', insecureOptions: 'all', insecure: true };
    for (const kind of ['paths', 'stage1', 'kvm']) {
      mkdirSync(join(user, `${kind}.d`), { recursive: true });
      const file = { rktKind: kind, rktVersion: 'v1', ...words };
      writeFileSync(join(user, `${kind}.d`, 'all.json'), JSON.stringify(file));
    }
    expect(await tryAll(`--user-config=${user}`)).toEqual(CLOSED);
  });
});
