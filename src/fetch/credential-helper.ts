import { spawn } from 'node:child_process';
import type { RegistryLogin } from '../config/registry-logins.ts';
import { GantryError, reasonOf } from '../error.ts';
import { parseDocument } from '../image/document.ts';
import { quote } from '../image/quotation.ts';

/** Somebody may have to unlock a key ring, but not make tea first. */
const TIME_LIMIT = 60_000;
const OUTPUT_LIMIT = 64 * 1024;

/** What docker's own helpers say, on standard output, where they have nothing. */
const nothingFound = /credentials not found/i;

/** A login that needs no further asking. */
export type PlainLogin = Exclude<RegistryLogin, { type: 'helper' }>;

/**
 * Asks `docker-credential-NAME get` for a server's login (docker/docker-credential-helpers, README,
 * "Development"); undefined where it has none. What it prints is never repeated: it may be the secret.
 *
 * @throws GantryError `config` where it cannot be run, fails, or answers nonsense; `interrupted`
 */
export async function askCredentialHelper(
  { name, server }: { readonly name: string; readonly server: string },
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<PlainLogin | undefined> {
  const program = `docker-credential-${name}`;
  const { code, output } = await run(program, server, env, signal);
  if (code !== 0) {
    if (nothingFound.test(output)) return undefined;
    throw failure(program, `fails for ${quote(server)} with exit code ${code ?? 'of a signal'}`);
  }
  const root = parseDocument(Buffer.from(output), {
    what: program,
    code: 'config',
    confidential: true,
  });
  const user = root.member('Username').string();
  const secret = root.member('Secret').filledString();
  // The helpers' own sign for an identity token.
  if (user === '<token>') return { type: 'identity-token', token: secret };
  return user === '' ? undefined : { type: 'password', user, password: secret };
}

function run(
  program: string,
  input: string,
  env: NodeJS.ProcessEnv,
  signal: AbortSignal | undefined,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, ['get'], {
      env,
      stdio: ['pipe', 'pipe', 'ignore'],
      timeout: TIME_LIMIT,
      killSignal: 'SIGKILL',
      ...(signal === undefined ? {} : { signal }),
    });
    const pieces: Buffer[] = [];
    let size = 0;
    child.stdout.on('data', (piece: Buffer) => {
      size += piece.length;
      if (size > OUTPUT_LIMIT) child.kill('SIGKILL');
      else pieces.push(piece);
    });
    // One that does not read its input is still to be heard.
    child.stdin.on('error', () => {}).end(`${input}\n`);
    child.once('error', (cause) => {
      if (signal?.aborted) reject(new GantryError('interrupted', 'interrupted', { cause }));
      else reject(failure(program, `cannot be run: ${reasonOf(cause)}`, cause));
    });
    child.once('close', (code) => {
      if (size > OUTPUT_LIMIT) reject(failure(program, `answers more than ${OUTPUT_LIMIT} bytes`));
      else resolve({ code, output: Buffer.concat(pieces).toString('utf8') });
    });
  });
}

function failure(program: string, why: string, cause?: unknown): GantryError {
  return new GantryError('config', `the credential helper ${program} ${why}`, { cause });
}
