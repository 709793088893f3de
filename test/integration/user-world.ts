import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'vitest';
import { createInstallation, type Installation } from '../support/installation.ts';
import { endingOf, OrdinaryUser, type UserWishes } from '../support/ordinary-user.ts';
import { buildProbe } from './pod-probe.ts';

/** The signed image that the first user of a world has. */
export const IMAGE = 'example.com/probe:1.0.0';

/** Ordinary users of this machine, below a directory that goes when the world is closed. */
export class UserWorld {
  readonly directory: string;
  /** Where root makes images and signs them. */
  readonly maker: Installation;
  /** Has the image, and trusts who signed it. */
  readonly user: OrdinaryUser;
  #nextUid: number;

  private constructor(directory: string, maker: Installation, firstUid: number) {
    this.directory = directory;
    this.maker = maker;
    this.#nextUid = firstUid;
    this.user = this.newUser();
  }

  /** The users have numbers from `firstUid` on, which no world that is open meanwhile may have. */
  static async open(firstUid: number): Promise<UserWorld> {
    const directory = mkdtempSync(join(tmpdir(), 'gantry-rootless-'));
    chmodSync(directory, 0o755);
    const maker = await createInstallation(join(directory, 'maker'));
    const tree = join(directory, 'tree');
    mkdirSync(join(tree, 'bin'), { recursive: true });
    writeFileSync(join(tree, 'bin/probe'), readFileSync(buildProbe()), { mode: 0o755 });
    const { path } = await maker.makeImage('probe', tree, { exec: ['/bin/probe'] });
    const world = new UserWorld(directory, maker, firstUid);
    const { user } = world;
    const key = user.give(join(directory, 'maker/key.asc'), 'key.asc');
    await user.call('trust', '--prefix=example.com', '--skip-fingerprint-review', key);
    user.give(`${path}.asc`, 'probe.aci.asc');
    await user.call('fetch', user.give(path, 'probe.aci'));
    return world;
  }

  /** A further user; numbers are not used twice, as two users must not have one store. */
  newUser(wishes: UserWishes = {}): OrdinaryUser {
    const uid = this.#nextUid++;
    return new OrdinaryUser(join(this.directory, `user-${uid}`), { uid, ...wishes });
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Gives another user the image, and the key to believe it by. */
export async function share(from: OrdinaryUser, to: OrdinaryUser): Promise<void> {
  const [key = '', signature = '', file = ''] = ['key.asc', 'probe.aci.asc', 'probe.aci'].map(
    (name) => to.give(join(from.home, name), name),
  );
  expect(signature).not.toBe('');
  await to.call('trust', '--prefix=example.com', '--skip-fingerprint-review', key);
  await to.call('fetch', file);
}

/** The UUID that a pod being started writes to a file. */
export async function uuidIn(file: string): Promise<string> {
  for (let tries = 0; tries < 500; tries++) {
    const uuid = existsSync(file) ? readFileSync(file, 'utf8').trim() : '';
    if (uuid !== '') return uuid;
    await sleep(20);
  }
  throw new Error(`no pod has written its UUID to ${file}`);
}

/** Starts a pod of the user that waits, and answers its UUID when it is ready. */
export async function waitingPod(owner: OrdinaryUser, ...words: readonly string[]) {
  const file = join(owner.home, `uuid-${Math.random()}`);
  const child = owner.start(['run', `--uuid-file-save=${file}`, ...words]);
  const ending = endingOf(child);
  const uuid = await uuidIn(file);
  await owner.call('status', '--wait-ready=10s', uuid);
  return { uuid, child, ending };
}

/** A refusal is one line on standard error, and exit code 254. */
export function refusal(why: RegExp) {
  return {
    code: 254,
    stdout: '',
    stderr: expect.stringMatching(new RegExp(`^gantry: [^\n]*${why.source}[^\n]*\n$`)),
  };
}
