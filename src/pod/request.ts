import type { InsecureOptions } from '../config/insecure.ts';
import type { App } from '../image/image-manifest.ts';
import type { ImageRecord } from '../image/image-record.ts';
import type { Isolator } from '../image/isolator.ts';
import type { ExposedPort, Mount, Volume } from '../image/pod-manifest.ts';
import type { NetworkMode } from '../network/namespace.ts';
import type { StreamName } from '../stage1/settings.ts';
import type { Store } from '../store/store.ts';
import type { TrustDirectories } from '../trust/keystore.ts';

/** Where warnings for the operator go; fetch's Reporter is one. */
export interface Warnings {
  warn(line: string): void;
}

/** What preparing a pod reads from and writes to. */
export interface PrepareContext {
  readonly store: Store;
  /** Trusted keys, asked again about every image. */
  readonly directories: TrustDirectories;
  /** The flavour's own directory, with its manifest.json: `dist/stage1/native`. */
  readonly stage1Dir?: string;
  /** The stored image that is the stage1, where it is no directory. */
  readonly stage1Image?: ImageRecord;
  /** `--dir`: `pods/` lies in it. */
  readonly dataDir: string;
  readonly report: Warnings;
}

/** A pod as the command line asks for it. */
export interface PodRequest {
  readonly apps: readonly AppRequest[];
  /** Default: `none`, where the stage1 has networks of a pod's own. */
  readonly network?: NetworkMode;
  /** Default: `gantry-UUID`. */
  readonly hostname?: string;
  readonly overlay: boolean;
  /** A pod that apps are added to while it runs; it begins without any. */
  readonly mutable?: boolean;
  /**
   * This very process starts the pod as soon as it is prepared (`run`). The pod then gets a control
   * group below the one this process is in, and need not outlive a crash of the machine.
   */
  readonly runsNow?: boolean;
  readonly interactive: boolean;
  /** `--private-users`: the pod's users are none of the host's. */
  readonly privateUsers?: boolean;
  /** `--ipc`. Default: what the stage1 has. */
  readonly ipc?: 'private' | 'parent';
  /** A file the UUID is written to as soon as there is one. */
  readonly uuidFile?: string;
  readonly insecure: InsecureOptions;
  /** `--set-env`, `--set-env-file`: set for every app, over what its image says. */
  readonly setEnvironment?: ReadonlyMap<string, string>;
  /** `--inherit-env`: set for every app that does not set them itself. */
  readonly inheritedEnvironment?: ReadonlyMap<string, string>;
  /** Pod annotations (`--annotation` of rkt's prepare and run), by AC Identifier. */
  readonly annotations?: ReadonlyMap<string, string>;
  readonly userAnnotations?: Readonly<Record<string, string>>;
  readonly userLabels?: Readonly<Record<string, string>>;
  /** Of a pod manifest, and of `--sysctl`: what all apps together may do. */
  readonly isolators?: readonly Isolator[];
  /** `--volume`, each name once. */
  readonly volumes?: readonly Volume[];
  /** `--mount` before the first image: of every app, unless it has its own at that path. */
  readonly mounts?: readonly Mount[];
  /** Of a pod manifest. */
  readonly ports?: readonly ExposedPort[];
}

/** One app: its image and what the command line says over the image's own app section. */
export interface AppRequest {
  readonly record: ImageRecord;
  /** Of a pod manifest: in place of the image's own app section. */
  readonly section?: App;
  /** Default: from the image's name. */
  readonly name?: string;
  /** Appended to the image's exec (of an OCI image: in place of its cmd), or to `exec`. */
  readonly args: readonly string[];
  /** Replaces the whole exec of the image. */
  readonly exec?: string;
  readonly user?: string;
  readonly group?: string;
  readonly supplementaryGids?: readonly number[];
  readonly workingDirectory?: string;
  readonly environment?: ReadonlyMap<string, string>;
  /** Of options such as --memory: each takes the place of the image's of its kind. */
  readonly isolators?: readonly Isolator[];
  readonly readOnlyRootfs?: boolean;
  /** `--stdin`, `--stdout`, `--stderr`: those that lead nowhere. */
  readonly silent?: readonly StreamName[];
  /** `--mount` after the image; an `appVolume` is the app's own. */
  readonly mounts?: readonly Mount[];
  readonly annotations?: ReadonlyMap<string, string>;
  readonly userAnnotations?: Readonly<Record<string, string>>;
  readonly userLabels?: Readonly<Record<string, string>>;
}
