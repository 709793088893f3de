import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FEATURES, type Feature } from '../../src/stage1/features.ts';
import { type HostState, leaksSince, readHost } from '../support/host.ts';
import type { Ending } from '../support/installation.ts';
import { type ImageName, imageReference, type Laboratory } from './laboratory.ts';
import { Pod } from './pod.ts';
import { killProcess, processesIn } from './processes.ts';

/** What every stage1 has to do, in the order of the table. */
export const DUTIES = {
  lifecycle: 'starts a pod, and tells its state in files',
  lock: 'holds the lock while anything of the pod lives',
  codes: 'ends with the right exit code',
  signals: 'stops in order, passes signals on',
  killed: 'takes the pod with it, whatever it dies of',
  gc: 'removes what a killed run left',
  executor: 'sets an app up as App Container has it',
} as const;

export type Duty = keyof typeof DUTIES;
/** What a check is about: a duty of every stage1 or a feature of some. */
export type Topic = Duty | Feature;

export function isTopic(word: string): word is Topic {
  return Object.hasOwn(DUTIES, word) || Object.hasOwn(FEATURES, word);
}

/** How one check came out. */
export interface Result {
  readonly topic: Topic;
  readonly name: string;
  /** Unchecked: this host or this Gantry has no way to tell. */
  readonly outcome: 'passed' | 'failed' | 'unchecked';
  readonly why?: string;
}

/** Something cannot be checked here, which is no failure. */
export class Uncheckable extends Error {}

/** How a pod is started. */
export interface PodWishes {
  readonly image?: ImageName;
  /** Options of `gantry run` before the image. */
  readonly options?: readonly string[];
  /** Options after it. */
  readonly appOptions?: readonly string[];
  /** What the probe does. */
  readonly probe: readonly string[];
}

/** How a stage1 is looked at. */
export interface TrialWishes {
  /** Seconds anything may take before it counts as never. */
  readonly patience: number;
  /** Only these; all where empty. */
  readonly topics: readonly string[];
}

/** One stage1 under test, and what was found of it. */
export class Trial {
  /** What the table calls it: the word it was named by, or what the manifest of a directory says. */
  readonly label: string;
  readonly laboratory: Laboratory;
  /** Seconds anything may take before it counts as never. */
  readonly patience: number;
  readonly features: ReadonlySet<string>;
  readonly results: Result[] = [];
  /** Chooses the stage1 on Gantry's command lines. */
  readonly option: string;
  private readonly topics: ReadonlySet<string>;
  private readonly clean: HostState;
  private readonly pods: Pod[] = [];

  private constructor(
    laboratory: Laboratory,
    label: string,
    option: string,
    { patience, topics }: TrialWishes,
    features: ReadonlySet<string>,
  ) {
    this.laboratory = laboratory;
    this.label = label;
    this.patience = patience;
    this.topics = new Set(topics);
    this.features = features;
    this.option = option;
    this.clean = readHost(laboratory.dataDirectory);
  }

  /**
   * Begins with a stage1, by its name or directory; what it claims is read from the manifest that a
   * prepared pod leads to, so that it does not matter where the stage1 came from.
   * @throws Error when Gantry does not take the stage1
   */
  static async of(laboratory: Laboratory, label: string, wishes: TrialWishes): Promise<Trial> {
    const { patience } = wishes;
    const prepared = await laboratory.run(
      patience,
      'prepare',
      '--quiet',
      flavourOption(label),
      imageReference('probe'),
    );
    if (prepared.code !== 0) throw new Error(prepared.stderr.trim());
    const uuid = prepared.stdout.trim();
    const manifest = join(laboratory.dataDirectory, 'pods/prepared', uuid, 'stage1/manifest.json');
    const { name, features = [] } = JSON.parse(readFileSync(manifest, 'utf8')) as {
      name: string;
      features?: readonly string[];
    };
    await laboratory.run(patience, 'rm', uuid);
    const shown = isDirectory(label) ? name : label;
    return new Trial(laboratory, shown, flavourOption(label), wishes, new Set(features));
  }

  /** Makes one check and records how it came out; nothing is thrown. */
  async check(topic: Topic, name: string, make: () => void | Promise<void>): Promise<boolean> {
    return this.isChecked(topic) && (await this.record(topic, name, make));
  }

  /** Whether a topic is to be looked at: it is claimed, and nobody asked for others only. */
  isChecked(topic: Topic): boolean {
    return isClaimed(topic, this.features) && this.isWanted(topic);
  }

  /** Nothing can be said of a stage1 without a look at how it starts a pod. */
  private isWanted(topic: Topic): boolean {
    return this.topics.size === 0 || topic === 'lifecycle' || this.topics.has(topic);
  }

  private async record(
    topic: Topic,
    name: string,
    make: () => void | Promise<void>,
  ): Promise<boolean> {
    try {
      await make();
      this.results.push({ topic, name, outcome: 'passed' });
      return true;
    } catch (error) {
      const outcome = error instanceof Uncheckable ? 'unchecked' : 'failed';
      const why = error instanceof Error ? error.message : String(error);
      this.results.push({ topic, name, outcome, why });
      return false;
    }
  }

  /** The same of a feature that the manifest does not claim. */
  async checkRefusal(topic: Feature, name: string, make: () => Promise<void>): Promise<void> {
    if (this.isWanted(topic)) await this.record(topic, name, make);
  }

