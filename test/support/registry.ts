import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createAuthority } from '../../examples/quickstart/certificates.ts';
import type { LocalServer } from '../../examples/quickstart/https-server.ts';
import { findProgram } from './requirements.ts';
import { startTokenServer } from './token-server.ts';

/** How a test's registry is to be spoken to. */
export interface RegistryOptions {
  /** HTTPS under an authority of its own (the default), or plain HTTP. */
  readonly tls?: boolean;
  /** Nobody is asked who he is (the default), or everybody by Basic, or by tokens. */
  readonly auth?: 'none' | 'basic' | 'token';
  /** With `token`: pulling needs no credentials. */
  readonly anonymousPull?: boolean;
  /** The folder its own is made in; the system's for temporary files unless given. */
  readonly parent?: string;
}

/** Debian's docker-registry on a free port of this machine, empty. */
export interface TestRegistry {
  /** `localhost:PORT`, as a reference begins. */
  readonly host: string;
  readonly port: number;
  /** The authority's certificate, PEM, for `SSL_CERT_FILE`; it exists without TLS, too. */
  readonly ca: string;
  /** Holds only `ca.crt`: what skopeo's `--dest-cert-dir` and podman's `--cert-dir` take. */
  readonly certificates: string;
  /** Where its blobs lie, to be spoiled. */
  readonly storage: string;
  readonly user: string;
  readonly password: string;
  /** Every request the token server saw, `METHOD /path?query`; empty without one. */
  readonly tokenRequests: readonly string[];
  close(): Promise<void>;
}

/** What a test needs of the host for a registry; for `needs(context, program(registryProgram))`. */
export const registryProgram = 'docker-registry';

const user = 'tester';
const password = 'secret';
// bcrypt, the only kind the registry reads, of `secret`: Node cannot make one.
const htpasswd = `${user}:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n`;
const service = 'gantry-test-registry';

/** Starts a registry; the caller closes it. Version 2.8 has no referrers API: fallback tags are used. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const { tls = true, auth = 'none', parent = tmpdir() } = options;
  const directory = mkdtempSync(join(parent, 'gantry-registry-'));
  const storage = join(directory, 'storage');
  const certificates = join(directory, 'certificates');
  for (const folder of [storage, certificates]) mkdirSync(folder);
  const ca = join(certificates, 'ca.crt');
  const authority = createAuthority('Gantry test registry CA');
  const identity = authority.issue(['localhost', '127.0.0.1']);
  writeFileSync(ca, authority.certificate);
  writeFileSync(join(directory, 'server.crt'), identity.certificate);
  writeFileSync(join(directory, 'server.key'), identity.key);
  writeFileSync(join(directory, 'htpasswd'), htpasswd);
  const tokens =
    auth === 'token'
      ? await startTokenServer({
          user,
          password,
          service,
          signer: identity,
          tls: tls ? identity : undefined,
          anonymousPull: options.anonymousPull,
        })
      : undefined;
  const configuration = configure(directory, { tls, auth }, tokens);
  const server = serve(configuration);
  const close = async () => {
    server.kill('SIGKILL');
    await tokens?.close();
    rmSync(directory, { recursive: true, force: true });
  };
  const port = await portOf(server).catch(async (error: unknown) => {
    await close();
    throw error;
  });
  return {
    host: `localhost:${port}`,
    port,
    ca,
    certificates,
    storage,
    user,
    password,
    tokenRequests: tokens?.requests ?? [],
    close,
  };
}

/** The registry as a process, which the kernel ends when the test's own is killed. */
function serve(configuration: string): ChildProcess {
  const words = [findProgram(registryProgram) ?? registryProgram, 'serve', configuration];
  return spawn('setpriv', ['--pdeathsig', 'KILL', ...words], {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, OTEL_TRACES_EXPORTER: 'none' },
  });
}

/** Writes the registry's configuration file, JSON being YAML as well; answers its path. */
function configure(
  directory: string,
  { tls, auth }: { tls: boolean; auth: 'none' | 'basic' | 'token' },
  tokens: LocalServer | undefined,
): string {
  const server = join(directory, 'server');
  const realm = `${tls ? 'https' : 'http'}://localhost:${tokens?.port}/token`;
  const rootcertbundle = join(directory, 'certificates', 'ca.crt');
  const auths = {
    none: {},
    basic: { auth: { htpasswd: { realm: 'test', path: join(directory, 'htpasswd') } } },
    token: { auth: { token: { realm, service, issuer: 'gantry-test', rootcertbundle } } },
  };
  const configuration = {
    version: 0.1,
    log: { level: 'info', accesslog: { disabled: true } },
    storage: {
      filesystem: { rootdirectory: join(directory, 'storage') },
      delete: { enabled: true },
    },
    http: {
      addr: '127.0.0.1:0',
      ...(tls ? { tls: { certificate: `${server}.crt`, key: `${server}.key` } } : {}),
    },
    ...auths[auth],
  };
  const path = join(directory, 'configuration.yml');
  writeFileSync(path, JSON.stringify(configuration));
  return path;
}

/** The port the registry chose, which it says as soon as it listens. */
function portOf(server: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    let said = '';
    server.once('error', reject);
    server.once('exit', () => reject(new Error(`the registry did not start: ${said}`)));
    server.stderr?.setEncoding('utf8').on('data', (text: string) => {
      if (said.length > 1 << 16) return;
      said += text;
      const [, port] = /listening on 127\.0\.0\.1:(\d+)/.exec(said) ?? [];
      if (port !== undefined) resolve(Number(port));
    });
  });
}
