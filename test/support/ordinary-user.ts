import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, chownSync, copyFileSync, mkdirSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Ending, exitCodeOf, ownProgram } from './installation.ts';
import type { Requirement } from './requirements.ts';
import { findProgram } from './requirements.ts';

/** What rootless pods take: shadow's two programs, and a checkout that others than root can read. */
export const rootless: Requirement = {
  what: 'newuidmap, newgidmap, setpriv, unshare and a checkout everybody can read',
  met:
    ['newuidmap', 'newgidmap', 'setpriv', 'unshare'].every(findProgram) && isReachable(ownProgram),
};

function isReachable(path: string): boolean {
  for (let at = path; ; at = dirname(at)) {
    if ((statSync(at).mode & 0o005) !== 0o005) return false;
    if (at === '/') return true;
  }
}

/** How a user of a test may differ from others. */
export interface UserWishes {
  readonly uid?: number;
  /** The first of 65536 subordinate ids; none where null. */
  readonly subordinate?: number | null;
  /** What stands between: `setpriv` and its options, say. */
  readonly before?: readonly string[];
  /** What a shell of root's does first, in the mount namespace of the process to be. */
  readonly asRoot?: string;
}

/**
 * An ordinary user of this machine, as far as the processes know that it starts: they see an /etc of
 * their own, which is laid over the machine's.
 */
export class OrdinaryUser {
  readonly uid: number;
  readonly home: string;
  readonly #etc: string;
  readonly #before: readonly string[];
  readonly #asRoot: string;

  /** `directory` is made, and everything of the user's is in it. */
  constructor(
    directory: string,
    { uid = 52000, subordinate, before = [], asRoot = ':' }: UserWishes = {},
  ) {
    this.uid = uid;
    this.home = join(directory, 'home');
    this.#etc = join(directory, 'etc');
    this.#before = before;
    this.#asRoot = asRoot;
    for (const path of [directory, this.home, this.#etc]) mkdirSync(path, { recursive: true });
    chmodSync(directory, 0o755);
    chmodSync(this.home, 0o700);
    chownSync(this.home, uid, uid);
    const first = subordinate === undefined ? 1_000_000 + (uid - 52000) * 65536 : subordinate;
    const ids = first === null ? '' : `user${uid}:${first}:65536\n`;
    this.writeEtc(
      'passwd',
      `root:x:0:0::/root:/bin/sh\nuser${uid}:x:${uid}:${uid}::${this.home}:/bin/sh\n`,
    );
    this.writeEtc('group', `root:x:0:\nuser${uid}:x:${uid}:\n`);
    this.writeEtc('subuid', ids);
    this.writeEtc('subgid', ids);
  }

  get dataDirectory(): string {
    return join(this.home, '.local/share/gantry');
  }

  /** What the user finds as `/etc/NAME`. */
  writeEtc(name: string, content: string): void {
    const path = join(this.#etc, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
  }

  /** A copy of a file in the user's home, the user's own. */
  give(path: string, name: string): string {
    const copy = join(this.home, name);
    copyFileSync(path, copy);
    chownSync(copy, this.uid, this.uid);
    return copy;
  }

  /** Starts `gantry WORDS` and leaves it running. */
  start(words: readonly string[], environment: NodeJS.ProcessEnv = {}): ChildProcess {
    return this.startProgram([ownProgram, ...words], environment);
  }

  /** Starts any program as the user; a variable that is undefined is taken from its environment. */
  startProgram(words: readonly string[], environment: NodeJS.ProcessEnv = {}): ChildProcess {
    const become = ['setpriv', `--reuid=${this.uid}`, `--regid=${this.uid}`, '--clear-groups'];
    const script = `mount -t overlay -o "lowerdir=$0:/etc" overlay /etc; ${this.#asRoot}; cd "$1"; shift; exec "$@"`;
    return spawn(
      'unshare',
      ['--mount', '--propagation=private', 'sh', '-ec', script, this.#etc, this.home]
        .concat(become)
        .concat(this.#before)
        .concat(words),
      {
        stdio: ['ignore', 'pipe', 'pipe'],
        env: { PATH: process.env['PATH'], HOME: this.home, ...environment },
      },
    );
  }

  /** Runs `gantry WORDS` to its end. */
  async run(words: readonly string[], environment: NodeJS.ProcessEnv = {}): Promise<Ending> {
    return await endingOf(this.start(words, environment));
  }

  /** The same of what has to succeed; resolves to its standard output, trimmed. */
  async call(...words: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.run(words);
    if (code !== 0) throw new Error(`gantry ${words.join(' ')}: exit ${code}: ${stderr}`);
    return stdout.trim();
  }
}

/** What a process says until it ends, the prefixes of lines of apps left out, and how it ends. */
export async function endingOf(child: ChildProcess): Promise<Ending> {
  const output = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'] as const) {
    child[stream]?.setEncoding('utf8').on('data', (text: string) => {
      output[stream] += text;
    });
  }
  const code = await exitCodeOf(child);
  const stdout = output.stdout.replaceAll(/^\[ *\d+\.\d+\] [a-z0-9-]+\[\d+\]: /gm, '');
  return { code, stdout, stderr: output.stderr };
}
