import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { GantryError } from '../error.ts';
import { quote } from '../image/quotation.ts';
import type { Pod } from './pod.ts';

/** A supervisor lets its lock go a moment before its working directory. */
const PATIENCE_MS = 200;

/**
 * Refuses to go on while processes stand in the directory of a pod whose lock nobody holds: a stage1
 * has let go of the lock, or has left them, and what they use must not be deleted under them. Those
 * that went elsewhere cannot be known (specs/lifecycle.md, Removing).
 * @throws GantryError `busy` naming one of them
 */
export function requireAbandoned(pod: Pod): void {
  for (const deadline = Date.now() + PATIENCE_MS; ; pause(10)) {
    // As the kernel tells it: the data directory may have been given by a link.
    const [first, ...others] = processesIn(readlinkSync(`/proc/self/fd/${pod.fd}`));
    if (first === undefined) return;
    if (Date.now() < deadline) continue;
    const work = others.length === 0 ? 'still works' : `and ${others.length} more still work`;
    throw new GantryError(
      'busy',
      `pod ${JSON.stringify(pod.uuid)} has ended, but process ${first.pid} (${quote(first.command)}) ${work} in its directory: end it and try again`,
    );
  }
}

interface Process {
  readonly pid: number;
  readonly command: string;
}

/** The processes whose working directory or root lies in `directory`, but for this one. */
function processesIn(directory: string): Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name) && name !== String(process.pid))
    .filter((pid) => ['cwd', 'root'].some((link) => leadsInto(`/proc/${pid}/${link}`, directory)))
    .map((pid) => ({ pid: Number(pid), command: commandOf(pid) }));
}

/** What the link says holds from phase to phase: the kernel tells where a directory lies now. */
function leadsInto(link: string, directory: string): boolean {
  try {
    const target = readlinkSync(link);
    if (target !== directory && !target.startsWith(`${directory}/`)) return false;
    // In another mount namespace there may be anything by that name: anybody can make one.
    const there = statSync(link, { bigint: true });
    const here = statSync(target, { bigint: true });
    return there.ino === here.ino && there.dev === here.dev;
  } catch {
    // The process has ended, or is a kernel thread.
    return false;
  }
}

function commandOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8').trim();
  } catch {
    return '?';
  }
}

function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