  /** The words after `gantry run` for a pod of this flavour. */
  words(wishes: PodWishes): string[] {
    const { image = 'probe', options = [], appOptions = [], probe } = wishes;
    return [
      '--quiet',
      this.option,
      ...options,
      imageReference(image),
      ...appOptions,
      '--',
      ...probe,
    ];
  }

  /** Runs a pod to its end, without a look at it meanwhile. */
  async runToEnd(wishes: PodWishes): Promise<Ending> {
    return await this.laboratory.run(this.patience, 'run', ...this.words(wishes));
  }

  /** Starts a pod, and waits for its directory. */
  async start(wishes: PodWishes, environment: Readonly<Record<string, string>> = {}): Promise<Pod> {
    return await this.startWords('run', this.words(wishes), environment);
  }

  /** Starts a pod that apps are to come to. */
  async startSandbox(): Promise<Pod> {
    return await this.startWords('app sandbox', [this.option]);
  }

  /** The same with the verb and all the words. */
  async startWords(
    verb: string,
    words: readonly string[],
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Pod> {
    const file = this.uuidFile();
    const child = this.laboratory.installation.startIn(
      environment,
      verb,
      `--uuid-file-save=${file}`,
      ...words,
    );
    return this.keep(await this.podOf(child, file));
  }

  /** Starts a pod by way of another program, which becomes gantry: its words come first. */
  async startBehind(prefix: readonly string[], wishes: PodWishes): Promise<Pod> {
    const file = this.uuidFile();
    const words = [`--uuid-file-save=${file}`, ...this.words(wishes)];
    const [program = '', ...args] = [
      ...prefix,
      ...this.laboratory.installation.command('run', ...words).words,
    ];
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    return this.keep(await this.podOf(child, file));
  }

  private uuidFile(): string {
    return join(this.laboratory.directory, `uuid-${process.hrtime.bigint()}`);
  }

  /** Prepares a pod, to lie there until it is removed or started. @returns its UUID and directory */
  async prepare(wishes: PodWishes): Promise<{ uuid: string; directory: string }> {
    const { code, stdout, stderr } = await this.gantry('prepare', ...this.words(wishes));
    if (code !== 0) throw new Error(stderr.trim());
    const uuid = stdout.trim();
    return { uuid, directory: join(this.laboratory.dataDirectory, 'pods/prepared', uuid) };
  }

  /** Prepares a pod, has it changed, and starts it. */
  async startPrepared(wishes: PodWishes, change: (directory: string) => void): Promise<Pod> {
    const { uuid, directory } = await this.prepare(wishes);
    change(directory);
    const child = this.laboratory.installation.start('run-prepared', uuid);
    return this.keep(await Pod.of(child, this.laboratory.dataDirectory, this.patience, () => uuid));
  }

  /** Starts a pod and waits until it is ready. */
  async startReady(
    wishes: PodWishes,
    environment: Readonly<Record<string, string>> = {},
  ): Promise<Pod> {
    const pod = await this.start(wishes, environment);
    await this.ready(pod);
    return pod;
  }

  async ready(pod: Pod): Promise<void> {
    await pod.until(() => pod.file('ready') !== undefined, this.patience, '`ready` was written');
  }

  /** Runs a gantry command to its end. */
  async gantry(verb: string, ...words: readonly string[]): Promise<Ending> {
    return await this.laboratory.run(this.patience, verb, ...words);
  }

  /** @throws Error naming what pods left on the host: processes, mounts, namespaces, control groups */
  async requireNothingLeft(pod: Pod): Promise<void> {
    const survivors = await pod.survivors();
    if (survivors.length > 0) throw new Error(`processes live on: ${survivors.join(', ')}`);
    const left = await leaksSince(this.clean, this.laboratory.dataDirectory);
    if (left.length > 0) throw new Error(`left on the host: ${left.join('; ')}`);
  }

  /** Has a look at the host while a pod runs, so that its control groups are known by its UUID later. */
  lookAtHost(): void {
    readHost(this.laboratory.dataDirectory);
  }

  /** Ends every pod that checks left running, and removes them all. */
  async clear(): Promise<void> {
    const pods = this.pods.splice(0);
    for (const pod of pods) pod.destroy();
    if (pods.length === 0) return;
    for (const process of processesIn(this.laboratory.dataDirectory)) killProcess(process);
    await this.gantry('gc', '--grace-period=0s', '--expire-prepared=0s');
  }

  private keep(pod: Pod): Pod {
    this.pods.push(pod);
    return pod;
  }

  private async podOf(child: ChildProcess, file: string): Promise<Pod> {
    return await Pod.of(child, this.laboratory.dataDirectory, this.patience, () => {
      try {
        return /^[0-9a-f-]{36}/.exec(readFileSync(file, 'utf8'))?.[0];
      } catch {
        return undefined;
      }
    });
  }
}

/** Duties are everybody's. */
export function isClaimed(topic: Topic, features: ReadonlySet<string>): boolean {
  return Object.hasOwn(DUTIES, topic) || features.has(topic);
}

function flavourOption(label: string): string {
  return isDirectory(label) ? `--stage1-path=${label}` : `--stage1-name=${label}`;
}

/** What is not a name. */
export function isDirectory(label: string): boolean {
  return /^[./]/.test(label);
}
