import type { ChildProcess } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { descendantsOf, isSame, killProcess, type Process } from './processes.ts';

/** How the run process of a pod ended. */
export interface PodEnding {
  /** Null when a signal ended it. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** A pod under test, from its run process's start to its end. */
export class Pod {
  uuid = '';
  readonly run: number;
  /** Every process of the pod that was ever seen. */
  readonly seen = new Map<number, Process>();
  private output = '';
  private errors = '';
  private readonly ended: Promise<PodEnding>;
  private readonly child: ChildProcess;
  private readonly dataDirectory: string;

  private constructor(child: ChildProcess, dataDirectory: string) {
    this.child = child;
    this.run = child.pid ?? 0;
    this.dataDirectory = dataDirectory;
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      this.output += text;
    });
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.errors += text;
    });
    this.ended = this.waitForEnd();
  }

  /** The pod of a `gantry run` or `run-prepared` that was just started, once `findUuid` knows it. */
  static async of(
    child: ChildProcess,
    dataDirectory: string,
    patience: number,
    findUuid: () => string | undefined,
  ): Promise<Pod> {
    const pod = new Pod(child, dataDirectory);
    try {
      await pod.until(() => findUuid() !== undefined, patience, 'there was a pod');
    } catch (error) {
      pod.destroy();
      throw error;
    }
    pod.uuid = findUuid() ?? '';
    return pod;
  }

  /** What is left of a pod may hold the pipes open: output is waited for, but not for ever. */
  private async waitForEnd(): Promise<PodEnding> {
    const closed = new Promise((resolve) => this.child.once('close', resolve));
    await new Promise((resolve) => this.child.once('exit', resolve));
    await Promise.race([closed, sleep(1000)]);
    return { code: this.child.exitCode, signal: this.child.signalCode, stderr: this.errors };
  }

  /** Where the pod lies now, whatever its phase. */
  get directory(): string {
    const pods = join(this.dataDirectory, 'pods');
    const phase = readdirSync(pods).find((name) => existsSync(join(pods, name, this.uuid)));
    if (phase === undefined) throw new Error('the pod directory is gone');
    return join(pods, phase, this.uuid);
  }

  /** What is in a file of the pod directory; undefined where there is none. */
  file(name: string): string | undefined {
    try {
      return readFileSync(join(this.directory, name), 'utf8');
    } catch {
      return undefined;
    }
  }

  /** When a file of the pod directory was written, in seconds since 1970. */
  fileTime(name: string): number {
    return statSync(join(this.directory, name)).mtimeMs / 1000;
  }

  /** The lines the apps have written, as they came. */
  get rawLines(): string[] {
    return this.output.split('\n').slice(0, -1);
  }

  /** The same without what a flavour puts before each. */
  get lines(): string[] {
    return this.rawLines.map((line) => line.replace(/^\[ *\d+\.\d+\] [a-z0-9-]+\[\d+\]: /, ''));
  }

  /** The values of `KEY=VALUE` lines. */
  values(key: string): string[] {
    const start = `${key}=`;
    return this.lines
      .filter((line) => line.startsWith(start))
      .map((line) => line.slice(start.length));
  }

  /** The one value of a key. @throws Error when the app has not said it */
  value(key: string): string {
    const [value] = this.values(key);
    if (value === undefined) throw new Error(`the app has not said its ${key}`);
    return value;
  }

  /** Waits until the app has written a line. */
  async line(line: string, patience: number): Promise<void> {
    await this.until(() => this.lines.includes(line), patience, `the app's line "${line}"`);
  }

  /** Waits for something to be so; notes meanwhile which processes the pod has. */
  async until(is: () => boolean, patience: number, what: string): Promise<void> {
    const deadline = Date.now() + patience * 1000;
    while (!is()) {
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        const ending = await this.ended;
        if (is()) return;
        throw new Error(`run ended with ${endWord(ending)} before ${what}${said(ending.stderr)}`);
      }
      if (Date.now() > deadline) throw new Error(`no ${what} in ${patience} s`);
      await sleep(10);
    }
    this.notice();
  }

  /** Notes which processes the pod has now. */
  notice(): readonly Process[] {
    const now = descendantsOf(this.run);
    for (const process of now) this.seen.set(process.pid, process);
    return now;
  }

  /** The number of init, as `pid` has it. */
  get init(): number {
    return Number(this.file('pid')?.trim().split(' ')[1] ?? Number.NaN);
  }

  signal(name: NodeJS.Signals): void {
    process.kill(this.run, name);
  }

  /** Waits for the run process to end; notes meanwhile which processes the pod has. */
  async end(patience: number): Promise<PodEnding> {
    const deadline = Date.now() + patience * 1000;
    while (this.child.exitCode === null && this.child.signalCode === null) {
      if (Date.now() > deadline) throw new Error(`run has not ended in ${patience} s`);
      this.notice();
      await sleep(20);
    }
    return await this.ended;
  }

  /** The processes of the pod that live on, which may take a moment to go after its end. */
  async survivors(): Promise<string[]> {
    const deadline = Date.now() + 2000;
    for (;;) {
      const alive = [...this.seen.values()].filter(isSame);
      if (alive.length === 0 || Date.now() > deadline) {
        return alive.map(({ pid, name }) => `${name}[${pid}]`);
      }
      await sleep(20);
    }
  }

  /** Ends all that is still there: for the end of a check that went wrong. */
  destroy(): void {
    this.notice();
    this.child.kill('SIGKILL');
    for (const process of this.seen.values()) killProcess(process);
  }
}

/** `7`, or the signal's name. */
export function endWord({ code, signal }: Pick<PodEnding, 'code' | 'signal'>): string {
  return signal ?? String(code);
}

function said(stderr: string): string {
  const line = stderr.trim().split('\n').at(-1) ?? '';
  return line === '' ? '' : `: ${line}`;
}
